//! Resolves options: those of a call override those of its cache, which override the defaults.

use std::time::Duration;

use crate::{
    answer::{tag::Tag, ttl::Ttl},
    error::OptionError,
    options::policy::{Kind, Policy},
};

/// Upper bound on any duration option; larger values are mistakes.
pub const LONGEST_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
const DURATION_ALLOWED: &str = "at most 100 years";

/// The most tags one entry may carry, and the longest in bytes; the messages below name both.
pub(crate) const MOST_TAGS: usize = 32;
const LONGEST_TAG: usize = 255;

/// Refuses empty tags, tags of more than [`LONGEST_TAG`] bytes, and more than [`MOST_TAGS`] of
/// them.
pub(crate) fn check_tags(tags: &[Tag]) -> Result<(), OptionError> {
    if tags.len() > MOST_TAGS {
        return Err(OptionError {
            option: "tags",
            value: format!("{} tags", tags.len()),
            allowed: "at most 32 tags",
        });
    }

    match tags
        .iter()
        .find(|tag| !(1..=LONGEST_TAG).contains(&tag.len()))
    {
        None => Ok(()),
        Some(tag) => Err(OptionError {
            option: "tags",
            value: format!("{tag:?}"),
            allowed: "a text of 1 to 255 bytes",
        }),
    }
}

/// What was set at one level.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Overrides {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) neg_ttl: Option<Ttl>,
    pub(crate) resurrect_ttl: Option<Duration>,
    pub(crate) max_staleness: Option<Ttl>,
    pub(crate) deadline: Option<Ttl>,
    pub(crate) abandon_after: Option<Ttl>,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) refresh_early: Option<f64>,
    pub(crate) jitter: Option<f64>,
    pub(crate) policy: Option<Policy>,
}

impl Policy {
    pub(crate) fn overrides(self) -> Overrides {
        match self.0 {
            Kind::Revocable => Overrides {
                neg_ttl: Some(Ttl::After(Duration::from_secs(5))),
                ..Overrides::default()
            },
            Kind::Reference => Overrides {
                resurrect_ttl: Some(Duration::from_secs(30)),
                refresh_early: Some(0.8),
                jitter: Some(0.1),
                ..Overrides::default()
            },
        }
    }
}

impl Overrides {
    pub(crate) fn check(&self) -> Result<(), OptionError> {
        check_ttl("ttl", self.ttl)?;
        check_ttl("neg_ttl", self.neg_ttl)?;
        check_ttl("max_staleness", self.max_staleness)?;
        check_ttl("deadline", self.deadline)?;
        check_ttl("abandon_after", self.abandon_after)?;
        check_duration("resurrect_ttl", self.resurrect_ttl)?;
        check_duration("stale_after", self.stale_after)?;

        if let Some(share) = self.refresh_early
            && !(0.0..1.0).contains(&share)
        {
            return Err(OptionError {
                option: "refresh_early",
                value: share.to_string(),
                allowed: "from 0 to below 1",
            });
        }

        if let Some(share) = self.jitter
            && !(0.0..=1.0).contains(&share)
        {
            return Err(OptionError {
                option: "jitter",
                value: share.to_string(),
                allowed: "from 0 to 1",
            });
        }

        Ok(())
    }

    /// Refuses to serve revocable values stale, whichever call asks.
    pub(crate) fn check_resurrect(&self, policy: Option<Policy>) -> Result<(), OptionError> {
        match self.resurrect_ttl {
            Some(ttl) if !ttl.is_zero() && policy.is_some_and(Policy::never_stale) => {
                Err(OptionError {
                    option: "resurrect_ttl",
                    value: format!("{ttl:?}"),
                    allowed: "zero under Policy::revocable()",
                })
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a number outside its range.
pub(crate) fn check_range(
    option: &'static str,
    value: u64,
    least: u64,
    most: u64,
    allowed: &'static str,
) -> Result<(), OptionError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(OptionError {
        option,
        value: value.to_string(),
        allowed,
    })
}

pub(crate) fn check_ttl(option: &'static str, value: Option<Ttl>) -> Result<(), OptionError> {
    check_duration(option, value.and_then(Ttl::duration))
}

fn check_duration(option: &'static str, value: Option<Duration>) -> Result<(), OptionError> {
    match value {
        Some(value) if value > LONGEST_DURATION => Err(OptionError {
            option,
            value: format!("{value:?}"),
            allowed: DURATION_ALLOWED,
        }),
        _ => Ok(()),
    }
}

/// The options of one call, resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Terms {
    pub(crate) ttl: Ttl,
    pub(crate) neg_ttl: Ttl,
    pub(crate) resurrect_ttl: Duration,
    pub(crate) max_staleness: Ttl,
    pub(crate) deadline: Ttl,
    pub(crate) abandon_after: Ttl,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) refresh_early: f64,
    pub(crate) jitter: f64,
}

/// How long a caller waits for a load.
const DEADLINE: Ttl = Ttl::After(Duration::from_secs(10));
/// After how long a load is ended.
const ABANDON_AFTER: Duration = Duration::from_secs(60);
/// How long an absence is served.
const NEG_TTL: Ttl = Ttl::After(Duration::from_secs(60));

impl Terms {
    /// Resolves the options: those of the call, else of the cache, else the defaults. At each level
    /// a policy supplies what was not set beside it.
    pub(crate) fn resolve(call: &Overrides, cache: &Overrides) -> Self {
        let levels = [
            Some(*call),
            call.policy.map(Policy::overrides),
            Some(*cache),
            cache.policy.map(Policy::overrides),
        ];
        let levels = &levels;

        let policy = call.policy.or(cache.policy);
        let never_stale = policy.is_some_and(Policy::never_stale);
        let resurrect_ttl = if never_stale {
            Duration::ZERO
        } else {
            first(levels, |level| level.resurrect_ttl).unwrap_or_default()
        };

        let deadline = first(levels, |level| level.deadline).unwrap_or(DEADLINE);
        let longest = deadline.duration().unwrap_or_default().max(ABANDON_AFTER);
        let abandon_after = first(levels, |level| level.abandon_after);

        Self {
            ttl: first(levels, |level| level.ttl).unwrap_or(Ttl::Never),
            neg_ttl: first(levels, |level| level.neg_ttl).unwrap_or(NEG_TTL),
            resurrect_ttl,
            max_staleness: first(levels, |level| level.max_staleness).unwrap_or(Ttl::Never),
            deadline,
            abandon_after: abandon_after.unwrap_or(Ttl::After(longest)),
            stale_after: first(levels, |level| level.stale_after),
            refresh_early: first(levels, |level| level.refresh_early).unwrap_or_default(),
            jitter: first(levels, |level| level.jitter).unwrap_or_default(),
        }
    }
}

/// Returns an option from the first of these levels that sets it.
fn first<T>(levels: &[Option<Overrides>; 4], option: fn(&Overrides) -> Option<T>) -> Option<T> {
    levels.iter().flatten().find_map(option)
}
