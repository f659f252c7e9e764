//! [`AuditSettings`], [`Audited`], [`Verdict`]: the settings of audits and their results.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Semaphore;

/// The shortest and the longest time of an audit on demand.
pub const AUDIT_TIMES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The maximum number of reads per second.
const MOST: u32 = 1_000;

/// The maximum number of rows that audits read per second; for
/// [`NodeBuilder::audit`](crate::NodeBuilder::audit).
///
/// # Examples
///
/// ```
/// use tidings::AuditSettings;
///
/// let settings = AuditSettings::new().reads_per_second(5).reads_per_second_on_demand(200);
/// # let _ = settings;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct AuditSettings {
    background: u32,
    on_demand: u32,
}

impl AuditSettings {
    /// Returns the default settings: no reads in the background, and 100 rows per second by an
    /// audit on demand.
    pub const fn new() -> Self {
        Self {
            background: 0,
            on_demand: 100,
        }
    }

    /// Sets how many rows the background audit reads per second, as long as the node runs: up to
    /// 1,000. 0, the default, turns it off.
    pub const fn reads_per_second(mut self, reads: u32) -> Self {
        self.background = reads;
        self
    }

    /// Sets how many rows an audit on demand ([`Node::audit`](crate::Node::audit)) reads per
    /// second, besides the background audit: 1 to 1,000.
    pub const fn reads_per_second_on_demand(mut self, reads: u32) -> Self {
        self.on_demand = reads;
        self
    }

    /// Checks the settings; an error says what is wrong with them.
    pub(crate) fn check(self) -> Result<(), String> {
        let (background, on_demand) = (self.background, self.on_demand);
        if background > MOST {
            return Err(format!(
                "reads_per_second is {background}; it must be 0 to {MOST}"
            ));
        }
        if !(1..=MOST).contains(&on_demand) {
            return Err(format!(
                "reads_per_second_on_demand is {on_demand}; it must be 1 to {MOST}"
            ));
        }

        Ok(())
    }

    /// Returns the pause after each read in the background; `None` if the background audit is off.
    pub(crate) fn background_pause(self) -> Option<Duration> {
        Duration::from_secs(1).checked_div(self.background)
    }

    /// Returns the pause after each read of an audit that a caller has asked for.
    pub(crate) fn on_demand_pause(self) -> Duration {
        Duration::from_secs(1) / self.on_demand.max(1)
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// The result of an audit for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// There is nothing to compare: L2 holds no entry that the node would serve, or the key does
    /// not belong to a row.
    Nothing,
    /// The cached value equals the row, or both are absent.
    Consistent,
    /// The cached entry differs from its row, and no recent write explains it: the node has applied
    /// everything that the row shows, and would still serve the entry.
    Inconsistent {
        /// The time since the load of the entry began. The entry has not been wrong for longer than
        /// that.
        age: Duration,
    },
    /// The audit cannot tell.
    Skipped(Skipped),
}

/// Why an audit cannot tell whether an entry is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// The row was written in between: the node has evicted the entry.
    Written,
    /// The node had not applied everything that the row shows before the deadline, or it cannot
    /// reach the log.
    Behind,
    /// The row could not be read.
    Unread,
}

impl Skipped {
    pub(crate) const ALL: [Self; 3] = [Self::Written, Self::Behind, Self::Unread];

    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Behind => "behind",
            Self::Unread => "unread",
        }
    }
}

/// The results of an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audited {
    /// The number of cached values and absences that were compared with their rows. An entry that
    /// stays cached is compared and counted again at each turn through the cache.
    pub checked: u64,
    /// The number of these that differ although no recent write explains it.
    pub inconsistent: u64,
    /// The age of the oldest of them: the time since its load began. It was wrong for at most that
    /// long.
    pub oldest: Option<Duration>,
    /// The number of entries that could not be compared: their row was written in between, the node
    /// was behind, or the row could not be read.
    pub skipped: u64,
    /// The node's bound on staleness, if it has one.
    pub bound: Option<Duration>,
}

impl Audited {
    /// Returns the number of inconsistencies per million comparisons; zero if there were no
    /// comparisons.
    #[must_use]
    pub fn per_million(&self) -> f64 {
        per_million(self.checked, self.inconsistent)
    }

    /// Returns whether no inconsistency is older than the node's bound. Without a bound, any
    /// inconsistency makes this false.
    #[must_use]
    pub fn is_within_bound(&self) -> bool {
        let within = |oldest| self.bound.is_some_and(|bound| oldest <= bound);
        self.oldest.is_none_or(within)
    }

    pub(crate) fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Nothing => {}
            Verdict::Consistent => self.checked += 1,
            Verdict::Inconsistent { age } => {
                self.checked += 1;
                self.inconsistent += 1;
                self.oldest = self.oldest.max(Some(age));
            }
            Verdict::Skipped(_) => self.skipped += 1,
        }
    }
}

