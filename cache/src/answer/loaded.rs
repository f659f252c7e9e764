//! [`Loaded`]: the result of a load: a value or its absence, with its ttl and its tags.

use crate::answer::{tag::Tag, ttl::Ttl};

/// The result of a load. A load can also return an `Option`; a `Loaded` sets the value's own
/// options.
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

    /// Makes the result of a load that found no value. The absence is cached.
    pub fn absent() -> Self {
        Self::from(None)
    }

    /// Sets how long this value or absence is served. Overrides all options. Zero means zero: a
    /// token that has just expired answers the waiting callers, and the cache does not keep it.
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.ttl = Some(ttl.into());
        self
    }

    /// Lets this value or absence never expire, as [`Ttl::Never`] does.
    pub fn no_ttl(self) -> Self {
        self.ttl(Ttl::Never)
    }

    /// Sets how long the value is valid, counted from before its load was called: for example a
    /// credential that expires. The cache serves it no longer, whatever the options are and
    /// whatever fails; a shorter ttl still counts. If the value has expired by the time the load
    /// returns, the caller that started the load gets it, and the other waiting callers ask again.
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

    /// Adds a tag, besides the tags of the call.
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Answers the waiting callers without filling the cache.
    pub fn uncached(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Sets the number of the node ([`Cache::number`](crate::Cache::number)) up to which the
    /// backing store was current when the value was read. Use it for a lagging replica, or if you
    /// read first and set later. If the key was invalidated, set or renewed after that number, a
    /// load's value answers its waiting callers but is not kept, and a [`set`](crate::Cache::set)
    /// is refused. Keys that share a slot count as one here.
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
