//! [`ClusterSettings`]: the settings of the protocol of one node. Values are checked when the node
//! is assembled.

use std::time::Duration;

/// The settings of one node.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_cluster::ClusterSettings;
///
/// let settings = ClusterSettings::new().max_staleness(Some(Duration::from_secs(1)));
/// settings.check()?;
/// assert!(ClusterSettings::new().max_staleness(Some(Duration::from_millis(1))).check().is_err());
/// # Ok::<(), tidings_cluster::SettingError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ClusterSettings {
    pub(crate) poll: Duration,
    pub(crate) page: usize,
    pub(crate) queue: usize,
    pub(crate) remembered: usize,
    pub(crate) bound: Option<Duration>,
    pub(crate) handler_deadline: Duration,
    pub(crate) retry: Duration,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            page: 1_000,
            queue: 10_000,
            remembered: 65_536,
            bound: None,
            handler_deadline: Duration::from_secs(2),
            retry: Duration::from_secs(2),
        }
    }
}

impl ClusterSettings {
    /// Returns the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how often the node reads the log when nothing has woken it; 100 ms by default.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// Sets how many records one read asks for; 1,000 by default.
    pub fn page(mut self, records: usize) -> Self {
        self.page = records;
        self
    }

    /// Sets how many changes wait in memory for their handlers; 10,000 by default. A dispatcher
    /// that is further behind reads them from the log again.
    pub fn queue(mut self, changes: usize) -> Self {
        self.queue = changes;
        self
    }

    /// Sets how many evictions the node remembers until their records arrive; 65,536 by default. A
    /// forgotten eviction costs one more load.
    pub fn remembered(mut self, evictions: usize) -> Self {
        self.remembered = evictions;
        self
    }

    /// Sets how long the node serves entries without a proof of freshness; there is no bound by
    /// default.
    pub fn max_staleness(mut self, bound: Option<Duration>) -> Self {
        self.bound = bound;
        self
    }

    /// Returns how long the node serves entries without a proof of freshness.
    #[must_use]
    pub fn bound(&self) -> Option<Duration> {
        self.bound
    }

    /// Sets how long a write waits for the handlers of its own node; 2 s by default.
    pub fn handler_deadline(mut self, deadline: Duration) -> Self {
        self.handler_deadline = deadline;
        self
    }

    /// Sets the longest pause before the node tries an unreachable log again; 2 s by default.
    pub fn retry(mut self, longest: Duration) -> Self {
        self.retry = longest;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// Names the first invalid setting, and what would be right.
    pub fn check(&self) -> Result<(), SettingError> {
        let within = |setting, value: Duration, least, most, expected| {
            let right = (least..=most).contains(&value);
            right.then_some(()).ok_or(SettingError {
                setting,
                value: format!("{value:?}"),
                expected,
            })
        };
        let (millisecond, hour) = (Duration::from_millis(1), Duration::from_secs(3_600));
        within("poll", self.poll, millisecond, hour, "1 ms to 1 h")?;
        within("retry", self.retry, millisecond, hour, "1 ms to 1 h")?;

        if let Some(bound) = self.bound {
            let (least, most) = (50 * millisecond, 30 * 24 * hour);
            within("max_staleness", bound, least, most, "50 ms to 30 d")?;
        }

        for (setting, value) in [
            ("page", self.page),
            ("queue", self.queue),
            ("remembered", self.remembered),
        ] {
            if !(1..=1 << 24).contains(&value) {
                return Err(SettingError {
                    setting,
                    value: value.to_string(),
                    expected: "1 to 16,777,216",
                });
            }
        }

        Ok(())
    }

    /// Returns how long the tail sleeps between two reads: at most a third of the bound, so that a
    /// proof that fails can be repeated.
    pub(crate) fn pause(&self) -> Duration {
        self.bound
            .map_or(self.poll, |bound| self.poll.min(bound / 3))
    }
}

/// A setting has a value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {expected}, got {value}")]
pub struct SettingError {
    /// The setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}
