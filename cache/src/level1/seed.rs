//! The secrets of the tables that views keep: one for each table, and one that all tables of the process share.
//!
//! Both come from the standard library's [`RandomState`], which has them of the operating system; foldhash's own default
//! draws on addresses and the time. This hash is not what protects a thread from chosen keys: a lookup in a
//! [window](super::window) is bounded whatever collides.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::OnceLock,
};

use foldhash::{SharedSeed, quality::SeedableRandomState};

/// How a table hashes what parts lend.
#[derive(Clone, Debug)]
pub(super) struct Hashing(SeedableRandomState);

impl Hashing {
    pub(super) fn new() -> Self {
        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
        Self(SeedableRandomState::with_seed(random(), shared))
    }

    /// Returns the hash of bytes that are to be read as `of` says; never zero.
    #[inline(always)]
    pub(super) fn hash(&self, of: u16, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        // What differs in `of` alone begins at another place; which is which is compared.
        let hash = hasher.finish() ^ (u64::from(of) << 5);
        hash.max(1)
    }
}

/// Returns a random number.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
