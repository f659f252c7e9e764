//! The errors of the cache, one type per kind of call.
//!
//! A message names the attempt and the key, and says what would be right. The cause is only in the
//! [`source`](Error::source), so that a log line with the whole chain repeats nothing.

use std::{error::Error, fmt, time::Duration};

pub use tidings_core::BoxError;
use tidings_core::CacheKey;

use crate::sync::Arc;

/// Why a `get` failed. Cheap to clone: all callers that waited for one load get the same error.
///
/// The `Arc`s keep it to two words, so that the result of a hit, a pointer or this error, takes no
/// more than that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GetError {
    /// An option is invalid. It is checked at the call, even if the call would have been a hit.
    Options(Arc<RefusedOption>),
    /// The key holds a value of another type.
    WrongType(Arc<WrongType>),
    /// The load failed; its error is the [`source`](Error::source). Nothing was cached.
    Load(LoadError),
    /// The load panicked. Nothing was cached.
    Panicked(Arc<Panicked>),
    /// The load did not end within this caller's deadline. It goes on, and later callers get its
    /// value if it is still valid then.
    Deadline(Arc<Late>),
    /// The load was dropped before it ended: its runtime has stopped.
    Stopped(Arc<Unloaded>),
    /// The cache has no runtime for loads, and the caller is not in one.
    NoRuntime(Arc<Unloaded>),
    /// A bulk load answered under a key that was not requested. None of its values was cached.
    Unasked(Arc<Unasked>),
    /// There is no proof within the node's bound, and its policy is to refuse
    /// ([`StalePolicy::Refuse`](crate::StalePolicy::Refuse)). The cache did not ask the backing
    /// store.
    Unproven(Arc<Unproven>),
    /// Turning the value into its L1 form failed; the error is the [`source`](Error::source).
    L1Serializer(LoadError),
}

impl GetError {
    #[cold]
    pub(crate) fn options(key: &CacheKey, error: OptionError) -> Self {
        let key = key.to_shown();
        Self::Options(Arc::new(RefusedOption { key, error }))
    }

    #[cold]
    pub(crate) fn wrong_type(key: &CacheKey, cached: &'static str, asked: &'static str) -> Self {
        let key = key.to_shown();
        Self::WrongType(Arc::new(WrongType { key, cached, asked }))
    }

    #[cold]
    pub(crate) fn late(key: &CacheKey, after: Duration) -> Self {
        let key = key.to_shown();
        Self::Deadline(Arc::new(Late { key, after }))
    }

    #[cold]
    pub(crate) fn panicked(key: &CacheKey, message: &str) -> Self {
        let (key, message) = (key.to_shown(), message.into());
        Self::Panicked(Arc::new(Panicked { key, message }))
    }

    #[cold]
    pub(crate) fn stopped(key: &CacheKey) -> Self {
        Self::Stopped(Arc::new(Unloaded::new(key)))
    }

    #[cold]
    pub(crate) fn no_runtime(key: &CacheKey) -> Self {
        Self::NoRuntime(Arc::new(Unloaded::new(key)))
    }

    #[cold]
    pub(crate) fn unproven(key: &CacheKey, bound: Duration) -> Self {
        let key = key.to_shown();
        Self::Unproven(Arc::new(Unproven { key, bound }))
    }

    /// Returns the loader's own error, as it was returned.
    #[must_use]
    pub fn load_error<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Load(error) | Self::L1Serializer(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(refused) => refused.fmt(f),
            Self::WrongType(types) => types.fmt(f),
            Self::Load(error) => write!(f, "the load of {} failed", error.key()),
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::Deadline(late) => late.fmt(f),
            Self::Stopped(unloaded) => {
                write!(
                    f,
                    "the load of {} was dropped: its runtime has stopped",
                    unloaded.key
                )
            }
            Self::NoRuntime(unloaded) => write!(
                f,
                "the load of {} was not begun: call inside a tokio runtime, or give the builder one",
                unloaded.key
            ),
            Self::Unasked(unasked) => unasked.fmt(f),
            Self::Unproven(unproven) => unproven.fmt(f),
            Self::L1Serializer(error) => {
                write!(
                    f,
                    "the L1 serializer failed on the value of {}",
                    error.key()
                )
            }
        }
    }
}

impl Error for GetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Options(refused) => Some(&refused.error),
            Self::Load(error) | Self::L1Serializer(error) => Some(error.get_ref()),
            _ => None,
        }
    }
}

/// An option that was refused, and the key of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedOption {
    /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
    pub key: String,
    /// Which option, and what would have been right.
    pub error: OptionError,
}

impl fmt::Display for RefusedOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an option of the call for {} was refused", self.key)
    }
}

