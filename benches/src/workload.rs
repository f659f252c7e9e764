//! The workload of the cache subjects: credentials, their keys, and which of them are asked for.

use std::hash::{BuildHasherDefault, Hasher};

use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};
use tidings_core::CacheKey;
use uuid::Uuid;

/// The entity's name, first part of every key.
pub const NAME: &str = "keyauth_credentials";

/// The credential of the key-auth gateway: what every contestant caches, behind an `Arc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its own id.
    pub id: Uuid,
    /// The API key, 32 characters.
    pub key: String,
    /// Whose it is.
    pub consumer: ConsumerRef,
    /// Unix seconds.
    pub created_at: i64,
    /// Free labels.
    pub tags: Vec<String>,
}

/// The owner of a [`Credential`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerRef {
    /// The consumer's id.
    pub id: Uuid,
}

impl Credential {
    /// Returns what a lookup adds to the checksum; reads the value itself, not only the handle.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.created_at.cast_unsigned() ^ u64::from(self.id.as_bytes()[15])
    }
}

/// A number of credentials that depends on the seed alone.
#[must_use]
pub fn credentials(count: usize, seed: u64) -> Vec<Credential> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|index| Credential {
            id: uuid(&mut random),
            key: api_key(&mut random),
            consumer: ConsumerRef {
                id: uuid(&mut random),
            },
            created_at: 1_700_000_000 + index as i64,
            tags: vec!["team-a".into()],
        })
        .collect()
}

fn uuid(random: &mut ChaCha8Rng) -> Uuid {
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// 32 characters out of 62, as the admin API makes them.
fn api_key(random: &mut ChaCha8Rng) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..32)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect()
}

/// The key by the primary key: 56 bytes of text.
#[must_use]
pub fn primary_key(credential: &Credential) -> CacheKey {
    CacheKey::primary(NAME, credential.id)
}

/// The key by the API key, as a gateway builds it for each request: 52 bytes of text.
#[must_use]
pub fn key_of(api_key: &str) -> CacheKey {
    CacheKey::new(NAME, &[api_key])
}

/// Indexes below `population`, Zipf distributed, in random order of arrival.
///
/// # Panics
///
/// For an empty population, and for an exponent that is negative or no number.
#[must_use]
pub fn zipf(population: usize, exponent: f64, count: usize, seed: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let ranks = Zipf::new(population as f64, exponent).expect("a population and an exponent");
    // Ranks count from 1; the largest is the population, which the caller keeps below 2^32.
    (0..count)
        .map(|_| ranks.sample(&mut random) as u32 - 1)
        .collect()
}

/// Passes a [`CacheKey`]'s own hash on: every contestant gets the same bits from the same input.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassOn(u64);

impl Hasher for PassOn {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used by `CacheKey`; folding keeps the hasher right for other keys.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Builds [`PassOn`].
pub type PassOnBuilder = BuildHasherDefault<PassOn>;

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn keys_have_the_lengths_that_the_tables_name() {
        let credential = &credentials(1, 1)[0];
        assert_eq!(primary_key(credential).as_str().len(), 56);
        assert_eq!(credential.key.len(), 32);
        assert_eq!(key_of(&credential.key).as_str().len(), 52);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(credentials(3, 7), credentials(3, 7));
        assert_ne!(credentials(3, 7), credentials(3, 8));
        assert_eq!(zipf(100, 0.99, 50, 7), zipf(100, 0.99, 50, 7));
    }

    #[test]
    fn zipf_is_skewed_and_within_the_population() {
        let picks = zipf(100, 0.99, 10_000, 7);
        assert!(picks.iter().all(|pick| *pick < 100));
        let hottest = picks.iter().filter(|pick| **pick == 0).count();
        // 1 / H(100, 0.99) is 19 %.
        assert!((1_500..2_300).contains(&hottest), "{hottest}");
    }

    #[test]
    fn the_hasher_passes_the_keys_own_hash_on() {
        let key = key_of("abc");
        assert_eq!(PassOnBuilder::default().hash_one(&key), key.hash_value());
    }
}
