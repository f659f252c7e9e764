//! [`StreamMembers`]: the members of a cluster, as values beside the stream.
//!
//! They are values and not records, so that they survive trimming, and so that a read of the log
//! can return a node's own row as one value. A row is changed by compare-and-set; a report is
//! written beside its row, so that reports and marks do not conflict; a demand is one number for
//! all members.
//!
//! | value | what it holds |
//! |---|---|
//! | `member.` and the node's name in hexadecimal digits | the row, as JSON |
//! | `report.` and the same | what the member has reported, as JSON |
//! | `demand` | how many reports were asked for so far |
//! | `incarnations` | how many joins there were so far |
//! | `key` | which cluster's key the members were given, without telling it |
//!
//! Two keys are two clusters: a node with another key, or with none where there is one, is refused
//! at its join.

// Rows and reports as text. Must not know where they are kept.
mod row;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidings_core::{
    clock::Clock,
    log::{
        Cursor, Demand, Join, JoinError, LogError, LogFuture, MemberId, MemberRow, MemberSight,
        Members,
    },
};

pub(crate) use self::row::{DEMAND, row_of, sight};
use self::row::{REPORT, ROW, Report, Row, VERSION, count_of, report_of, seen};
use crate::{
    engine::{Engine, Expected, Held, Written},
    secret::Check,
    wire::text::hex,
};

/// How often a change is retried if another one came first.
const ATTEMPTS: usize = 64;

const INCARNATIONS: &str = "incarnations";
const KEY: &str = "key";

/// The members' values beside a stream.
pub struct StreamMembers {
    engine: Arc<dyn Engine>,
    /// Identifies the cluster's key of the node, if it has one.
    key: Option<Check>,
    clock: Arc<dyn Clock>,
    /// Whether it was already logged that the node cannot join.
    told: AtomicBool,
}

impl StreamMembers {
    pub(crate) fn new(engine: Arc<dyn Engine>, key: Option<Check>, clock: Arc<dyn Clock>) -> Self {
        Self {
            engine,
            key,
            clock,
            told: AtomicBool::new(false),
        }
    }

    /// Refuses a node with another key than the members', and stores the key of the first member.
    async fn check_key(&self) -> Result<(), LogError> {
        for _ in 0..ATTEMPTS {
            let own = self.key.map(|check| hex(&check.0));
            let held = self.engine.value(KEY).await?;
            match (own, held) {
                (None, None) => return Ok(()),
                (Some(own), Some(held)) if held.value == own => return Ok(()),
                (Some(own), None) => {
                    let written = self.engine.replace(KEY, Expected::Absent, Some(&own));
                    match written.await? {
                        Written::Yes => return Ok(()),
                        Written::No => {}
                    }
                }
                (Some(_) | None, Some(_)) => return Err(self.foreign_key()),
            }
        }

        Err(contended())
    }

    /// Logs a fault once, because a node keeps trying to join.
    fn foreign_key(&self) -> LogError {
        let reason = "the cluster's key is not the one that the other nodes were given: give all \
                      the same, or this cluster another name"
            .to_owned();
        if !self.told.swap(true, Ordering::SeqCst) {
            tracing::error!("this node cannot join: {reason}");
        }
        LogError::Unfit { reason }
    }

    /// Increments a count, to more than a given number, and returns the new count.
    async fn count_up(&self, name: &str, beyond: u64) -> Result<u64, LogError> {
        for _ in 0..ATTEMPTS {
            let held = self.engine.value(name).await?;
            let count = match &held {
                Some(held) => count_of(&held.value)?,
                None => 0,
            };
            let next = count.max(beyond).saturating_add(1);
            let text = next.to_string();

            match self
                .engine
                .replace(name, expected(&held), Some(&text))
                .await?
            {
                Written::Yes => return Ok(next),
                Written::No => {}
            }
        }

        Err(contended())
    }

    /// Changes or removes the row of one incarnation. Returns the row as it was; `None` if there is
    /// no such row.
    async fn change(
        &self,
        member: &MemberId,
        change: impl Fn(&Row) -> Change,
    ) -> Result<Option<Row>, LogError> {
        let name = row_of(&member.node);
        for _ in 0..ATTEMPTS {
            let Some(held) = self.engine.value(&name).await? else {
                return Ok(None);
            };
            let row = Row::read(&held.value)?;
            if !row.is_of(member) {
                return Ok(None);
            }

            let next = match change(&row) {
                Change::None => return Ok(Some(row)),
                Change::Remove => None,
                Change::To(row) => Some(row.text()),
            };
            let expected = Expected::Revision(held.revision);

            match self
                .engine
                .replace(&name, expected, next.as_deref())
                .await?
            {
                Written::Yes => return Ok(Some(row)),
                Written::No => {}
            }
        }

        Err(contended())
    }

