//! [`WakeLink`]: whether wake-ups of other nodes reach a node, and since when.

use std::{error::Error, time::Duration};

use tidings_core::{Chain, Timestamp, log::LogError};

/// The longest pause before a node that lost its wake-ups listens again.
const LONGEST: Duration = Duration::from_secs(1);

/// The link over which a node receives the wake-ups of other nodes: its database or a broker.
/// Without the link, their changes arrive with the next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeLink {
    /// Its state.
    pub state: WakeLinkState,
    /// The time since which it has this state.
    pub since: Timestamp,
}

/// The state of a [`WakeLink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeLinkState {
    /// There was no connection yet.
    Connecting,
    /// Wake-ups arrive.
    Connected,
    /// The connection was lost, and the node tries again.
    Lost,
}

impl WakeLinkState {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Lost => "lost",
        }
    }
}

impl WakeLink {
    /// Makes a link that has not been connected yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            state: WakeLinkState::Connecting,
            since: now,
        }
    }

    /// Notes that wake-ups are received.
    pub(crate) fn note_connected(&mut self, now: Timestamp) {
        *self = Self {
            state: WakeLinkState::Connected,
            since: now,
        };
    }

    /// Notes that there is no link. Changes nothing if there was none before.
    pub(crate) fn note_lost(&mut self, now: Timestamp) {
        if self.state == WakeLinkState::Connected {
            *self = Self {
                state: WakeLinkState::Lost,
                since: now,
            };
        }
    }
}

/// Whether wake-ups do not arrive, which is logged once and not with every attempt.
#[derive(Debug, Default)]
pub(crate) struct Deafness {
    /// How many attempts in a row have not lasted; 0 while wake-ups arrive.
    attempts: u32,
}

impl Deafness {
    /// Notes that the link is gone.
    pub(crate) fn begins(&mut self, error: &LogError) {
        if self.attempts == 0 {
            tracing::warn!(
                error = %Chain(cause_of(error)),
                "not woken by other nodes; their changes arrive with polls of the log"
            );
        }
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Returns the pause until the next attempt. The first is that of a poll, at most.
    pub(crate) fn pause(&self, first: Duration) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(16);
        first.saturating_mul(1 << doublings).min(LONGEST)
    }

    /// Notes that the link has lasted.
    pub(crate) fn ends(&mut self) {
        if std::mem::take(&mut self.attempts) > 0 {
            tracing::info!("woken by other nodes again");
        }
    }
}

/// Returns why a link failed, without the error's own text: that speaks of the log, and a broker is
/// not the log.
fn cause_of(error: &LogError) -> &(dyn Error + 'static) {
    match error {
        LogError::Unreachable(cause) | LogError::InDoubt(cause) => &**cause,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_since_when_it_is_as_it_is() {
        let at = Timestamp::from_unix;
        let mut link = WakeLink::new(at(1));
        let told = |link: WakeLink| (link.state.as_str(), link.since.as_unix());
        link.note_lost(at(2));
        assert_eq!(told(link), ("connecting", 1), "it was not there before");
        link.note_connected(at(3));
        assert_eq!(told(link), ("connected", 3));
        link.note_lost(at(4));
        link.note_lost(at(5));
        assert_eq!(told(link), ("lost", 4), "for as long as it is away");
        link.note_connected(at(6));
        assert_eq!(told(link), ("connected", 6));
    }

    #[test]
    fn a_lost_link_is_not_told_as_a_lost_log() {
        let shown = |error: LogError| Chain(cause_of(&error)).to_string();
        let refused = || "connection refused".into();
        assert_eq!(
            shown(LogError::Unreachable(refused())),
            "connection refused"
        );
        assert_eq!(shown(LogError::InDoubt(refused())), "connection refused");
        assert_eq!(shown(LogError::Closed), "the log is closed");
    }

    #[test]
    fn attempts_are_made_later_and_later_until_one_lasts() {
        let error = LogError::Unreachable("as the test says".into());
        let mut deafness = Deafness::default();
        let mut pauses = || {
            deafness.begins(&error);
            let pause = deafness.pause(Duration::from_millis(100)).as_millis();
            if pause == 1_000 {
                deafness.ends();
            }
            pause
        };
        let paused: Vec<_> = (0..6).map(|_| pauses()).collect();
        assert_eq!(paused, [100, 200, 400, 800, 1_000, 100]);
        assert_eq!(deafness.pause(Duration::from_secs(60)), LONGEST);
    }
}
