//! Wake-ups: hints that something was committed, on their way faster than the log is polled.
//!
//! A wake-up may be lost, doubled, late or reordered; none of that can make a reader wrong, only
//! slow. A wake-up that is not authentic, or of another epoch, only makes its reader read the log.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{LogError, LogFuture, Mark};

/// A hint that there is something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Read the log.
    Look,
    /// A commit whose keys are named: evict them on sight, then read the log. Authentic: what
    /// returns it has checked that it was made under the cluster's key.
    Committed {
        /// The commit.
        mark: Mark,
        /// Every key that the commit touched, as digests.
        keys: Vec<Digest>,
    },
    /// A member has reported what it has applied: read the members' rows, if a caller waits for
    /// that. The log has nothing new. Nodes of earlier versions send it; nodes of this version read
    /// the rows while a caller waits. Where it cannot be told from a [`Look`](Self::Look), it
    /// counts as one.
    Reported,
    /// Commits as they travel: signed, for whatever has the cluster's key. To anything else it is a
    /// [`Look`](Self::Look).
    Sealed(Sealed),
}

impl Wake {
    /// The most keys of a commit that is named: others find a larger one in the log.
    pub const MOST_KEYS: usize = 256;

    /// Returns the text by which it travels; empty for a [`Look`](Self::Look), and for a commit
    /// that is not sealed.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Look | Self::Committed { .. } => "",
            Self::Reported => "reported",
            Self::Sealed(sealed) => sealed.as_str(),
        }
    }

    /// Reads the text back. One that is not known, of a later version or of another program, is a
    /// [`Look`](Self::Look).
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        match word {
            "reported" => Self::Reported,
            _ => Sealed::new(word).map_or(Self::Look, Self::Sealed),
        }
    }
}

/// The text of one or more sealed commits, with a space between them. It consists of ASCII letters,
/// digits, hyphens, underscores, full stops and those spaces, so it may stand in a statement, and
/// it has at most [`Sealed::LONGEST`] bytes. Whether it is authentic is another question.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Arc<str>);

impl Sealed {
    /// The most bytes. A `NOTIFY` takes fewer than 8,000.
    pub const LONGEST: usize = 7_000;
    /// What each commit begins with: the version of its form.
    pub const VERSION: &str = "c1.";

