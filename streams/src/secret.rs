//! [`ClusterKey`], and the digests that stand for cache keys with secrets.
//!
//! The keys of an entity with a secret field, such as an API key, never leave the process: a record
//! names them by a digest, an HMAC under a key that is derived from the cluster's. A reader looks
//! up the key of a digest among those that it has begun to load. That table is bounded: once it has
//! forgotten any key, an unknown digest may belong to a key in the cache, and stands for the whole
//! cache.

// From the digest to the key. Must not know how digests are made.
mod index;

use std::{collections::BTreeSet, fmt, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use tidings_core::{
    CacheKey, Schema,
    log::{Digest, EvictionTarget},
};

use self::index::{Found, Index};
use crate::error::StreamError;

/// The minimum number of bytes of a cluster's key.
pub(crate) const SHORTEST: usize = 16;

/// The purposes for which keys are derived.
const CLUSTER: &[u8] = b"tidings cluster 1";
const DIGESTS: &[u8] = b"tidings stream digests 1";
const CHECK: &[u8] = b"tidings stream check 1";

/// The secret that the nodes of one cluster share. Its `Debug` form does not show it.
///
/// # Examples
///
/// ```
/// use tidings_streams::ClusterKey;
///
/// let key = ClusterKey::new("0123456789abcdef")?;
/// assert_eq!(format!("{key:?}"), "ClusterKey(..)");
/// assert!(ClusterKey::new("short").is_err());
/// # Ok::<(), tidings_streams::StreamError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

impl ClusterKey {
    /// Makes the key from a random text or random bytes, the same on all nodes.
    ///
    /// # Errors
    ///
    /// [`StreamError::Key`]: it has fewer than 16 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, StreamError> {
        let secret = secret.as_ref();
        if secret.len() < SHORTEST {
            return Err(StreamError::Key(secret.len()));
        }
        Ok(Self(derived(secret, CLUSTER)))
    }

    /// Returns its bytes, to derive other keys from.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

fn derived(key: &[u8], purpose: &[u8]) -> [u8; 32] {
    keyed(key)
        .chain_update(purpose)
        .finalize()
        .into_bytes()
        .into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // An HMAC accepts a key of any length.
    Hmac::new_from_slice(key).expect("a key of any length")
}

/// Converts between secret keys and digests. Shared by all links of one node.
pub(crate) struct Secrets {
    /// `None` without a cluster's key: then no schema of the node has secrets.
    digests: Option<Digests>,
    /// The prefixes of keys that hold secrets.
    names: BTreeSet<Box<str>>,
    loaded: Arc<Mutex<Index>>,
}

struct Digests {
    hmac: Hmac<Sha256>,
    check: Check,
}

/// Identifies the cluster's key that digests were made under, without revealing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check(pub(crate) [u8; 8]);

/// Keys in the form of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) keys: Vec<CacheKey>,
    pub(crate) digests: Vec<Digest>,
    /// Identifies the key of the digests; `None` if there are no digests.
    pub(crate) check: Option<Check>,
}

/// The digests that a node remembers, shared by its links.
pub(crate) type Remembered = Arc<Mutex<Index>>;

/// Makes the table of the keys that a node has begun to load.
pub(crate) fn remembered(capacity: usize) -> Remembered {
    Arc::new(Mutex::new(Index::new(capacity)))
}

impl ClusterKey {
    /// Identifies the key without revealing it.
    pub(crate) fn check(&self) -> Check {
        Digests::new(self).check
    }
}

