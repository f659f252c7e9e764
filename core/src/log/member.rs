//! Members: nodes that others count on, as rows beside the log.
//!
//! Rows are no records: they outlive pruning. Joins, marks and removals are durable before their
//! call returns.

use std::{fmt, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{Cursor, LogError, LogFuture};

/// Names one membership: a node, the process that started it, and the row that it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberId {
    /// The node's name.
    pub node: Arc<str>,
    /// The process.
    pub start: StartId,
    /// The row: each join has one of its own.
    pub incarnation: Incarnation,
}

/// Names one start of one process; random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StartId(pub Uuid);

/// Counts the joins of one node name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

/// Counts the reports that others have asked a member for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Demand(pub u64);

/// What a node declares when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The node's name.
    pub node: Arc<str>,
    /// The process.
    pub start: StartId,
    /// The incarnation that it had; none at its first join.
    pub before: Option<Incarnation>,
    /// How long it serves without a proof; none if it has no bound.
    pub bound: Option<Duration>,
    /// Facts for others to compare; none from a program that declares nothing.
    pub facts: Option<MemberFacts>,
}

/// What a member declares about itself when it joins, so that others see what does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// The version of its program, without blanks.
    pub version: Arc<str>,
    /// How long it keeps the records of the log.
    pub retention: Duration,
    /// A digest of the schemas that it knows, without blanks.
    pub schemas: Arc<str>,
}

impl MemberFacts {
    /// Returns them as text for a column, with the start to which they belong.
    #[must_use]
    pub fn to_text(&self, start: StartId) -> String {
        let millis = self.retention.as_millis();
        format!("{} {} {millis} {}", start.0, self.version, self.schemas)
    }

    /// Reads them from a column. `None` if they have another form, or belong to another start: an
    /// older program that has joined under the same name leaves them.
    #[must_use]
    pub fn of_text(text: &str, start: StartId) -> Option<Self> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [of, version, millis, schemas] = parts.as_slice() else {
            return None;
        };

        let millis = millis.parse().ok()?;
        (of.parse() == Ok(start.0)).then(|| Self {
            version: (*version).into(),
            retention: Duration::from_millis(millis),
            schemas: (*schemas).into(),
        })
    }
}

/// How far a clock is ahead of another; negative where it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockOffset {
    /// In milliseconds.
    pub millis: i64,
}

/// What is known of a member's last report besides its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReport {
    /// How long ago it came.
    pub ago: Duration,
    /// How long it took, from the last demand before it.
    pub took: Option<Duration>,
    /// How far the member's clock was ahead of the database's; none where that is not compared.
    pub clock: Option<ClockOffset>,
}

/// Why a join was refused.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The row belongs to a later start with the same name.
    #[error(
        "node {node} was started again elsewhere: give each node a name of its own, or stop this one"
    )]
    Superseded {
        /// The name.
        node: Arc<str>,
    },
    /// The log did not answer. The row may have been written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A member as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberRow {
    /// Its name and incarnation.
    pub id: MemberId,
    /// How long it serves without a proof; none if it has no bound, and then never expires.
    pub bound: Option<Duration>,
    /// What it last reported as applied.
    pub reported: Option<Cursor>,
    /// The demand that its last report answered.
    pub answered: Demand,
    /// Whether another member has marked it as silent.
    pub marked: bool,
    /// What it declares about itself; none if its program declares nothing.
    pub facts: Option<MemberFacts>,
    /// What is known of its last report; none before the first, or if its program does not say.
    pub last: Option<LastReport>,
}

/// What a member finds in its own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberSight {
    /// The question was not asked as a member.
    NotAsked,
    /// The row is there and unmarked.
    Counted,
    /// Others have given it up or are about to: join again.
    Marked,
    /// The row is gone: join again.
    Missing,
    /// The row is another start's: stop serving from the cache, and do not join again.
    Superseded,
}

impl MemberSight {
    /// Returns whether others count on this member's reports.
    #[must_use]
    pub fn counts(self) -> bool {
        match self {
            Self::NotAsked | Self::Counted => true,
            Self::Marked | Self::Missing | Self::Superseded => false,
        }
    }
}

/// The members' table beside a log.
pub trait Members: fmt::Debug + Send + Sync + 'static {
    /// Writes a row of a new incarnation, unmarked and without a report; it takes the place of the
    /// node's earlier row.
    ///
    /// # Errors
    ///
    /// See [`JoinError`].
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>>;

    /// Deletes a member's own row.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>>;

    /// Lists the rows. Every member whose join had returned before the call is among them.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>>;

    /// Reads a member's own row, over another connection than the tail's if the engine has several.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>>;

    /// Asks every member for a report that comes after this call. Returns the demand that a report
    /// must answer, for each.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>>;

    /// Writes what a member has applied, and the demand that it saw before. It need not be durable.
    /// Does nothing if the row is another incarnation's.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn report<'a>(
        &'a self,
        member: &'a MemberId,
        applied: &'a Cursor,
        answers: Demand,
    ) -> LogFuture<'a, Result<(), LogError>>;

    /// Marks a member as silent. Returns whether a row of this incarnation is marked now.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>>;

    /// Deletes a member's row if it is of this incarnation and still marked. Returns whether no
    /// such row is left.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_another_start_are_not_believed() {
        let (start, other) = (StartId(Uuid::from_u128(1)), StartId(Uuid::from_u128(2)));
        let facts = MemberFacts {
            version: "0.1.0".into(),
            retention: Duration::from_secs(3_600),
            schemas: "0123abcd".into(),
        };
        let text = facts.to_text(start);
        assert_eq!(MemberFacts::of_text(&text, start), Some(facts));
        assert_eq!(MemberFacts::of_text(&text, other), None);
        for wrong in ["", "a b c d", "0.1.0 1 x", "more than four words of text"] {
            assert_eq!(MemberFacts::of_text(wrong, start), None, "{wrong:?}");
        }
    }
}
