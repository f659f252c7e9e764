//! The secret under which keys are hashed: drawn once per process, or set once by the test kit
//! before the first key.
//!
//! Two processes hash one key differently, so keys cannot be chosen to collide. A simulation sets
//! the secret, because the order of tables that are walked by hash is part of a history that must
//! repeat itself.

use std::{
    hash::{BuildHasher, DefaultHasher, Hasher, RandomState},
    sync::OnceLock,
};

static SECRET: OnceLock<Secret> = OnceLock::new();

struct Secret {
    /// The state that every key's hash begins from. Cloning it costs no more than making a hasher.
    hasher: DefaultHasher,
    /// The seed, if the secret was set.
    seed: Option<u64>,
}

impl Secret {
    fn random() -> Self {
        Self {
            hasher: RandomState::new().build_hasher(),
            seed: None,
        }
    }

    fn of(seed: u64) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        let seed = Some(seed);
        Self { hasher, seed }
    }
}

/// Returns a hasher that holds the secret.
#[inline]
pub(super) fn hasher() -> DefaultHasher {
    SECRET.get_or_init(Secret::random).hasher.clone()
}

/// Sets the secret of this process's keys, so that their hashes follow from a seed. Only for test
/// kits: keys can then be chosen to collide.
///
/// Setting the same seed again does nothing.
///
/// # Errors
///
/// A key was made under another secret already.
#[doc(hidden)]
pub fn set_key_secret(seed: u64) -> Result<(), SecretInUse> {
    match SECRET.get_or_init(|| Secret::of(seed)).seed {
        Some(set) if set == seed => Ok(()),
        set => Err(SecretInUse { set }),
    }
}

/// The keys of this process are already hashed under another secret.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cache keys are hashed under another secret already: set it before the first key is made, and once in a process"
)]
pub struct SecretInUse {
    /// The seed that was set before; `None` if the secret was drawn when the first key was made.
    pub set: Option<u64>,
}
