//! [`Pauses`]: the pauses between attempts at what others have now, which grow and differ between
//! nodes.

use std::time::Duration;

use tidings_core::entropy::{Entropy as _, SystemEntropy};
use tokio::time::Instant;

/// The pauses between attempts.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Between attempts to connect.
    pub(crate) fn of_connecting() -> Self {
        Self {
            next: Duration::from_millis(20),
            longest: Duration::from_millis(800),
        }
    }

    /// Between attempts at a table that others hold: those that waited behind it go on.
    pub(crate) fn of_tables() -> Self {
        Self {
            next: Duration::from_millis(100),
            longest: Duration::from_millis(800),
        }
    }

    /// Returns how long to pause; none if another attempt would come too late.
    pub(crate) fn next_before(&mut self, until: Instant) -> Option<Duration> {
        let half = self.next / 2;
        let most = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let pause = half + Duration::from_nanos(SystemEntropy.below(most));
        if Instant::now() + pause >= until {
            return None;
        }
        self.next = (self.next * 2).min(self.longest);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end_before_the_time_is_over() {
        let mut pauses = Pauses::of_tables();
        let far = Instant::now() + Duration::from_secs(3_600);
        for most in [100, 200, 400, 800, 800] {
            let most = Duration::from_millis(most);
            let pause = pauses.next_before(far).unwrap();
            assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
        }
        let near = Instant::now() + Duration::from_millis(399);
        assert_eq!(pauses.next_before(near), None);
    }
}