    /// Takes a text that has the form of one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let of_a_word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let fits = |word: &str| word.starts_with(Self::VERSION) && word.bytes().all(of_a_word);
        let fits = text.len() <= Self::LONGEST && text.split(' ').all(fits);
        fits.then(|| Self(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the commits, in the order in which they were sealed.
    pub fn commits(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// Returns both in one, if that is not too long.
    fn with(&self, later: &Self) -> Option<Self> {
        let both = format!("{self} {later}");
        (both.len() <= Self::LONGEST).then(|| Self(both.into()))
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The wake-up to be sent next: all that are asked for while one is being sent become one more. It
/// names what sealed commits name as long as they fit into one text; a
/// [`Wake::Look`] includes a [`Wake::Reported`], and a sealed commit both.
#[derive(Debug, Default)]
pub struct NextWake(Mutex<Next>);

#[derive(Debug, Default, Clone)]
enum Next {
    #[default]
    Nothing,
    Reported,
    Look,
    Sealed(Sealed),
    /// More commits than fit: the wake-up says only that there are some.
    TooMany,
}

impl Next {
    /// Returns what includes both this and the wake-up.
    fn and(self, wake: &Wake) -> Self {
        match (self, wake) {
            (Self::TooMany, _) => Self::TooMany,
            (Self::Sealed(sealed), Wake::Sealed(later)) => {
                sealed.with(later).map_or(Self::TooMany, Self::Sealed)
            }
            (Self::Sealed(sealed), Wake::Look | Wake::Committed { .. } | Wake::Reported) => {
                Self::Sealed(sealed)
            }
            (Self::Nothing | Self::Reported | Self::Look, Wake::Sealed(later)) => {
                Self::Sealed(later.clone())
            }
            (Self::Nothing | Self::Reported | Self::Look, Wake::Look | Wake::Committed { .. })
            | (Self::Look, Wake::Reported) => Self::Look,
            (Self::Nothing | Self::Reported, Wake::Reported) => Self::Reported,
        }
    }
}

impl NextWake {
    /// Asks for one.
    pub fn ask(&self, wake: &Wake) {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *next = std::mem::take(&mut *next).and(wake);
    }

    /// Takes the one to be sent; none if it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<Wake> {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *next) {
            Next::Nothing => None,
            Next::Reported => Some(Wake::Reported),
            Next::Look | Next::TooMany => Some(Wake::Look),
            Next::Sealed(sealed) => Some(Wake::Sealed(sealed)),
        }
    }
}

/// A cache key as wake-ups name it: a digest under the cluster's key, so that no secret value
/// leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

/// A listener for wake-ups.
pub trait WakeUps: std::fmt::Debug + Send + 'static {
    /// Waits for the next wake-up. Those that arrive while nothing waits are kept, or folded into
    /// one [`Wake::Look`], which includes all others.
    ///
    /// # Cancel safety
    ///
    /// A wake-up that was received is not lost.
    ///
    /// # Errors
    ///
    /// The link is gone, and wake-ups with it: listen again, after a pause.
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>>;
}

/// Carries wake-ups from node to node in place of the log's own way, for example over a broker.
///
/// It may lose, double and delay them, and hand a node its own: that costs time or a read of the
/// log, and nothing else. So a broker that is down makes changes arrive at the next poll.
pub trait WakeCarrier: std::fmt::Debug + Send + Sync + 'static {
    /// Starts to listen for the wake-ups of other nodes, from now on.
    ///
    /// # Errors
    ///
    /// The broker cannot be reached: listen again, after a pause.
    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>>;

    /// Wakes the other nodes. Never waits; it may be lost. A carrier that has no room for the
    /// [text](Wake::word) sends all kinds alike, as a [`Wake::Look`].
    fn wake(&self, wake: Wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_not_known_is_a_look() {
        assert_eq!(Wake::of_word(Wake::Reported.word()), Wake::Reported);
        let long = format!("c1.{}", "a".repeat(Sealed::LONGEST));
        let quoted = [
            "c1.a'",
            "c1.a  c1.b",
            "c1.a b",
            "c1.\u{e4}",
            "c2.a",
            " c1.a",
            "c1.a\n",
        ];
        let words = [Wake::Look.word(), "reporte", "Reported", "2", &long];
        for word in words.into_iter().chain(quoted) {
            assert_eq!(Wake::of_word(word), Wake::Look, "{word}");
        }
    }

    fn sealed(text: &str) -> Wake {
        Wake::Sealed(Sealed::new(text).expect("a sealed text"))
    }

    #[test]
    fn sealed_commits_travel_as_they_are() {
        let two = sealed("c1.a-_Z9 c1.b");
        assert_eq!(two.word(), "c1.a-_Z9 c1.b");
        assert_eq!(Wake::of_word(two.word()), two);
        let Wake::Sealed(two) = two else {
            unreachable!()
        };
        assert_eq!(two.commits().collect::<Vec<_>>(), ["c1.a-_Z9", "c1.b"]);
    }

    #[test]
    fn sealed_commits_are_joined_until_they_do_not_fit() {
        let next = NextWake::default();
        next.ask(&Wake::Look);
        for word in ["c1.a", "c1.b"] {
            next.ask(&sealed(word));
            next.ask(&Wake::Reported);
            next.ask(&Wake::Look);
        }
        assert_eq!(next.take(), Some(sealed("c1.a c1.b")));

        let half = format!("c1.{}", "a".repeat(Sealed::LONGEST / 2));
        for word in [&*half, &*half, "c1.b"] {
            next.ask(&sealed(word));
        }
        // The last one would fit, and would hide that there were others.
        assert_eq!(next.take(), Some(Wake::Look));
        assert_eq!(next.take(), None);
    }

    #[test]
    fn wake_ups_that_are_asked_for_during_another_become_one_that_includes_all() {
        let next = NextWake::default();
        assert_eq!(next.take(), None);
        next.ask(&Wake::Reported);
        next.ask(&Wake::Reported);
        assert_eq!(next.take(), Some(Wake::Reported));
        next.ask(&Wake::Look);
        next.ask(&Wake::Reported);
        assert_eq!((next.take(), next.take()), (Some(Wake::Look), None));
    }
}
