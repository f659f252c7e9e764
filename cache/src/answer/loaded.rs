//! [`Loaded`]: the result of a load: a value or its absence, and how long and under which tags to
//! keep it.

use crate::answer::{tag::Tag, ttl::Ttl};

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
    pub(crate) ttl: Option<Ttl>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) cached: bool,
    pub(crate) valid: Ttl,
    pub(crate) position: Option<u64>,
}

impl<V> Loaded<V> {
    /// Makes the result of a load that found a value.
    pub fn new(value: V) -> Self {
        Self::from(Some(value))
    }

    /// Makes the result of a load that found no such value. The absence is cached.
    pub fn absent() -> Self {
        Self::from(None)
    }

    /// Sets how long this value or absence is served. Wins over all options. Zero is zero: a token
    /// that has expired by now answers the callers that wait, and is not kept.
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.ttl = Some(ttl.into());
        self
    }

    /// Lets this value or absence never expire, as [`Ttl::Never`] does.
    pub fn no_ttl(self) -> Self {
        self.ttl(Ttl::Never)
    }

    /// Sets how long the value is true, counted from before its load was called: for a credential
    /// that expires, for example. It is served no longer, whatever options say and whatever fails;
    /// a shorter ttl stays as it is. Callers that wait for a load whose value has come to its end
    /// when it arrives ask again; the one that started the load is answered with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_cache::Loaded;
    ///
    /// let credential = Loaded::new("secret").valid_for(Duration::from_secs(60));
    /// # let _ = credential;
    /// ```
    pub fn valid_for(mut self, valid: impl Into<Ttl>) -> Self {
        self.valid = valid.into();
        self
    }

    /// Adds a tag, besides those that the call gives.
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Answers the callers that wait, and is not kept.
    pub fn uncached(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Sets up to which of the node's numbers ([`Cache::number`](crate::Cache::number)) the backing
    /// store had caught up when this was read: from a lagging replica, or by a caller that reads
    /// first and sets later. If the key was invalidated, set or renewed since then, a load's value
    /// answers the callers that wait for it and is not kept, and a [`set`](crate::Cache::set) is
    /// refused. Keys that share a slot count as one here.
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
            valid: Ttl::Never,
            position: None,
        }
    }
}
