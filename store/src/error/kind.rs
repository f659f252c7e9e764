//! [`ErrorKind`]: what a caller can do about an error, and its HTTP status.

use super::Error;

/// What a caller can do about an [`Error`]; see [`Error::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong: correct it.
    Invalid,
    /// A row is in the way, or the rows are not as the call needs them: read them, and decide.
    Conflict,
    /// The row is not as it was when it was read: read it again.
    Changed,
    /// A hook or a closure of the application refused.
    Refused,
    /// The database cannot do it now: try again later, once the cause is fixed.
    Unavailable,
    /// The outcome is unknown: read the row before trying again.
    InDoubt,
    /// Stored data does not fit the program: an operator has to check it.
    Damaged,
    /// The program uses the store wrongly, or was set up wrongly.
    Misuse,
    /// Code of the application panicked.
    Panicked,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::Conflict,
        Self::Changed,
        Self::Refused,
        Self::Unavailable,
        Self::InDoubt,
        Self::Damaged,
        Self::Misuse,
        Self::Panicked,
    ];

    /// Returns the HTTP status of a response that reports the error: 400, 409, 412, 500 or 503.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid | Self::Refused => 400,
            Self::Conflict => 409,
            Self::Changed => 412,
            Self::Unavailable | Self::InDoubt => 503,
            Self::Damaged | Self::Misuse | Self::Panicked => 500,
        }
    }

    /// Returns whether the message may be shown to the caller that sent the request. Other messages
    /// contain paths and texts of the database, and belong in a log.
    #[must_use]
    pub fn is_public(self) -> bool {
        match self {
            Self::Invalid | Self::Conflict | Self::Changed => true,
            Self::Refused
            | Self::Unavailable
            | Self::InDoubt
            | Self::Damaged
            | Self::Misuse
            | Self::Panicked => false,
        }
    }
}

impl Error {
    /// Returns the kind of the error: what a caller can do about it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::{Error, ErrorKind};
    ///
    /// let error = Error::Closed;
    /// assert_eq!(error.kind(), ErrorKind::Unavailable);
    /// assert_eq!(error.kind().status(), 503);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Violations { .. }
            | Self::ForeignKey { .. }
            | Self::InvalidOffset
            | Self::InvalidSize { .. }
            | Self::UnknownField { .. }
            | Self::NotUnique { .. }
            | Self::WrongKind { .. }
            | Self::KeyParts { .. }
            | Self::PrimaryKeyParts { .. } => ErrorKind::Invalid,
            Self::Unique { .. } | Self::Restricted { .. } | Self::Condition { .. } => {
                ErrorKind::Conflict
            }
            Self::Changed { .. } => ErrorKind::Changed,
            Self::Hook { .. } | Self::Refused { .. } | Self::Step { .. } => ErrorKind::Refused,
            Self::Panicked { .. } => ErrorKind::Panicked,
            Self::Url { .. }
            | Self::Setting { .. }
            | Self::Unsupported { .. }
            | Self::NotADatabase { .. }
            | Self::Schemas(_)
            | Self::Incompatible { .. }
            | Self::Unmendable { .. }
            | Self::WouldLose { .. }
            | Self::NodeRuns { .. }
            | Self::Statement { .. }
            | Self::NoTables { .. }
            | Self::AlreadyAttached
            | Self::UnknownEntity { .. }
            | Self::Recorded { .. }
            | Self::Unversioned { .. }
            | Self::OtherSchema { .. }
            | Self::TransactionEnded { .. } => ErrorKind::Misuse,
            Self::Commit(_) | Self::Interrupted => ErrorKind::InDoubt,
            Self::InUse { .. }
            | Self::DatabaseInUse { .. }
            | Self::Unfit { .. }
            | Self::Open { .. }
            | Self::NotAttached
            | Self::Unreachable(_)
            | Self::ReadOnly(_)
            | Self::Full(_)
            | Self::Busy(_)
            | Self::TooLong { .. }
            | Self::FileGone { .. }
            | Self::Corrupt(_)
            | Self::Database(_)
            | Self::Closed => ErrorKind::Unavailable,
            Self::Row(_) => ErrorKind::Damaged,
        }
    }

    /// Returns whether others held a lock of PostgreSQL for longer than a statement waits: a
    /// statement of the store, or of a step of a migration.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        match self {
            Self::Busy(error) => error.code() == Some("55P03"),
            Self::Step { source, .. } => {
                let source = source.downcast_ref::<Self>();
                source.is_some_and(Self::is_lock_timeout)
            }
            _ => false,
        }
    }
}
