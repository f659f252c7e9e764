//! [`SqliteMembers`]: the members of a cluster, as rows beside the log.
//!
//! A member holds `NAME.lock` for as long as its store is open. Members share the lock, and a store
//! that does not share the file takes it exclusively. So a member and a store that is alone never
//! use the file at the same time, regardless of rows that dead processes have left.

use std::{fmt, time::Duration};

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use tidings_core::log::{
    Cursor, Demand, Incarnation, Join, JoinError, LastReport, LogError, LogFuture, MemberFacts,
    MemberId, MemberRow, MemberSight, Members, StartId,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    engine::own_row_is_malformed, error::SqliteLogError, nudge::Nudge, settings::Settings,
};
use crate::{
    logs::{
        limit::in_time,
        members::{last_report, sight_of},
    },
    sqlite::location::Identity,
};

/// The members' table of a database file.
pub(crate) struct SqliteMembers {
    settings: Settings,
    /// The connection that reads. `None` while a call uses it: a call that is dropped drops the
    /// connection with it.
    reader: Mutex<Option<SqliteConnection>>,
    nudge: Nudge,
}

impl SqliteMembers {
    pub(crate) fn new(settings: Settings) -> Self {
        let nudge = Nudge::beside(&settings.location, &settings.clock);
        Self {
            settings,
            reader: Mutex::new(None),
            nudge,
        }
    }

    /// Runs a call that reads.
    async fn read<T>(
        &self,
        call: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, SqliteLogError>,
    ) -> Result<T, LogError> {
        let mut slot = self.reader.lock().await;
        in_time(&self.settings.clock, async {
            self.check_file()?;
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => self.settings.location.connect_reader().await?,
            };
            let answer = call(&mut connection).await?;
            *slot = Some(connection);
            Ok::<T, SqliteLogError>(answer)
        })
        .await
    }

    /// Runs a call that writes, in a transaction, and wakes the other stores.
    async fn write<T>(
        &self,
        call: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, SqliteLogError>,
    ) -> Result<T, LogError> {
        self.check_file()?;
        let written = self.settings.writer.write(call).await?;
        self.nudge.give();
        Ok(written)
    }

    /// Changes the row of one incarnation. Returns the number of changed rows.
    async fn change(&self, sql: &'static str, member: &MemberId) -> Result<u64, LogError> {
        let (node, incarnation) = key_of(member);
        self.write(async |connection| {
            let done = sqlx::query(sql).bind(node).bind(incarnation);
            Ok(done.execute(connection).await?.rows_affected())
        })
        .await
    }

    fn check_file(&self) -> Result<(), SqliteLogError> {
        let checked = self
            .settings
            .identity
            .as_ref()
            .map_or(Ok(()), Identity::check);
        Ok(checked?)
    }
}

/// The host's time, in milliseconds, which all members of a file share.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

fn key_of(member: &MemberId) -> (String, i64) {
    (member.node.to_string(), member.incarnation.0.cast_signed())
}

fn id_of(row: &SqliteRow) -> Result<MemberId, SqliteLogError> {
    let start: String = row.try_get("start")?;
    let start: Uuid = start.parse().map_err(|_| own_row_is_malformed())?;
    let incarnation: i64 = row.try_get("incarnation")?;
    Ok(MemberId {
        node: row.try_get::<String, _>("node")?.into(),
        start: StartId(start),
        incarnation: Incarnation(incarnation.cast_unsigned()),
    })
}

fn demand_of(row: &SqliteRow, column: &str) -> Result<Demand, SqliteLogError> {
    let demand: i64 = row.try_get(column)?;
    Ok(Demand(demand.cast_unsigned()))
}

fn member_of(row: &SqliteRow) -> Result<MemberRow, SqliteLogError> {
    let bound: Option<i64> = row.try_get("bound_ms")?;
    let reported: Option<String> = row.try_get("reported")?;
    let id = id_of(row)?;
    let facts: Option<String> = row.try_get("facts")?;
    let facts = facts.and_then(|facts| MemberFacts::of_text(&facts, id.start));

    // An older program does not overwrite what a newer one has stored about its reports.
    let last = facts.as_ref().map(|_| last_of(row)).transpose()?.flatten();
    Ok(MemberRow {
        id,
        bound: bound.map(|bound| Duration::from_millis(bound.cast_unsigned())),
        // A report in the form of another version is ignored: the member counts as silent.
        reported: reported.and_then(|cursor| cursor.parse().ok()),
        answered: demand_of(row, "answered")?,
        marked: row.try_get("marked")?,
        facts,
        last,
    })
}

fn last_of(row: &SqliteRow) -> Result<Option<LastReport>, SqliteLogError> {
    let ago: Option<i64> = row.try_get("ago")?;
    let took: Option<i64> = row.try_get("report_took")?;
    let ahead: Option<i64> = row.try_get("clock_ahead")?;
    Ok(last_report(ago, took, ahead))
}