fn per_million(checked: u64, inconsistent: u64) -> f64 {
    if checked == 0 {
        return 0.0;
    }
    inconsistent as f64 * 1e6 / checked as f64
}

/// Why there was no audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Another audit is running.
    #[error("an audit is already running")]
    Running,
    /// The time is out of range.
    #[error("an audit must run for 1 s to 10 m, got {0:?}")]
    Time(Duration),
}

/// The state that all audits of a node share.
#[derive(Debug)]
pub(crate) struct Audits {
    pub(crate) settings: AuditSettings,
    /// The node's bound on staleness.
    pub(crate) bound: Option<Duration>,
    /// Held by an audit that a caller has asked for.
    pub(crate) running: Semaphore,
    pub(crate) tally: Tally,
}

impl Audits {
    pub(crate) fn new(settings: AuditSettings, bound: Option<Duration>) -> Self {
        Self {
            settings,
            bound,
            running: Semaphore::new(1),
            tally: Tally::default(),
        }
    }
}

/// The findings of all audits of a node.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    checked: AtomicU64,
    inconsistent: AtomicU64,
    skipped: [AtomicU64; Skipped::ALL.len()],
    /// In nanoseconds.
    oldest: AtomicU64,
}

impl Tally {
    pub(crate) fn note(&self, verdict: Verdict) {
        let count = |count: &AtomicU64| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        match verdict {
            Verdict::Nothing => {}
            Verdict::Consistent => count(&self.checked),
            Verdict::Inconsistent { age } => {
                count(&self.checked);
                count(&self.inconsistent);
                let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
                self.oldest.fetch_max(age, Ordering::Relaxed);
            }
            Verdict::Skipped(why) => {
                let of = Skipped::ALL.iter().zip(&self.skipped);
                of.filter(|(other, _)| **other == why)
                    .for_each(|(_, skipped)| count(skipped));
            }
        }
    }

    pub(crate) fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    pub(crate) fn inconsistent(&self) -> u64 {
        self.inconsistent.load(Ordering::Relaxed)
    }

    /// Returns how many were skipped, by reason.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = (Skipped, u64)> {
        let counts = self.skipped.iter().map(|it| it.load(Ordering::Relaxed));
        Skipped::ALL.into_iter().zip(counts)
    }

    pub(crate) fn per_million(&self) -> f64 {
        per_million(self.checked(), self.inconsistent())
    }

    /// Returns the age of the oldest inconsistency; zero if there was none.
    pub(crate) fn oldest(&self) -> Duration {
        Duration::from_nanos(self.oldest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_found_is_counted_with_the_oldest_age() {
        let (mut found, tally) = (Audited::default(), Tally::default());
        assert_eq!(found.per_million(), 0.0);
        let wrong = |age| Verdict::Inconsistent { age };
        let verdicts = [
            Verdict::Nothing,
            Verdict::Consistent,
            wrong(2 * SECOND),
            wrong(SECOND),
            Verdict::Consistent,
            Verdict::Skipped(Skipped::Behind),
        ];
        for verdict in verdicts {
            found.note(verdict);
            tally.note(verdict);
        }
        assert_eq!((found.checked, found.inconsistent), (4, 2));
        assert_eq!((found.oldest, found.skipped), (Some(2 * SECOND), 1));
        assert_eq!(found.per_million(), 500_000.0);
        assert_eq!((tally.checked(), tally.inconsistent()), (4, 2));
        assert_eq!(
            (tally.oldest(), tally.per_million()),
            (2 * SECOND, 500_000.0)
        );
        let skipped: Vec<_> = tally.skipped().map(|(_, count)| count).collect();
        assert_eq!(skipped, [0, 1, 0]);
    }

    #[test]
    fn without_a_bound_nothing_may_be_inconsistent_and_with_one_nothing_older() {
        let found = |oldest, bound| Audited {
            oldest,
            bound,
            ..Audited::default()
        };
        assert!(found(None, None).is_within_bound());
        assert!(!found(Some(SECOND), None).is_within_bound());
        assert!(found(Some(SECOND), Some(SECOND)).is_within_bound());
        assert!(!found(Some(2 * SECOND), Some(SECOND)).is_within_bound());
    }

    #[test]
    fn a_budget_out_of_range_is_refused_with_the_range() {
        let settings = AuditSettings::new();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.background_pause(), None);
        let all = settings.reads_per_second(4).background_pause();
        assert_eq!(all, Some(SECOND / 4));
        let refused = settings.reads_per_second(1_001).check();
        let expected = "reads_per_second is 1001; it must be 0 to 1000";
        assert_eq!(refused, Err(expected.to_owned()));
        let refused = settings.reads_per_second_on_demand(0).check();
        let expected = "reads_per_second_on_demand is 0; it must be 1 to 1000";
        assert_eq!(refused, Err(expected.to_owned()));
    }
}
