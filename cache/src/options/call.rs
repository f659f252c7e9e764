//! [`GetOptions`]: the options of one call, and the setters that calls, caches and builders share.

use std::time::Duration;

use crate::{
    answer::{tag::Tag, ttl::Ttl},
    error::OptionError,
    options::{
        policy::Policy,
        terms::{Overrides, check_tags},
    },
    sync::Arc,
};

/// The options of a single `get`. An option that is not set comes from the cache, or else is the
/// default.
///
/// Empty options take eight bytes, so that a hit does not pay for them; setting the first option
/// costs an allocation. If all calls share an option, set it on the cache instead
/// ([`Cache::named_with`](crate::Cache::named_with)).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_cache::{GetOptions, Policy};
///
/// let plain = GetOptions::default();
/// let short = GetOptions::default().ttl(Duration::from_secs(30)).policy(Policy::reference());
/// # let _ = (plain, short);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct GetOptions(Option<Arc<Set>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Set {
    terms: Overrides,
    tags: Option<Arc<[Tag]>>,
}

macro_rules! setters {
    () => {
        /// Sets how long a value is served: [`Ttl::Never`](crate::Ttl), without end, by default.
        /// With a ttl of zero the cache keeps no value.
        pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
            self.overrides().ttl = Some(ttl.into());
            self
        }

        /// Lets values never expire, as [`Ttl::Never`](crate::Ttl) does.
        pub fn no_ttl(self) -> Self {
            self.ttl(Ttl::Never)
        }

        /// Sets how long an absence is served: one minute by default. With a ttl of zero the cache
        /// keeps no absence.
        pub fn neg_ttl(mut self, ttl: impl Into<Ttl>) -> Self {
            self.overrides().neg_ttl = Some(ttl.into());
            self
        }

        /// Serves an expired value if a load fails or is late, until this long after the value
        /// expired. Zero, the default, turns this off.
        ///
        /// Each such answer is marked ([`Outcome::Stale`](crate::Outcome)) and counted. While loads
        /// fail, the cache tries the next one in the background after an eighth of the remaining
        /// time.
        pub fn resurrect_ttl(mut self, ttl: Duration) -> Self {
            self.overrides().resurrect_ttl = Some(ttl);
            self
        }

        /// Sets how long this caller waits for a load, its own or another's: ten seconds by
        /// default.
        ///
        /// The deadline of a load is the longest deadline of its callers, from the start of the
        /// load. After that the load returns its permit and goes on, so that its value may still
        /// fill the cache, until [`abandon_after`](Self::abandon_after) ends it.
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.overrides().deadline = Some(Ttl::After(deadline));
            self
        }

        /// Waits for a load without a limit.
        pub fn no_deadline(mut self) -> Self {
            self.overrides().deadline = Some(Ttl::Never);
            self
        }

        /// Ends a load that has taken this long, whatever its callers' deadlines are: one minute by
        /// default, or the deadline if that is longer.
        pub fn abandon_after(mut self, after: impl Into<Ttl>) -> Self {
            self.overrides().abandon_after = Some(after.into());
            self
        }

        /// Sets how long this caller waits for a load if it may get the expired value instead
        /// ([`resurrect_ttl`](Self::resurrect_ttl)): until the deadline, by default. The load goes
        /// on.
        pub fn stale_after(mut self, after: Duration) -> Self {
            self.overrides().stale_after = Some(after);
            self
        }

        /// Serves no entry that was read from its backing store this long ago or longer, whatever
        /// its ttl is and whatever fails. There is no bound by default. The age counts from the
        /// start of the load, or from the [`set`](crate::Cache::set).
        ///
        /// Set on a cache, the bound is stored with each entry. Set on a call, it also bounds the
        /// answer to that call, whichever call loaded the entry. Such a call skips L1 and asks L2,
        /// and does not join a load that began too long ago. It takes the result of its own load,
        /// however long that took.
        ///
        /// Use it for a backing store that others change without this node's knowledge. A change
        /// that the node knows of evicts at once. If the bound is longer than the node's
        /// [`staleness_ceiling`](crate::CacheBuilder::staleness_ceiling), the ceiling counts.
        pub fn max_staleness(mut self, bound: Duration) -> Self {
            self.overrides().max_staleness = Some(Ttl::After(bound));
            self
        }

        /// Sets no bound on staleness. The node's
        /// [`staleness_ceiling`](crate::CacheBuilder::staleness_ceiling), if it has one, stays.
        pub fn no_max_staleness(mut self) -> Self {
            self.overrides().max_staleness = Some(Ttl::Never);
            self
        }

        /// Reloads in the background once this fraction of the ttl has passed; zero, the default,
        /// never does.
        pub fn refresh_early(mut self, share: f64) -> Self {
            self.overrides().refresh_early = Some(share);
            self
        }

        /// Shortens each ttl by a random share of up to this, so that entries that were filled
        /// together do not expire together.
        pub fn jitter(mut self, share: f64) -> Self {
            self.overrides().jitter = Some(share);
            self
        }

        /// Takes the options that are not set otherwise from this policy.
        pub fn policy(mut self, policy: Policy) -> Self {
            self.overrides().policy = Some(policy);
            self
        }
    };
}
pub(crate) use setters;

impl GetOptions {
    setters!();