impl Secrets {
    /// Returns `None` if a schema has secrets and there is no key to hide them.
    pub(crate) fn new(
        key: Option<&ClusterKey>,
        schemas: &[&'static Schema],
        loaded: Remembered,
    ) -> Option<Self> {
        let has_secrets = |schema: &&&Schema| schema.fields().iter().any(|it| it.is_secret());
        let secret = schemas.iter().filter(has_secrets);
        let names: BTreeSet<Box<str>> = secret
            .map(|schema| CacheKey::builder(schema.name()).finish().as_str().into())
            .collect();
        let digests = key.map(Digests::new);
        (digests.is_some() || names.is_empty()).then_some(Self {
            digests,
            names,
            loaded,
        })
    }

    /// Returns the form of keys in a record.
    pub(crate) fn name(&self, keys: &[CacheKey]) -> Named {
        let mut named = Named::default();
        for key in keys {
            match self.digest(key) {
                Some((digest, check)) => {
                    named.digests.push(digest);
                    named.check = Some(check);
                }
                None => named.keys.push(key.clone()),
            }
        }

        named
    }

    /// Returns the keys of a record on this node; `None` if their digests were made under another
    /// key.
    pub(crate) fn find(&self, named: Named) -> Option<EvictionTarget> {
        if named.digests.is_empty() {
            return Some(EvictionTarget::Keys(named.keys));
        }
        let own = self.digests.as_ref().map(|digests| digests.check);
        if own.is_none() || own != named.check {
            return None;
        }

        let mut keys = named.keys;
        let loaded = self.loaded.lock();
        for digest in named.digests {
            match loaded.find(digest) {
                Found::Key(key) => keys.push(key.clone()),
                Found::Never => {}
                Found::PerhapsForgotten => return Some(EvictionTarget::All),
            }
        }

        Some(EvictionTarget::Keys(keys))
    }

    /// Notes that a key is about to be loaded.
    pub(crate) fn note_load(&self, key: &CacheKey) {
        if let Some((digest, _)) = self.digest(key) {
            self.loaded.lock().enter(digest, key);
        }
    }

    /// Returns the digest of a key that holds a secret; `None` for any other key.
    fn digest(&self, key: &CacheKey) -> Option<(Digest, Check)> {
        if self.names.is_empty() {
            return None;
        }
        let text = key.as_str();
        let end = text.find([':', '@']).unwrap_or(text.len());
        let digests = self.digests.as_ref()?;
        (self.names.contains(&text[..end])).then(|| (digests.of(key), digests.check))
    }
}

impl Digests {
    fn new(key: &ClusterKey) -> Self {
        let hmac = keyed(&derived(key.expose(), DIGESTS));
        let check = hmac.clone().chain_update(CHECK).finalize().into_bytes();
        let check = std::array::from_fn(|at| check[at]);
        Self {
            hmac,
            check: Check(check),
        }
    }

    fn of(&self, key: &CacheKey) -> Digest {
        let made = self.hmac.clone().chain_update(key.as_bytes());
        let made = made.finalize().into_bytes();
        Digest(std::array::from_fn(|at| made[at]))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Field;

    use super::*;

    fn schemas() -> [&'static Schema; 2] {
        let credential = Schema::builder("credentials")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<String>("key").secret())
            .build();
        let plain = Schema::builder("credentials_of")
            .field(Field::of::<i64>("id").primary_key())
            .build();
        [credential, plain].map(|schema| &*Box::leak(Box::new(schema)))
    }

    fn secrets(key: &str, capacity: usize) -> Secrets {
        let key = ClusterKey::new(key).expect("long enough");
        Secrets::new(Some(&key), &schemas(), remembered(capacity)).expect("a key")
    }

    #[test]
    fn keys_of_an_entity_with_secrets_are_named_by_digests_and_others_as_they_are() {
        let (here, there) = (
            secrets("0123456789abcdef", 9),
            secrets("0123456789abcdef", 9),
        );
        let secret = CacheKey::new("credentials", &["abcd"]);
        let other = CacheKey::new("credentials_of", &["abcd"]);
        let named = here.name(&[secret.clone(), other.clone()]);
        assert_eq!(named.keys, std::slice::from_ref(&other));
        assert_eq!(named.digests.len(), 1);

        // First the reader has not loaded it, and then it has.
        let nothing = EvictionTarget::Keys(vec![other.clone()]);
        assert_eq!(there.find(named.clone()), Some(nothing));
        there.note_load(&secret);
        assert_eq!(
            there.find(named),
            Some(EvictionTarget::Keys(vec![other, secret]))
        );
    }

    #[test]
    fn what_may_have_been_forgotten_is_the_whole_cache() {
        let secrets = secrets("0123456789abcdef", 1);
        let [one, other] = ["a", "b"].map(|part| CacheKey::new("credentials", &[part]));
        let named = secrets.name(std::slice::from_ref(&one));
        secrets.note_load(&one);
        secrets.note_load(&other);
        assert_eq!(secrets.find(named), Some(EvictionTarget::All));
        let named = secrets.name(std::slice::from_ref(&other));
        assert_eq!(secrets.find(named), Some(EvictionTarget::Keys(vec![other])));
    }

    #[test]
    fn digests_under_another_key_cannot_be_told() {
        let here = secrets("0123456789abcdef", 9);
        let there = secrets("fedcba9876543210", 9);
        let named = here.name(&[CacheKey::new("credentials", &["abcd"])]);
        assert_eq!(there.find(named), None);
        assert!(Secrets::new(None, &schemas(), remembered(9)).is_none());
    }
}