/// A key, the type of its value, and the type that the caller asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {key} is cached as {cached}, but was requested as {asked}")]
pub struct WrongType {
    /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
    pub key: String,
    /// The type that the key holds or that is being loaded for it.
    pub cached: &'static str,
    /// The type that was asked for.
    pub asked: &'static str,
}

/// A load that panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the load of {key} panicked: {message}")]
pub struct Panicked {
    /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
    pub key: String,
    /// The text of the panic, if it had one.
    pub message: String,
}

/// A load that did not end in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the load of {key} did not end within {after:?}")]
pub struct Late {
    /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
    pub key: String,
    /// How long the caller waited.
    pub after: Duration,
}

/// A load that did not begin, because there was no proof within the node's bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{key} was not loaded: the node has not proven within {bound:?} that it sees every change, and refuses until it has"
)]
#[non_exhaustive]
pub struct Unproven {
    /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
    pub key: String,
    /// The node's bound on staleness.
    pub bound: Duration,
}

/// A load that did not run, or did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unloaded {
    /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
    pub key: String,
}

impl Unloaded {
    fn new(key: &CacheKey) -> Self {
        let key = key.to_shown();
        Self { key }
    }
}

/// A bulk load that answered under a key that was not requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a bulk load of {asked} keys answered under {key}, which was not among them: return each value under the key that was passed in"
)]
pub struct Unasked {
    /// The text of the key under which it answered, with secrets masked.
    pub key: String,
    /// The number of requested keys.
    pub asked: usize,
}

/// The error that a loader returned, shared by all callers that waited for it.
#[derive(Clone, Debug)]
pub struct LoadError(Arc<Failure>);

#[derive(Debug)]
struct Failure {
    key: String,
    error: Arc<BoxError>,
}

impl LoadError {
    pub(crate) fn new(key: &CacheKey, error: Arc<BoxError>) -> Self {
        let key = key.to_shown();
        Self(Arc::new(Failure { key, error }))
    }

    /// Returns the text of the key that was being loaded, with secrets masked
    /// ([`CacheKey::to_shown`]).
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Returns the error itself.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &**self.0.error
    }

    /// Returns the error in the type that the loader returned.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.error.downcast_ref()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

/// An option that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} must be {allowed}, got {value}")]
pub struct OptionError {
    /// The option's name.
    pub option: &'static str,
    /// What it was set to.
    pub value: String,
    /// What would have been right.
    pub allowed: &'static str,
}

/// Why a value was not set.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// An option was refused; nothing was changed.
    #[error("an option of the set of {key} was refused")]
    Options {
        /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
        key: String,
        /// Which option, and what would have been right.
        source: OptionError,
    },
    /// The key holds a value of another type; nothing was changed.
    #[error("key {key} is cached as {cached}, but was set as {asked}")]
    WrongType {
        /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
        key: String,
        /// The type that the key holds.
        cached: &'static str,
        /// The type of the new value.
        asked: &'static str,
    },
    /// The value is too large for L2. The previous value of the key was removed, since it is older.
    #[error("the value of {key} weighs {weight} bytes, and the cache keeps at most {allowed}")]
    TooHeavy {
        /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
        key: String,
        /// The size of its entry, in bytes.
        weight: u64,
        /// The largest size that L2 accepts.
        allowed: u64,
    },
    /// The size of the value is unknown, because it does not serialize. The previous value of the
    /// key was removed, since it is older.
    #[error("the value of {key} has no weight: it does not serialize")]
    Weightless {
        /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
        key: String,
    },
    /// The key was invalidated, set or renewed since the number that the value was [read
    /// at](crate::Loaded::read_at), or is being renewed; nothing was changed.
    #[error(
        "key {key} was invalidated, set or renewed after number {read_at}, at which its value was read: read it again"
    )]
    Changed {
        /// The key's text, with secrets masked ([`CacheKey::to_shown`]).
        key: String,
        /// The number that was given.
        read_at: u64,
    },
}

/// Why a cache could not be built.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A cache of this name exists with other settings.
    #[error("cache {name:?} exists already, with other settings")]
    NameTaken {
        /// The name.
        name: String,
    },
}

/// Why a view of a cache was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A view of this name already exists with another type.
    #[error(
        "the values named {name:?} are {first}, but were requested as {asked}: give each type a name of its own"
    )]
    WrongType {
        /// The name.
        name: String,
        /// The type that its first view gave it.
        first: &'static str,
        /// The type that was asked for.
        asked: &'static str,
    },
    /// The cache has too many views, or the name has too many kinds of keys.
    #[error("there are {most} {what} already; make views once, and clone them")]
    TooMany {
        /// The kind of item of which there are too many.
        what: &'static str,
        /// The maximum number.
        most: usize,
    },
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_hit_fits_into_two_words() {
        assert_eq!(
            size_of::<Result<Option<Arc<String>>, GetError>>(),
            2 * size_of::<usize>()
        );
    }
}
