//! What a call, a cache and a policy may set, and what results: per call over per cache over default.

use std::time::Duration;

use crate::{
    answer::tag::Tag,
    error::OptionError,
    options::{
        policy::Policy,
        terms::{Overrides, check_tags},
    },
    sync::Arc,
};

/// What a single `get` asks for. Whatever is not set comes from the cache, and then from the default.
///
/// Options that say nothing take eight bytes, so that a hit does not pay for what others may set; the first one that is
/// set costs an allocation. What all calls share is better set on the cache
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
        /// How long a value is served; zero is for ever, which is the default.
        pub fn ttl(mut self, ttl: Duration) -> Self {
            self.overrides().ttl = Some(ttl);
            self
        }

        /// How long an absence is served; zero is for ever, which is the default.
        pub fn neg_ttl(mut self, ttl: Duration) -> Self {
            self.overrides().neg_ttl = Some(ttl);
            self
        }

        /// When a load fails or is late: serve the expired value, for this much longer. Zero, the default, never does.
        pub fn resurrect_ttl(mut self, ttl: Duration) -> Self {
            self.overrides().resurrect_ttl = Some(ttl);
            self
        }

        /// How long those who wait for a load wait; zero is for ever, the default is ten seconds.
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.overrides().deadline = Some(deadline);
            self
        }

        /// Serves no entry that was read from its source longer ago, whatever its ttl says and whatever fails; zero, the
        /// default, is no bound. It counts from the start of the load, or from the [`set`](crate::Cache::set), and like a
        /// ttl it holds for what is loaded or set under it.
        ///
        /// For sources that others change without telling this node. What it is told of is gone at once.
        pub fn max_staleness(mut self, bound: Duration) -> Self {
            self.overrides().max_staleness = Some(bound);
            self
        }

        /// Loads anew in the background once this share of the ttl has passed; zero, the default, never does.
        pub fn refresh_early(mut self, share: f64) -> Self {
            self.overrides().refresh_early = Some(share);
            self
        }

        /// Shortens each ttl by a random share of up to this, so that what was filled together does not expire together.
        pub fn jitter(mut self, share: f64) -> Self {
            self.overrides().jitter = Some(share);
            self
        }

        /// What is not set otherwise comes from this policy.
        pub fn policy(mut self, policy: Policy) -> Self {
            self.overrides().policy = Some(policy);
            self
        }
    };
}
pub(crate) use setters;

impl GetOptions {
    setters!();

    /// Tags of whatever this call loads, besides those that the load itself gives.
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

    /// ML5
    #[test]
    fn a_call_beats_its_cache_and_a_setting_beats_the_policy_beside_it() {
        let cache = Overrides {
            ttl: Some(SECOND),
            neg_ttl: Some(2 * SECOND),
            policy: Some(Policy::reference()),
            ..Overrides::default()
        };
        let plain = Terms::resolve(&Overrides::default(), &cache);
        assert_eq!((plain.ttl, plain.neg_ttl), (SECOND, 2 * SECOND));
        assert!(plain.resurrect_ttl > Duration::ZERO && plain.jitter > 0.0);
        let call = GetOptions::default().ttl(5 * SECOND).jitter(0.0);
        let terms = Terms::resolve(call.terms().unwrap(), &cache);
        assert_eq!(
            (terms.ttl, terms.neg_ttl, terms.jitter),
            (5 * SECOND, 2 * SECOND, 0.0)
        );
        let call = GetOptions::default().policy(Policy::revocable());
        let terms = Terms::resolve(call.terms().unwrap(), &cache);
        assert_eq!(terms.resurrect_ttl, Duration::ZERO);
        assert_eq!(
            terms.neg_ttl,
            5 * SECOND,
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

    /// ML7
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
