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

/// What a single `get` asks for. Whatever is not set comes from the cache, and then from the
/// default.
///
/// Options that say nothing take eight bytes, so that a hit does not pay for what others may set;
/// the first one that is set costs an allocation. What all calls share is better set on the cache
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
        /// Sets how long a value is served: [`Ttl::Never`](crate::Ttl) by default. Under a ttl of
        /// zero nothing is kept.
        pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
            self.overrides().ttl = Some(ttl.into());
            self
        }

        /// Values never expire: the word for [`Ttl::Never`](crate::Ttl).
        pub fn no_ttl(self) -> Self {
            self.ttl(Ttl::Never)
        }

        /// Sets how long an absence is served: one minute by default. Under a ttl of zero none is
        /// kept.
        pub fn neg_ttl(mut self, ttl: impl Into<Ttl>) -> Self {
            self.overrides().neg_ttl = Some(ttl.into());
            self
        }

        /// Serves the expired value when a load fails or is late, until this long after it expired.
        /// Zero, the default, never does.
        ///
        /// Such an answer says so each time ([`Outcome::Stale`](crate::Outcome)) and is counted.
        /// While loads fail, the next is tried in the background after an eighth of the time that
        /// is left.
        pub fn resurrect_ttl(mut self, ttl: Duration) -> Self {
            self.overrides().resurrect_ttl = Some(ttl);
            self
        }

        /// Sets how long this caller waits for a load, its own or another's: ten seconds by
        /// default.
        ///
        /// A load has as long as the longest deadline of its callers, from its own start. After
        /// that it gives its permit back and goes on, so that what it reads may still fill, until
        /// [`abandon_after`](Self::abandon_after) ends it.
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.overrides().deadline = Some(Ttl::After(deadline));
            self
        }

        /// Waits for a load for as long as it takes.
        pub fn no_deadline(mut self) -> Self {
            self.overrides().deadline = Some(Ttl::Never);
            self
        }

        /// Ends a load that has taken this long, whatever its callers said: one minute by default,
        /// or the deadline if that is longer.
        pub fn abandon_after(mut self, after: impl Into<Ttl>) -> Self {
            self.overrides().abandon_after = Some(after.into());
            self
        }

        /// Sets how long this caller waits for a load if the expired value may be served in its
        /// place ([`resurrect_ttl`](Self::resurrect_ttl)): as long as the deadline says, by
        /// default. The load goes on.
        pub fn stale_after(mut self, after: Duration) -> Self {
            self.overrides().stale_after = Some(after);
            self
        }

        /// Serves no entry that was read from its backing store this long ago or longer, whatever
        /// its ttl says and whatever fails. There is no bound by default. Age counts from the start
        /// of the load, or from the [`set`](crate::Cache::set).
        ///
        /// On a cache it is kept with what is loaded or set. On a call it also bounds what that
        /// call is answered with, whichever call loaded it: such a call asks L2 and not L1, and
        /// does not join a load that began too long ago. It takes the result of a load that it
        /// began itself however long that took.
        ///
        /// For backing stores that others change without telling this node. What it is told of is
        /// gone at once. A bound that is longer than the node's
        /// [`staleness_ceiling`](crate::CacheBuilder::staleness_ceiling) counts as that.
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

        /// Shortens each ttl by a random share of up to this, so that what was filled together does
        /// not expire together.
        pub fn jitter(mut self, share: f64) -> Self {
            self.overrides().jitter = Some(share);
            self
        }

        /// Takes what is not set otherwise from this policy.
        pub fn policy(mut self, policy: Policy) -> Self {
            self.overrides().policy = Some(policy);
            self
        }
    };
}
pub(crate) use setters;

impl GetOptions {
    setters!();

    /// Adds tags to whatever this call loads, besides those that the load itself gives.
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

    /// Returns whether the call bounds the staleness of what it is answered with.
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
    fn what_is_set_on_a_copy_stays_with_the_copy() {
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
