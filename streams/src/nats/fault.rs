//! [`Fault`]: why a call to JetStream failed, and the log's error for it.

use std::io;

use serde::Deserialize;
use tidings_core::log::{EngineError, LogError};

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was not sent.
    Unsent(EngineError),
    /// It was sent, but not answered.
    Lost(EngineError),
    /// It was perhaps sent, and then the connection was lost.
    Cut,
    /// Nothing on the server accepts it: JetStream is off or starting, or the stream is gone.
    NoResponders,
    /// The server refused it.
    Refused(Refused),
    /// The answer has an unknown form.
    Malformed(EngineError),
    /// The stream cannot be used as a log.
    Unfit(String),
}

/// The error of a call that JetStream refuses.
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
    /// The stream does not exist.
    pub(super) fn has_no_stream(&self) -> bool {
        self.err_code == 10_059
    }

    /// The stream has no such message.
    pub(super) fn has_no_message(&self) -> bool {
        self.err_code == 10_037
    }

    /// The subject's newest message is not the expected one.
    pub(super) fn has_another_last(&self) -> bool {
        self.err_code == 10_071
    }

    /// A stream of this name exists with other settings.
    pub(super) fn has_another_stream(&self) -> bool {
        self.err_code == 10_058
    }

    /// JetStream is not enabled on the server, or for the account.
    fn is_disabled(&self) -> bool {
        matches!(self.err_code, 10_039 | 10_076)
    }
}

impl Fault {
    /// Returns whether the stream does not exist.
    pub(super) fn has_no_stream(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.has_no_stream())
    }

    /// Returns whether another connection may answer the request.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Cut)
    }

    /// Returns the log's error for a call that changes nothing.
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

    /// Returns the log's error for a call that may have changed something.
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