impl Members for SqliteMembers {
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>> {
        Box::pin(async move {
            let bound = join.bound;
            let facts = join.facts.map(|facts| facts.to_text(join.start));
            let bound = bound.map(|it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
            let joined = self.write(async |connection| {
                // These numbers are never assigned twice, regardless of deleted rows.
                let next = sqlx::query("INSERT INTO tidings_incarnations DEFAULT VALUES");
                let next = next.execute(&mut *connection).await?.last_insert_rowid();
                sqlx::query("DELETE FROM tidings_incarnations WHERE id < ?")
                    .bind(next)
                    .execute(&mut *connection)
                    .await?;

                // A row of a later start stays unchanged, unless this is the first join of a start.
                let row = sqlx::query(
                    "INSERT INTO tidings_members (node, start, incarnation, bound_ms, facts) VALUES (?1, ?2, ?3, ?4, ?6) \
                     ON CONFLICT (node) DO UPDATE SET start = excluded.start, incarnation = excluded.incarnation, \
                       bound_ms = excluded.bound_ms, reported = NULL, answered = 0, demand = 0, marked = 0, \
                       facts = excluded.facts, asked_at = NULL, reported_at = NULL, report_took = NULL, clock_ahead = NULL \
                     WHERE start = excluded.start OR ?5 IS NULL OR incarnation <= ?5 \
                     RETURNING node, start, incarnation",
                )
                .bind(join.node.to_string())
                .bind(join.start.0.to_string())
                .bind(next)
                .bind(bound)
                .bind(join.before.map(|before| before.0.cast_signed()))
                .bind(facts)
                .fetch_optional(connection)
                .await?;
                row.as_ref().map(id_of).transpose()
            });
            joined
                .await?
                .ok_or(JoinError::Superseded { node: join.node })
        })
    }

    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let sql = "DELETE FROM tidings_members WHERE node = ? AND incarnation = ?";
            self.change(sql, member).await.map(drop)
        })
    }

    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>> {
        Box::pin(self.read(async |connection| {
            let sql = format!(
                "SELECT node, start, incarnation, bound_ms, reported, answered, demand, marked, facts, \
                 {NOW} - reported_at AS ago, report_took, clock_ahead FROM tidings_members ORDER BY node"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(connection)
            .await?;
            rows.iter().map(member_of).collect()
        }))
    }

    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>> {
        Box::pin(self.read(async move |connection| {
            let row = sqlx::query(
                "SELECT start || ' ' || incarnation || ' ' || marked || ' ' || demand \
                 FROM tidings_members WHERE node = ?",
            )
            .bind(member.node.to_string())
            .fetch_optional(connection)
            .await?;
            let text: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
            let sight = sight_of(text.as_deref(), member);
            let (sight, _) = sight.ok_or_else(own_row_is_malformed)?;
            Ok(sight)
        }))
    }

    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>> {
        Box::pin(self.write(async |connection| {
            let sql = format!(
                "UPDATE tidings_members SET demand = demand + 1, asked_at = {NOW} \
                 RETURNING node, start, incarnation, demand"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
                .fetch_all(connection)
                .await?;
            let demands = rows
                .iter()
                .map(|row| Ok((id_of(row)?, demand_of(row, "demand")?)));
            demands.collect()
        }))
    }

    fn report<'a>(
        &'a self,
        member: &'a MemberId,
        applied: &'a Cursor,
        answers: Demand,
    ) -> LogFuture<'a, Result<(), LogError>> {
        let (node, incarnation) = key_of(member);
        let clock = self.settings.clock.wall_micros().as_micros() / 1_000;
        Box::pin(self.write(async move |connection| {
            let sql = format!(
                "UPDATE tidings_members SET reported = ?1, answered = ?2, reported_at = {NOW}, \
                 report_took = {NOW} - asked_at, clock_ahead = ?3 - {NOW} WHERE node = ?4 AND incarnation = ?5"
            );
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(applied.to_string())
                .bind(answers.0.cast_signed())
                .bind(clock)
                .bind(node)
                .bind(incarnation)
                .execute(connection)
                .await?;

            Ok(())
        }))
    }

    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        Box::pin(async move {
            let sql = "UPDATE tidings_members SET marked = 1 WHERE node = ? AND incarnation = ?";
            Ok(self.change(sql, member).await? > 0)
        })
    }

    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        Box::pin(async move {
            let sql = "DELETE FROM tidings_members WHERE node = ? AND incarnation = ? AND marked";
            if self.change(sql, member).await? > 0 {
                return Ok(true);
            }
            let rows = self.list().await?;
            Ok(rows.iter().all(|row| row.id != *member))
        })
    }
}

impl fmt::Debug for SqliteMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteMembers").finish_non_exhaustive()
    }
}