    /// Adds tags to the value that this call loads, besides the tags of the load itself.
    pub fn tags<T: Into<Tag>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        self.set().tags = Some(tags);
        self
    }

    fn overrides(&mut self) -> &mut Overrides {
        &mut self.set().terms
    }

    fn set(&mut self) -> &mut Set {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// Checks what was set, against the cache's settings too.
    #[inline]
    pub(crate) fn check(&self, cache: &Overrides) -> Result<(), OptionError> {
        match &self.0 {
            None => Ok(()),
            Some(set) => set.check(cache),
        }
    }

    /// Returns whether the call bounds the staleness of its answer.
    #[inline]
    pub(crate) fn bounds_staleness(&self) -> bool {
        match &self.0 {
            None => false,
            Some(set) => set.terms.max_staleness.is_some(),
        }
    }

    pub(crate) fn terms(&self) -> Option<&Overrides> {
        self.0.as_ref().map(|set| &set.terms)
    }

    pub(crate) fn tag_list(&self) -> Option<&Arc<[Tag]>> {
        self.0.as_ref()?.tags.as_ref()
    }
}

impl Set {
    #[cold]
    fn check(&self, cache: &Overrides) -> Result<(), OptionError> {
        self.terms.check()?;
        self.terms
            .check_resurrect(self.terms.policy.or(cache.policy))?;
        check_tags(self.tags.as_deref().unwrap_or_default())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::options::terms::Terms;

    const SECOND: Duration = Duration::from_secs(1);

    // ML5
    #[test]
    fn a_call_beats_its_cache_and_a_setting_beats_the_policy_beside_it() {
        let cache = Overrides {
            ttl: Some(SECOND.into()),
            neg_ttl: Some((2 * SECOND).into()),
            policy: Some(Policy::reference()),
            ..Overrides::default()
        };
        let plain = Terms::resolve(&Overrides::default(), &cache);
        assert_eq!(
            (plain.ttl, plain.neg_ttl),
            (SECOND.into(), (2 * SECOND).into())
        );
        assert!(plain.resurrect_ttl > Duration::ZERO && plain.jitter > 0.0);

        let call = GetOptions::default().ttl(5 * SECOND).jitter(0.0);
        let terms = Terms::resolve(call.terms().unwrap(), &cache);
        assert_eq!(
            (terms.ttl, terms.neg_ttl, terms.jitter),
            ((5 * SECOND).into(), (2 * SECOND).into(), 0.0)
        );

        let call = GetOptions::default().policy(Policy::revocable());
        let terms = Terms::resolve(call.terms().unwrap(), &cache);
        assert_eq!(terms.resurrect_ttl, Duration::ZERO);
        assert_eq!(
            terms.neg_ttl,
            Ttl::After(5 * SECOND),
            "the policy of a call beats what its cache set"
        );
    }

    #[test]
    fn an_option_that_is_set_on_a_copy_leaves_the_original_alone() {
        let options = GetOptions::default().ttl(SECOND).tags(["a"]);
        let copy = options.clone().ttl(2 * SECOND).tags(["b"]);
        assert_eq!(options, GetOptions::default().ttl(SECOND).tags(["a"]));
        assert_eq!(copy, GetOptions::default().ttl(2 * SECOND).tags(["b"]));
    }

    // ML7
    #[test]
    fn a_bad_option_is_named_with_its_value_and_what_is_allowed() {
        let year = 365 * 24 * 3600 * SECOND;
        let cache = Overrides::default();
        for (option, options) in [
            ("ttl", GetOptions::default().ttl(101 * year)),
            ("neg_ttl", GetOptions::default().neg_ttl(101 * year)),
            (
                "resurrect_ttl",
                GetOptions::default().resurrect_ttl(Duration::MAX),
            ),
            ("deadline", GetOptions::default().deadline(Duration::MAX)),
            (
                "abandon_after",
                GetOptions::default().abandon_after(Duration::MAX),
            ),
            (
                "stale_after",
                GetOptions::default().stale_after(Duration::MAX),
            ),
            (
                "max_staleness",
                GetOptions::default().max_staleness(Duration::MAX),
            ),
            ("refresh_early", GetOptions::default().refresh_early(1.0)),
            (
                "refresh_early",
                GetOptions::default().refresh_early(f64::NAN),
            ),
            ("jitter", GetOptions::default().jitter(-0.1)),
            ("jitter", GetOptions::default().jitter(1.1)),
            ("tags", GetOptions::default().tags([""])),
            ("tags", GetOptions::default().tags(["x".repeat(256)])),
            (
                "tags",
                GetOptions::default().tags((0..33).map(|tag| tag.to_string())),
            ),
            (
                "resurrect_ttl",
                GetOptions::default()
                    .policy(Policy::revocable())
                    .resurrect_ttl(SECOND),
            ),
        ] {
            let error = options.check(&cache).unwrap_err();
            assert_eq!(error.option, option);
            assert!(!error.value.is_empty() && !error.allowed.is_empty());
        }

        let whole = GetOptions::default()
            .ttl(100 * year)
            .refresh_early(0.0)
            .jitter(1.0)
            .tags(["x".repeat(255)])
            .policy(Policy::revocable())
            .resurrect_ttl(Duration::ZERO);
        assert_eq!(whole.check(&cache), Ok(()));
    }

    #[test]
    fn a_cache_of_revocable_values_refuses_a_call_that_would_serve_stale() {
        let cache = Overrides {
            policy: Some(Policy::revocable()),
            ..Overrides::default()
        };
        let call = GetOptions::default().resurrect_ttl(SECOND);
        assert_eq!(call.check(&cache).unwrap_err().option, "resurrect_ttl");
        assert_eq!(call.policy(Policy::reference()).check(&cache), Ok(()));
    }
}
