//! [`Hashing`]: how the tables of views hash keys, with a secret for each table and one that all
//! tables of the process share.
//!
//! Both come from the standard library's [`RandomState`], which takes them from the operating
//! system; foldhash's own default draws on addresses and the time. This hash is not what protects a
//! thread from chosen keys: a lookup in a [window](super::window) is bounded whatever collides.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::OnceLock,
};

use foldhash::{SharedSeed, quality::SeedableRandomState};

/// How a table hashes the bytes of a key's parts.
#[derive(Clone, Debug)]
pub(super) struct Hashing(SeedableRandomState);

impl Hashing {
    pub(super) fn new() -> Self {
        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
        Self(SeedableRandomState::with_seed(random(), shared))
    }

    /// Returns the hash of a key's bytes, which have this layout. Never zero, which marks an
    /// empty place.
    #[inline(always)]
    pub(super) fn hash(&self, layout: u16, bytes: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        match ends(bytes) {
            Some([a, b, c, d]) => {
                hasher.write_u64(a);
                hasher.write_u64(b);
                hasher.write_u64(c);
                hasher.write_u64(d);
                // The length, since the words do not show how far they overlap. It is written by
                // itself: mixed into a word, it could be cancelled by a byte of the key under every
                // secret.
                hasher.write_u8(bytes.len() as u8);
            }
            None => hasher.write(bytes),
        }

        // Keys that differ only in their layout begin at different places. The lookup compares the
        // layout too.
        let hash = hasher.finish() ^ (u64::from(layout) << 5);
        hash.max(1)
    }
}

/// Returns the first and the last sixteen bytes as words, for a key of 16 to 32 bytes. Most API
/// keys are that long, and this saves them the call that hashes any length.
#[inline(always)]
fn ends(bytes: &[u8]) -> Option<[u64; 4]> {
    if bytes.len() > 32 {
        return None;
    }

    let (first, last) = (bytes.first_chunk::<16>()?, bytes.last_chunk::<16>()?);
    let (first, last) = (u128::from_le_bytes(*first), u128::from_le_bytes(*last));
    Some([
        first as u64,
        (first >> 64) as u64,
        last as u64,
        (last >> 64) as u64,
    ])
}

/// Returns a random number.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every byte counts at every length, even where the two ends overlap.
    #[test]
    fn keys_that_differ_in_one_byte_or_in_length_hash_apart() {
        let hashing = Hashing::new();
        let mut seen = HashSet::new();
        let mut count = 0;
        for len in 0..70 {
            let key = vec![b'k'; len];
            for at in 0..len {
                for byte in [b'a', b'z', 0] {
                    let mut other = key.clone();
                    other[at] = byte;
                    seen.insert(hashing.hash(0, &other));
                    count += 1;
                }
            }

            seen.insert(hashing.hash(0, &key));
            seen.insert(hashing.hash(1, &key));
            count += 2;
        }

        assert_eq!(seen.len(), count);
        assert_ne!(
            hashing.hash(0, b"k"),
            Hashing::new().hash(0, b"k"),
            "a secret of its own"
        );
    }

    #[test]
    fn keys_of_16_to_32_bytes_go_by_their_ends() {
        for len in 0..70 {
            let key: Vec<u8> = (0..len).collect();
            assert_eq!(ends(&key).is_some(), (16..=32).contains(&len), "{len}");
        }
        let key: Vec<u8> = (0..20).collect();
        let word = |at: u8| u64::from_le_bytes(std::array::from_fn(|i| at + i as u8));
        assert_eq!(ends(&key), Some([word(0), word(8), word(4), word(12)]));
    }
}
