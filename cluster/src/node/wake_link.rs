//! [`WakeLink`]: whether wake-ups of other nodes reach a node, and since when.

use tidings_core::Timestamp;

/// The link by which a node receives the wake-ups of others, over its database or a broker. Without
/// it, their changes arrive by the next poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeLink {
    /// How it is.
    pub state: WakeLinkState,
    /// Since when it is like that.
    pub since: Timestamp,
}

/// How a [`WakeLink`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeLinkState {
    /// It has not been there yet.
    Connecting,
    /// Wake-ups are received.
    Connected,
    /// It was there, and is tried again.
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
    /// Makes one that has not been there yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            state: WakeLinkState::Connecting,
            since: now,
        }
    }

    pub(crate) fn is_there(&mut self, now: Timestamp) {
        *self = Self {
            state: WakeLinkState::Connected,
            since: now,
        };
    }

    /// Notes that it is not there; one that was not there before is like that for longer.
    pub(crate) fn is_gone(&mut self, now: Timestamp) {
        if self.state == WakeLinkState::Connected {
            *self = Self {
                state: WakeLinkState::Lost,
                since: now,
            };
        }
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
        link.is_gone(at(2));
        assert_eq!(told(link), ("connecting", 1), "it was not there before");
        link.is_there(at(3));
        assert_eq!(told(link), ("connected", 3));
        link.is_gone(at(4));
        link.is_gone(at(5));
        assert_eq!(told(link), ("lost", 4), "for as long as it is away");
        link.is_there(at(6));
        assert_eq!(told(link), ("connected", 6));
    }
}
