//! Durations, counted at the price of two additions each: [`Histogram`] counts them, and a
//! [`Distribution`] is what it has counted.
//!
//! Each part of a node counts for itself and hands its counts to the `metrics` facade on request
//! (`publish_metrics`), so counting never calls a recorder. The facade takes single values and no
//! counts by size. So each duration is handed over once, at the first request after it: publish to
//! one recorder only, and keep that one.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Durations by powers of two of a microsecond.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tidings_core::meter::Histogram;
///
/// let took = Histogram::default();
/// took.record(Duration::from_millis(3));
/// assert_eq!(took.seen().count(), 1);
/// assert_eq!(took.seen().sum, Duration::from_millis(3));
/// ```
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Distribution::BUCKETS],
    nanoseconds: AtomicU64,
    /// The part of it that was published.
    published: Mutex<Distribution>,
}

/// How often durations of each size were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The first counts what took less than one microsecond, the next less than two, then four, and
    /// so on; the last counts everything longer.
    pub buckets: [u64; Distribution::BUCKETS],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(Distribution::BUCKETS - 1)].fetch_add(1, Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// Returns what was counted so far. A duration that is being counted at this moment may be in
    /// only one of the two numbers.
    #[must_use]
    pub fn seen(&self) -> Distribution {
        Distribution {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Relaxed)),
            sum: Duration::from_nanos(self.nanoseconds.load(Relaxed)),
        }
    }

    /// Hands what was counted since the last call to a histogram of the `metrics` facade, in
    /// seconds. Within each bucket the values are placed so that their sum is right.
    pub fn publish(&self, to: &metrics::Histogram) {
        let new = {
            // Two threads that publish at once take the new counts in turns, so that nothing is
            // handed over twice.
            let mut published = self
                .published
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let seen = self.seen();
            let new = seen.since(&published);
            *published = seen;

            new
        };

        for (seconds, count) in new.values() {
            to.record_many(seconds, count);
        }
    }
}

impl Distribution {
    /// How many buckets there are: the last but one ends at some nine minutes.
    pub const BUCKETS: usize = 31;

    /// Returns bounds for showing such durations in buckets, in seconds: every second of those
    /// that are counted.
    #[must_use]
    pub fn bounds() -> Vec<f64> {
        let bounds = (0..Self::BUCKETS - 1).step_by(2);
        bounds
            .map(|bucket| Self::end(bucket).as_secs_f64())
            .collect()
    }

    /// Returns how many durations were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns a duration that the given share of all seen did not exceed, up to a factor of two;
    /// `None` if none was seen.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * share.clamp(0.0, 1.0))
            .ceil()
            .max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Self::end(bucket));
            }
        }

        None
    }

    /// Returns where a bucket ends.
    fn end(bucket: usize) -> Duration {
        Duration::from_micros(1 << bucket)
    }

    /// Returns where a bucket begins.
    fn start(bucket: usize) -> Duration {
        bucket.checked_sub(1).map_or(Duration::ZERO, Self::end)
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|index| {
                self.buckets[index].saturating_sub(before.buckets[index])
            }),
            sum: self.sum.saturating_sub(before.sum),
        }
    }

    /// Returns a value in seconds for each bucket that is not empty, and how often it was seen. All
    /// lie at one share of their buckets, the one that makes their sum that of the durations.
    fn values(&self) -> Vec<(f64, usize)> {
        let of = |edge: fn(usize) -> Duration| -> f64 {
            let counts = self.buckets.iter().enumerate();
            counts
                .map(|(bucket, count)| edge(bucket).as_secs_f64() * *count as f64)
                .sum()
        };
        let (least, most) = (of(Self::start), of(Self::end));
        let share = (self.sum.as_secs_f64() - least) / (most - least);

        // A start itself belongs to the bucket below, and the sum of counts that were read a moment
        // apart may be off.
        let share = share.clamp(1e-3, 1.0);

        let filled = self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        filled
            .map(|(bucket, count)| {
                let (start, end) = (
                    Self::start(bucket).as_secs_f64(),
                    Self::end(bucket).as_secs_f64(),
                );
                let value = start + share * (end - start);
                (value, usize::try_from(*count).unwrap_or(usize::MAX))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_tells_its_quantiles() {
        let histogram = Histogram::default();
        assert_eq!(histogram.seen().quantile(0.5), None);
        for micros in [0, 1, 3, 3, 1000] {
            histogram.record(Duration::from_micros(micros));
        }
        histogram.record(Duration::MAX);
        let seen = histogram.seen();
        assert_eq!(seen.count(), 6);
        assert_eq!(seen.buckets[..3], [1, 1, 2]);
        assert_eq!(seen.quantile(0.0), Some(Duration::from_micros(1)));
        assert_eq!(seen.quantile(0.5), Some(Duration::from_micros(4)));
        assert_eq!(seen.quantile(0.8), Some(Duration::from_micros(1024)));
        assert_eq!(seen.quantile(1.0), Some(Duration::from_micros(1 << 30)));
    }

    #[test]
    fn what_is_published_has_the_buckets_and_the_sum_of_what_was_seen() {
        let histogram = Histogram::default();
        for micros in [5, 6, 7, 900, 1000, 40_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let values = histogram.seen().values();
        let sum: f64 = values
            .iter()
            .map(|(value, count)| value * *count as f64)
            .sum();
        assert!((sum - 0.041_918).abs() < 1e-9, "{sum}");
        let within = |low: f64, high: f64| {
            values
                .iter()
                .find(|(value, _)| *value > low && *value <= high)
        };
        assert_eq!(within(4e-6, 8e-6).unwrap().1, 3);
        assert_eq!(within(512e-6, 1024e-6).unwrap().1, 2);
        assert_eq!(within(0.032_768, 0.065_536).unwrap().1, 1);
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn nothing_new_is_nothing_to_publish() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(5));
        let seen = histogram.seen();
        assert!(seen.since(&seen).values().is_empty());
        assert!(Distribution::default().values().is_empty());
    }
}