    async fn rows(&self) -> Result<Vec<MemberRow>, LogError> {
        let values = self.engine.values().await?;
        let mut reports: BTreeMap<&str, Report> = BTreeMap::new();
        for (name, held) in &values {
            if let Some(node) = name.strip_prefix(REPORT)
                && let Ok(report) = serde_json::from_str(&held.value)
            {
                reports.insert(node, report);
            }
        }

        let now = self.clock.wall_micros();
        let mut rows = Vec::new();
        for (name, held) in &values {
            if let Some(node) = name.strip_prefix(ROW) {
                rows.push(Row::read(&held.value)?.member(reports.get(node), now));
            }
        }

        rows.sort_by(|one, other| one.id.node.cmp(&other.id.node));
        Ok(rows)
    }

    async fn join_as(&self, join: Join) -> Result<MemberId, JoinError> {
        self.check_key().await?;
        let name = row_of(&join.node);

        // A number that is never assigned twice, regardless of deleted rows; nor to the same start
        // if the count is lost.
        let before = join.before.map_or(0, |before| before.0);
        let incarnation = self.count_up(INCARNATIONS, before).await?;
        let row = Row {
            v: VERSION,
            node: join.node.to_string(),
            start: join.start.0,
            incarnation,
            bound_ms: join
                .bound
                .map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            marked: false,
            facts: join.facts.map(|facts| facts.to_text(join.start)),
        };

        for _ in 0..ATTEMPTS {
            // Every row must be readable: this program could not wait for a member whose row it
            // cannot read.
            self.rows().await?;

            let held = self.engine.value(&name).await?;
            if let Some(held) = &held {
                let there = Row::read(&held.value)?;
                let is_later = join
                    .before
                    .is_some_and(|before| there.incarnation > before.0);
                if there.start != join.start.0 && is_later {
                    return Err(JoinError::Superseded { node: join.node });
                }
            }

            let text = row.text();
            let written = self.engine.replace(&name, expected(&held), Some(&text));
            match written.await? {
                Written::Yes => return Ok(row.id()),
                Written::No => {}
            }
        }

        Err(contended().into())
    }

    async fn report_as(
        &self,
        member: &MemberId,
        applied: &Cursor,
        answers: Demand,
    ) -> Result<(), LogError> {
        // A member that was removed leaves nothing behind.
        let held = self.engine.value(&row_of(&member.node)).await?;
        let Some(held) = held else { return Ok(()) };
        if !Row::read(&held.value)?.is_of(member) {
            return Ok(());
        }

        let report = Report {
            v: VERSION,
            incarnation: member.incarnation.0,
            answers: answers.0,
            applied: applied.to_string(),
            at_us: Some(self.clock.wall_micros().as_micros()),
        };
        let text = serde_json::to_string(&report).expect("strings and numbers");
        let name = report_of(&member.node);
        let written = self.engine.replace(&name, Expected::Any, Some(&text));
        written.await.map(drop)
    }

    /// Removes a member's row, and then its report. Returns whether no such row is left.
    async fn remove(
        &self,
        member: &MemberId,
        change: impl Fn(&Row) -> Change,
    ) -> Result<bool, LogError> {
        let removed = self.change(member, &change).await?;
        let gone = match removed {
            None => return Ok(true),
            Some(row) => matches!(change(&row), Change::Remove),
        };
        if gone {
            let report = report_of(&member.node);
            self.engine.replace(&report, Expected::Any, None).await?;
        }

        Ok(gone)
    }
}

/// The change of a row.
enum Change {
    None,
    Remove,
    To(Row),
}

fn expected(held: &Option<Held>) -> Expected {
    match held {
        Some(held) => Expected::Revision(held.revision),
        None => Expected::Absent,
    }
}

fn contended() -> LogError {
    LogError::Unreachable("too many nodes change the same value beside the stream".into())
}

impl Members for StreamMembers {
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>> {
        Box::pin(self.join_as(join))
    }

    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>> {
        Box::pin(async move { self.remove(member, |_| Change::Remove).await.map(drop) })
    }

    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>> {
        Box::pin(self.rows())
    }

    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>> {
        Box::pin(async move {
            let held = self.engine.value(&row_of(&member.node)).await?;
            seen(held.as_ref().map(|held| &*held.value), member)
        })
    }

    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>> {
        Box::pin(async move {
            let demand = Demand(self.count_up(DEMAND, 0).await?);
            // After the demand, so that a member that joins in between sees it with its first read.
            let rows = self.rows().await?;
            Ok(rows.into_iter().map(|row| (row.id, demand)).collect())
        })
    }

    fn report<'a>(
        &'a self,
        member: &'a MemberId,
        applied: &'a Cursor,
        answers: Demand,
    ) -> LogFuture<'a, Result<(), LogError>> {
        Box::pin(self.report_as(member, applied, answers))
    }

    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        Box::pin(async move {
            let mark = |row: &Row| match row.marked {
                true => Change::None,
                false => Change::To(Row {
                    marked: true,
                    ..row.clone()
                }),
            };
            Ok(self.change(member, mark).await?.is_some())
        })
    }

    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        Box::pin(self.remove(member, |row| match row.marked {
            true => Change::Remove,
            false => Change::None,
        }))
    }
}

impl fmt::Debug for StreamMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMembers")
            .field("engine", &self.engine)
            .finish()
    }
}
