//! [`Pace`]: how soon the members' rows are checked again while a caller waits for reports.
//!
//! A report sends no wake-up, which would wake every node although only one waits for it. That node
//! checks the rows: a few times without a pause, since nearby members report within a few round
//! trips, then after pauses that double from 1 ms for as long as the rows show nothing new. So the
//! cost of a receipt does not grow with the square of the nodes, and a receipt that waits for an
//! absent member costs no more than the poll.

use std::time::Duration;

use crate::floor::Found;

/// How many checks follow a question without a pause.
const AT_ONCE: u32 = 4;
/// The first pause.
const LEAST: Duration = Duration::from_millis(1);

/// How soon the next check is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// The checks since the question; of those with pauses, since the rows showed something new.
    looks: u32,
}

impl Pace {
    /// Notes that the members were asked.
    pub(crate) fn asked(&mut self) {
        self.looks = 0;
    }

    /// Notes that they could not be asked: no report will come soon.
    pub(crate) fn unanswered(&mut self) {
        self.looks = u32::MAX;
    }

    /// Notes what a check has found.
    pub(crate) fn looked(&mut self, found: Found) {
        self.looks = match found {
            Found::News => self.looks.saturating_add(1).min(AT_ONCE),
            Found::Nothing => self.looks.saturating_add(1),
        };
    }

    /// Returns the pause before the next check, which is never longer than `longest`; `None` if it
    /// follows at once.
    pub(crate) fn pause(self, longest: Duration) -> Option<Duration> {
        let doublings = self.looks.checked_sub(AT_ONCE)?;
        let pause = LEAST.saturating_mul(1 << doublings.min(16));
        Some(pause.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(25);

    fn pauses(pace: &mut Pace, found: [Found; 8]) -> [Option<u128>; 8] {
        found.map(|found| {
            pace.looked(found);
            pace.pause(LONGEST).map(|pause| pause.as_millis())
        })
    }

    #[test]
    fn looks_follow_at_once_and_then_after_longer_and_longer_pauses() {
        let mut pace = Pace::default();
        for _ in 0..2 {
            let pauses = pauses(&mut pace, [Found::Nothing; 8]);
            let (one, two, four, eight) = (Some(1), Some(2), Some(4), Some(8));
            let expected = [None, None, None, one, two, four, eight, Some(16)];
            assert_eq!(pauses, expected);
            pace.looked(Found::Nothing);
            assert_eq!(pace.pause(LONGEST), Some(LONGEST));
            pace.asked();
        }
    }

    #[test]
    fn rows_that_say_anything_new_are_looked_at_again_after_the_first_pause() {
        let mut pace = Pace::default();
        let mut found = [Found::Nothing; 8];
        (found[1], found[6]) = (Found::News, Found::News);
        let (one, two) = (Some(1), Some(2));
        let expected = [None, None, None, one, two, Some(4), one, two];
        assert_eq!(pauses(&mut pace, found), expected);
    }

    #[test]
    fn members_that_cannot_be_asked_are_looked_at_as_seldom_as_may_be() {
        let mut pace = Pace::default();
        pace.unanswered();
        assert_eq!(pace.pause(LONGEST), Some(LONGEST));
        pace.looked(Found::Nothing);
        assert_eq!(pace.pause(LONGEST), Some(LONGEST));
    }
}
