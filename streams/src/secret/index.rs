//! [`Index`]: the keys that a node has begun to load, by their digests. It is bounded, drops the
//! oldest first, and knows whether it has dropped any.

use std::collections::{BTreeMap, VecDeque};

use tidings_core::{CacheKey, log::Digest};

/// The keys by their digests.
#[derive(Debug)]
pub(crate) struct Index {
    keys: BTreeMap<Digest, CacheKey>,
    order: VecDeque<Digest>,
    capacity: usize,
    memory: Memory,
}

/// Whether it still has every key that was entered.
#[derive(Clone, Copy, Debug)]
enum Memory {
    Whole,
    HasForgotten,
}

/// The result of a lookup of a digest.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// It belongs to this key.
    Key(&'a CacheKey),
    /// No load of its key has begun.
    Never,
    /// Its key may have been loaded, and forgotten here.
    PerhapsForgotten,
}

impl Index {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            order: VecDeque::new(),
            capacity,
            memory: Memory::Whole,
        }
    }

    pub(super) fn enter(&mut self, digest: Digest, key: &CacheKey) {
        if self.keys.insert(digest, key.clone()).is_some() {
            return;
        }
        self.order.push_back(digest);

        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
            self.memory = Memory::HasForgotten;
        }
    }

    pub(super) fn find(&self, digest: Digest) -> Found<'_> {
        match (self.keys.get(&digest), self.memory) {
            (Some(key), _) => Found::Key(key),
            (None, Memory::Whole) => Found::Never,
            (None, Memory::HasForgotten) => Found::PerhapsForgotten,
        }
    }
}
