//! [`Fault`]: why a call to JetStream did not succeed, and what a log says of it.

use std::io;

use serde::Deserialize;
use tidings_core::log::{EngineError, LogError};

/// Why a call did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was not sent.
    Unsent(EngineError),
    /// It was sent, and not answered.
    Lost(EngineError),
    /// It was perhaps sent, and then the connection was lost.
    Cut,
    /// Nothing on the server takes it: JetStream is off or starts, or the stream is gone.
    NoResponders,
    /// The server refuses it.
    Refused(Refused),
    /// The answer is of a form that is not known.
    Malformed(EngineError),
    /// The stream is not one that can be a log.
    Unfit(String),
}

/// What JetStream says of a call that it refuses.
#[derive(Clone, Debug, Deserialize, thiserror::Error)]
#[error("JetStream: {description} ({code}, {err_code})")]
pub(super) struct Refused {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    err_code: u16,
    #[serde(default)]
    description: String,
}

impl Refused {
    /// The stream is not there.
    pub(super) fn has_no_stream(&self) -> bool {
        self.err_code == 10_059
    }

    /// The stream has no such message.
    pub(super) fn has_no_message(&self) -> bool {
        self.err_code == 10_037
    }

    /// The subject's newest message is another one than was expected.
    pub(super) fn has_another_last(&self) -> bool {
        self.err_code == 10_071
    }

    /// A stream of this name was made with other settings.
    pub(super) fn has_another_stream(&self) -> bool {
        self.err_code == 10_058
    }

    /// JetStream is not enabled on the server, or for the account.
    fn is_disabled(&self) -> bool {
        matches!(self.err_code, 10_039 | 10_076)
    }
}

impl Fault {
    /// Returns whether the stream is not there.
    pub(super) fn has_no_stream(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.has_no_stream())
    }

    /// Returns whether a question may well be answered over another connection.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Cut)
    }

    /// Returns what a log says of a call that changes nothing.
    pub(super) fn of_a_question(self) -> LogError {
        match self {
            Self::Unsent(error) | Self::Lost(error) | Self::Malformed(error) => {
                LogError::Unreachable(error)
            }
            Self::Cut => LogError::Unreachable(cut()),
            Self::NoResponders => LogError::Unreachable(
                "JetStream does not answer: it starts, or it is not enabled on this server (-js)"
                    .into(),
            ),
            Self::Refused(refused) if refused.is_disabled() => LogError::Unfit {
                reason: format!("{refused}; enable JetStream on the server and for the account"),
            },
            Self::Refused(refused) => LogError::Unreachable(Box::new(refused)),
            Self::Unfit(reason) => LogError::Unfit { reason },
        }
    }

    /// Returns what a log says of a call that may have changed something.
    pub(super) fn of_a_change(self) -> LogError {
        match self {
            Self::Lost(error) | Self::Malformed(error) => LogError::InDoubt(error),
            Self::Cut => LogError::InDoubt(cut()),
            other => other.of_a_question(),
        }
    }
}

fn cut() -> EngineError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}
