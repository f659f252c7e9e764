//! [`Entropy`]: the source of random numbers, as a seam, so that a simulation repeats itself from a
//! seed.
//!
//! Record ids, node ids and jitter take an [`Entropy`]. [`SystemEntropy`] asks the operating system
//! and is fit for secrets; [`SeededEntropy`] returns the same bytes for the same seed, and is only
//! for tests.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use uuid::Uuid;

/// A source of random bytes.
///
/// # Examples
///
/// ```
/// use tidings_core::entropy::{Entropy, SeededEntropy, SystemEntropy};
///
/// assert_ne!(SystemEntropy.uuid(), SystemEntropy.uuid());
///
/// let (one, same) = (SeededEntropy::new(7), SeededEntropy::new(7));
/// assert_eq!(one.uuid(), same.uuid());
/// assert!(one.below(10) < 10);
/// ```
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills a slice with random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// Returns a random number.
    fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Returns a random number below a bound; zero if the bound is zero.
    ///
    /// It is uniform up to one part in 2^64 divided by the bound: good for jitter and choices, not
    /// for secrets.
    fn below(&self, bound: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// Returns a random UUID, version 4.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// The random numbers of the operating system, which are fit for secrets.
///
/// # Panics
///
/// When the operating system has none: nothing in this process could then be kept secret.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// Numbers that follow from a seed (SplitMix64). They can be guessed: for tests alone.
///
/// Threads that share one draw from one sequence, in the order in which they come.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// Starts the sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self
            .state
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeded_sequence_is_splitmix64() {
        // The reference implementation's first numbers for the seed 1234567.
        let entropy = SeededEntropy::new(1_234_567);
        assert_eq!(entropy.number(), 6_457_827_717_110_365_317);
        assert_eq!(entropy.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_below_a_bound_stay_below_it_and_reach_all_of_it() {
        let entropy = SeededEntropy::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[entropy.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(entropy.below(0), 0);
    }

    #[test]
    fn every_byte_of_an_odd_slice_is_filled() {
        let entropy = SeededEntropy::new(2);
        let mut ever = [0_u8; 11];
        for _ in 0..16 {
            let mut bytes = [0; 11];
            entropy.fill(&mut bytes);
            (ever.iter_mut().zip(bytes)).for_each(|(ever, byte)| *ever |= byte);
        }
        assert!(ever.iter().all(|byte| *byte != 0), "{ever:?}");
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        assert_eq!(SystemEntropy.uuid().get_version_num(), 4);
        assert_eq!(SeededEntropy::new(3).uuid().get_version_num(), 4);
    }
}
