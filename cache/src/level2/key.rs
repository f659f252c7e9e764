//! Keys as L2 holds and looks them up, and the hasher that passes on the hash that they hold.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;
use tidings_core::CacheKey;

/// A key as L2 holds it: its text without the room that an inline key keeps.
#[derive(Clone, Debug)]
pub(crate) struct StoredKey {
    hash: u64,
    cache: u32,
    text: Box<[u8]>,
}

impl StoredKey {
    pub(crate) fn new(cache: u32, key: &CacheKey) -> Self {
        Self {
            hash: mixed(cache, key),
            cache,
            text: key.as_bytes().into(),
        }
    }

    pub(crate) fn cache(&self) -> u32 {
        self.cache
    }

    /// Returns the key's text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    pub(crate) fn key_ref(&self) -> KeyRef<'_> {
        KeyRef {
            hash: self.hash,
            cache: self.cache,
            text: &self.text,
        }
    }
}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.key_ref() == other.key_ref()
    }
}

impl Eq for StoredKey {}

/// A key for lookups: its text is borrowed from a [`CacheKey`] or a [`StoredKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyRef<'a> {
    hash: u64,
    cache: u32,
    text: &'a [u8],
}

impl<'a> KeyRef<'a> {
    pub(crate) fn new(cache: u32, key: &'a CacheKey) -> Self {
        Self {
            hash: mixed(cache, key),
            cache,
            text: key.as_bytes(),
        }
    }

    /// Returns the hash, in which the cache's index is mixed with the key's hash.
    pub(crate) fn hash_value(&self) -> u64 {
        self.hash
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<StoredKey> for KeyRef<'_> {
    fn equivalent(&self, key: &StoredKey) -> bool {
        *self == key.key_ref()
    }
}

/// Mixes the cache's index into the hash: named caches share the zones, and the same key in two of
/// them hashes apart.
fn mixed(cache: u32, key: &CacheKey) -> u64 {
    key.hash_value() ^ u64::from(cache).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Passes on the hash that a key holds, unchanged.
#[derive(Debug, Default)]
pub(crate) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys write their hash as one u64; nothing else is hashed.
        for byte in bytes {
            self.0 = (self.0 << 8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
