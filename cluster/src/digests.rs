//! [`Index`]: finds the key of the digest that a wake-up names.
//!
//! It is filled when a load begins, so that a wake-up finds every key that is being loaded or has
//! been. It is bounded, and the oldest digests go first. A digest that is not found costs only
//! latency, since the log names the key too.

use std::collections::{BTreeMap, VecDeque};

use tidings_core::{CacheKey, log::Digest};

#[derive(Debug)]
pub(crate) struct Index {
    keys: BTreeMap<Digest, CacheKey>,
    order: VecDeque<Digest>,
    capacity: usize,
}

impl Index {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    pub(crate) fn enter(&mut self, digest: Digest, key: &CacheKey) {
        if self.keys.insert(digest, key.clone()).is_some() {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub(crate) fn key(&self, digest: Digest) -> Option<&CacheKey> {
        self.keys.get(&digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_digest_is_forgotten() {
        let mut index = Index::new(2);
        let digests = [1, 2, 3].map(|byte| Digest([byte; 16]));
        for (digest, name) in digests.iter().zip(["a", "b", "c"]) {
            index.enter(*digest, &CacheKey::new("k", &[name]));
        }
        assert_eq!(index.key(digests[0]), None);
        assert_eq!(index.key(digests[2]), Some(&CacheKey::new("k", &["c"])));
    }
}
