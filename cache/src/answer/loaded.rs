//! What a load gives: a value or its absence, and what is to be done with it.

use std::time::Duration;

use crate::answer::tag::Tag;

/// The result of a load. An `Option` turns into one; this says more.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_cache::Loaded;
///
/// let token = Loaded::new("secret").ttl(Duration::from_secs(60)).tag("consumer:alice");
/// let unsure = Loaded::<String>::absent().uncached();
/// # let _ = (token, unsure);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Loaded<V> {
    pub(crate) value: Option<V>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) cached: bool,
    pub(crate) position: Option<u64>,
}

impl<V> Loaded<V> {
    /// A value.
    pub fn new(value: V) -> Self {
        Self::from(Some(value))
    }

    /// There is no such value; cached as that.
    pub fn absent() -> Self {
        Self::from(None)
    }

    /// How long this value or absence is served; zero is for ever. Wins over all options.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Adds a tag, besides those that the call gives.
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Answers those who wait, and is not kept.
    pub fn uncached(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Says up to which of the node's numbers ([`Cache::number`](crate::Cache::number)) the load's source had caught up
    /// when it was read: a lagging replica. If the key was invalidated since then, the value answers those who wait, and
    /// is not kept. Keys that share a slot count as one here.
    pub fn read_at(mut self, number: u64) -> Self {
        self.position = Some(number);
        self
    }
}

impl<V> From<Option<V>> for Loaded<V> {
    fn from(value: Option<V>) -> Self {
        Self {
            value,
            ttl: None,
            tags: Vec::new(),
            cached: true,
            position: None,
        }
    }
}
