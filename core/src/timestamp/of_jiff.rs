//! Times of the crate jiff, which are finer than ours and have a narrower range.
//!
//! A time of jiff's is rounded down, before the epoch too, so that the order of times is kept. A
//! time of ours that jiff cannot hold (a year before -9999 or after 9999) is an error of jiff's.

use super::{Timestamp, TimestampMicros};

impl From<jiff::Timestamp> for TimestampMicros {
    /// Returns the microsecond that the time lies in.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::TimestampMicros;
    ///
    /// let time: jiff::Timestamp = "2026-11-27T07:00:00.25Z".parse()?;
    /// let ours = TimestampMicros::from(time);
    /// assert_eq!(jiff::Timestamp::try_from(ours)?.to_string(), "2026-11-27T07:00:00.25Z");
    /// # Ok::<(), jiff::Error>(())
    /// ```
    fn from(time: jiff::Timestamp) -> Self {
        Self(within(time, 1_000))
    }
}

impl From<jiff::Timestamp> for Timestamp {
    /// Returns the second that the time lies in.
    fn from(time: jiff::Timestamp) -> Self {
        Self(within(time, 1_000_000_000))
    }
}

impl TryFrom<TimestampMicros> for jiff::Timestamp {
    type Error = jiff::Error;

    fn try_from(time: TimestampMicros) -> Result<Self, jiff::Error> {
        Self::from_microsecond(time.0)
    }
}

impl TryFrom<Timestamp> for jiff::Timestamp {
    type Error = jiff::Error;

    fn try_from(time: Timestamp) -> Result<Self, jiff::Error> {
        Self::from_second(time.0)
    }
}

/// Returns the unit of this many nanoseconds that a time lies in.
fn within(time: jiff::Timestamp, nanos: i128) -> i64 {
    // In jiff's range of years there are fewer microseconds than an `i64` can count.
    i64::try_from(time.as_nanosecond().div_euclid(nanos)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down_and_come_back() {
        for (text, micros, second) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            (
                "2026-11-27T07:00:00.1234567Z",
                1_795_762_800_123_456,
                1_795_762_800,
            ),
            ("1969-12-31T23:59:59.9999999Z", -1, -1),
            ("1969-12-31T23:59:58.5Z", -1_500_000, -2),
        ] {
            let time: jiff::Timestamp = text.parse().unwrap();
            let ours = TimestampMicros::from(time);
            assert_eq!(ours.as_micros(), micros, "{text}");
            assert_eq!(Timestamp::from(time), ours.seconds(), "{text}");
            assert_eq!(ours.seconds().as_unix(), second, "{text}");
            let back = jiff::Timestamp::try_from(ours).unwrap();
            assert_eq!(TimestampMicros::from(back), ours, "{text}");
        }
    }

    #[test]
    fn a_time_outside_of_jiffs_range_is_an_error() {
        for outside in [i64::MIN, i64::MAX] {
            assert!(jiff::Timestamp::try_from(Timestamp::from_unix(outside)).is_err());
            assert!(jiff::Timestamp::try_from(TimestampMicros::from_micros(outside)).is_err());
        }
        for time in [jiff::Timestamp::MIN, jiff::Timestamp::MAX] {
            let second = Timestamp::from(time);
            assert!(jiff::Timestamp::try_from(second).is_ok());
        }
    }
}
