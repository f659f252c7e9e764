//! What can go wrong, one type per kind of call.

use std::{error::Error, fmt, time::Duration};

use tidings_core::CacheKey;

use crate::sync::Arc;

/// An error of any kind, as loaders return it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a `get` gave no answer. Cheap to clone: everybody who waited for one load gets the same error.
///
/// Two words, so that a hit, which returns it or a pointer, moves no more than that; hence the boxes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GetError {
    /// An option was refused; it is checked at the call, also when the call would have been a hit.
    Options(Box<OptionError>),
    /// The key holds a value of another type.
    WrongType(Box<WrongType>),
    /// The load failed; its error is the [`source`](Error::source). Nothing was cached.
    Load(LoadError),
    /// The load panicked. Nothing was cached.
    Panicked {
        /// What it panicked with, if that was a text.
        message: Arc<String>,
    },
    /// The load did not end in time. It goes on, and what it gives still serves later callers if it is valid then.
    Deadline {
        /// How long it had.
        after: Duration,
    },
    /// The load was dropped before it ended: its runtime has stopped.
    Stopped,
    /// Turning the value into its L1 form failed; the error is the [`source`](Error::source).
    L1Serializer(LoadError),
}

/// A key, the type that it has, and the type that it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {key} is cached as {cached}, and was asked for as {asked}")]
pub struct WrongType {
    /// The key's text.
    pub key: String,
    /// The type that the key holds or that is being loaded for it.
    pub cached: &'static str,
    /// The type that was asked for.
    pub asked: &'static str,
}

impl GetError {
    #[cold]
    pub(crate) fn wrong_type(key: &CacheKey, cached: &'static str, asked: &'static str) -> Self {
        Self::WrongType(Box::new(WrongType {
            key: key.as_str().into(),
            cached,
            asked,
        }))
    }

    /// The loader's own error, as it was returned.
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
            Self::Options(error) => error.fmt(f),
            Self::WrongType(types) => types.fmt(f),
            Self::Load(_) => f.write_str("the load failed"),
            Self::Panicked { message } => write!(f, "the load panicked: {message}"),
            Self::Deadline { after } => write!(f, "the load did not end within {after:?}"),
            Self::Stopped => f.write_str("the load was dropped, its runtime has stopped"),
            Self::L1Serializer(_) => f.write_str("the L1 serializer failed"),
        }
    }
}

impl Error for GetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Options(error) => Some(error),
            Self::Load(error) | Self::L1Serializer(error) => Some(error.get_ref()),
            _ => None,
        }
    }
}

impl From<OptionError> for GetError {
    fn from(error: OptionError) -> Self {
        Self::Options(Box::new(error))
    }
}

/// What a loader returned, shared by all who waited for it.
#[derive(Clone, Debug)]
pub struct LoadError(Arc<BoxError>);

impl LoadError {
    pub(crate) fn new(error: BoxError) -> Self {
        Self(Arc::new(error))
    }

    /// The error itself.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &**self.0
    }

    /// The error in the type that the loader returned.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An option that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}, allowed is {allowed}")]
pub struct OptionError {
    /// The option's name.
    pub option: &'static str,
    /// What it was set to.
    pub value: String,
    /// What would have been right.
    pub allowed: &'static str,
}

/// Why a value could not be set.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// An option was refused; nothing was changed.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The key holds a value of another type; nothing was changed.
    #[error("key {key} is cached as {cached}, and was set as {asked}")]
    WrongType {
        /// The key's text.
        key: String,
        /// The type that the key holds.
        cached: &'static str,
        /// The type of the new value.
        asked: &'static str,
    },
}

/// Why a cache could not be built.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A setting was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// No runtime for the loads was given, and the caller is not in one.
    #[error(
        "no runtime to run loads on: build the cache inside a tokio runtime, or give the builder a handle of one"
    )]
    NoRuntime,
    /// A cache of this name exists, with other settings.
    #[error("cache {name:?} exists already, with other settings")]
    NameTaken {
        /// The name.
        name: String,
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
