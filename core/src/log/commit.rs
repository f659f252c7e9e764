//! [`CommitName`]: the name of a commit whose epoch is not known yet.

use uuid::Uuid;

use super::{Epoch, Resume};

/// The name of a transaction in the database's log, and where a reader continues that knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitName {
    /// PostgreSQL's transaction id; the number of a counted log's last record.
    pub number: u64,
    /// The id of that record; none where a number is never handed out twice in an epoch.
    pub id: Option<Uuid>,
    /// The epoch that the number is of.
    pub begun: Begun,
    /// Where a reader continues, in the epoch of the commit; none if nothing was written.
    pub resume: Option<Resume>,
}

/// In which epoch of the database's log a transaction was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The session does not say.
    Unknown,
    /// In the one with this id.
    In(Uuid),
    /// After one had ended, and before the next.
    Between,
}

impl CommitName {
    /// Names a commit of a log that counts its records, by its last record: a reader continues
    /// after it.
    #[must_use]
    pub fn numbered(number: u64, id: Uuid) -> Self {
        let resume = Resume::Numbered { last: number, id };
        Self {
            number,
            id: Some(id),
            begun: Begun::Unknown,
            resume: Some(resume),
        }
    }

    /// Returns whether it may belong to an epoch. A server that has recovered from a crash hands
    /// out numbers again, and a sink that has not noticed the crash takes them for numbers of the
    /// last epoch.
    #[must_use]
    pub fn may_be_of(&self, epoch: Epoch) -> bool {
        match self.begun {
            Begun::Unknown => true,
            Begun::In(id) => id == epoch.id,
            Begun::Between => false,
        }
    }
}
