//! [`Backoff`]: the pauses between attempts to get something that others hold. They grow, and
//! differ between nodes. [`LockWaits`]: how long each attempt to lock a table waits.

use std::time::Duration;

use tidings_core::entropy::{Entropy as _, SystemEntropy};
use tokio::time::Instant;

/// The pauses between attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Returns the pauses between attempts to connect.
    pub(crate) fn of_connecting() -> Self {
        Self {
            next: Duration::from_millis(20),
            longest: Duration::from_millis(800),
        }
    }

    /// Returns the pauses between attempts to lock a table that others hold. Statements that were
    /// queued behind an attempt go on in the pause.
    pub(crate) fn of_tables() -> Self {
        Self {
            next: Duration::from_millis(100),
            longest: Duration::from_millis(800),
        }
    }

    /// Returns how long to pause; `None` if another attempt would come too late.
    pub(crate) fn next_before(&mut self, until: Instant) -> Option<Duration> {
        let pause = self.next();
        (Instant::now() + pause < until).then_some(pause)
    }

    fn next(&mut self) -> Duration {
        let half = self.next / 2;
        let most = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        self.next = (self.next * 2).min(self.longest);
        half + Duration::from_nanos(SystemEntropy.below(most))
    }
}

/// How long an attempt to lock a table waits. It is short, because later readers of the table queue
/// behind it.
const BRIEFLY: Duration = Duration::from_millis(500);
/// How long the last attempt waits at least, if the limit is long.
const LAST: Duration = Duration::from_secs(5);

/// The waits for tables that others hold, within one limit. Only waits count, not the work of an
/// attempt, such as the creation of an index.
///
/// Attempts wait briefly, and statements queued behind them go on in the pauses. If others hold a
/// table one after the other, it is never free; so the last attempt waits for all of the time that
/// is left, which is half of the limit or a few seconds.
#[derive(Debug)]
pub(crate) struct LockWaits {
    left: Duration,
    last: Duration,
    backoff: Backoff,
}

impl LockWaits {
    /// Returns the waits for tables, with one limit for all of them together.
    pub(crate) fn of_tables(limit: Duration) -> Self {
        Self {
            left: limit,
            last: LAST.min(limit / 2),
            backoff: Backoff::of_tables(),
        }
    }

    /// Returns how long the next attempt waits for a table.
    pub(crate) fn next(&self) -> Duration {
        if self.left >= self.last + 2 * BRIEFLY {
            BRIEFLY
        } else {
            self.left
        }
    }

    /// Counts an attempt that did not get its table in time, and returns how long to pause before
    /// the next; `None` if it was the last.
    pub(crate) fn timed_out(&mut self) -> Option<Duration> {
        self.left -= self.next();
        if self.left.is_zero() {
            return None;
        }
        let pause = self.backoff.next().min(self.left - self.last);
        self.left -= pause;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_before_the_time_is_over() {
        let mut backoff = Backoff::of_tables();
        let far = Instant::now() + Duration::from_secs(3_600);
        for most in [100, 200, 400, 800, 800] {
            let most = Duration::from_millis(most);
            let pause = backoff.next_before(far).unwrap();
            assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
        }
        let near = Instant::now() + Duration::from_millis(399);
        assert_eq!(backoff.next_before(near), None);
    }

    #[test]
    fn the_last_attempt_waits_out_what_is_left_of_the_limit() {
        for limit in [400, 700, 2_000, 5_000, 60_000] {
            let limit = Duration::from_millis(limit);
            let mut waits = LockWaits::of_tables(limit);
            let (mut all, mut wait) = (waits.next(), waits.next());
            while let Some(pause) = waits.timed_out() {
                assert_eq!(wait, BRIEFLY, "the table is left to others in between");
                wait = waits.next();
                all += pause + wait;
            }
            assert_eq!(all, limit);
            let last = LAST.min(limit / 2);
            assert!(
                (last..last + 2 * BRIEFLY).contains(&wait),
                "{wait:?} of {limit:?}"
            );
        }
    }
}
