//! [`PgMembers`]: the members of a cluster, as rows beside the log.
//!
//! A member holds an advisory lock for as long as its connection lives. Members share the lock, and
//! a process that runs [`alone`](Alone::take) takes it exclusively. So a node without a cluster is
//! refused while members live, and members are refused while it lives, regardless of rows that dead
//! processes have left.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, PgConnection, Row as _, postgres::PgConnectOptions, postgres::PgRow,
};
use tidings_core::{
    clock::Clock,
    log::{
        Cursor, Demand, Incarnation, Join, JoinError, LastReport, LogError, LogFuture, MemberFacts,
        MemberId, MemberRow, MemberSight, Members, StartId,
    },
};
use tokio::sync::Mutex;

use super::{
    epoch::refuse_standby,
    error::PgLogError,
    link::in_time,
    names::literal,
    settings::PgLogSettings,
    tables::{NODE_LOCK, version},
    values::number,
};
use crate::logs::members::{last_report, sight_of};

/// The members' table of a database, over a connection of its own.
pub struct PgMembers {
    options: PgConnectOptions,
    clock: Arc<dyn Clock>,
    /// `None` while a call uses it: a call that is dropped drops the connection with it.
    link: Mutex<Option<PgConnection>>,
}

impl PgMembers {
    /// Makes the table of a log's database. It connects at the first call.
    #[must_use]
    pub fn new(settings: &PgLogSettings) -> Self {
        Self {
            options: settings.options.clone(),
            clock: Arc::clone(&settings.clock),
            link: Mutex::new(None),
        }
    }

    async fn connect(&self) -> Result<PgConnection, PgLogError> {
        let mut connection = self.options.connect().await?;
        refuse_standby(&mut connection).await?;
        if version(&mut connection).await?.is_none() {
            return Err(PgLogError::NotInstalled);
        }
        if !lock(&mut connection, "pg_try_advisory_lock_shared").await? {
            return Err(PgLogError::Refused {
                reason: "a node without a cluster uses this database: stop it, or run it with a cluster too".to_owned(),
            });
        }

        Ok(connection)
    }

    /// Runs a call over the connection, which is kept only if the call succeeds.
    async fn with_link<T>(
        &self,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, PgLogError>,
    ) -> Result<T, LogError> {
        let mut slot = self.link.lock().await;
        in_time(&self.clock, async {
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = call(&mut connection).await?;
            *slot = Some(connection);
            Ok(answer)
        })
        .await
    }
}

async fn lock(connection: &mut PgConnection, how: &str) -> Result<bool, PgLogError> {
    let sql = format!("select pg_catalog.{how}({NODE_LOCK})");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// The exclusive lock of a process that uses a database without a cluster. When it is dropped,
/// members can use the database again.
pub struct Alone {
    _connection: PgConnection,
}

impl Alone {
    /// Takes the database for one node alone.
    ///
    /// # Errors
    ///
    /// A member lives, or another node has taken the database alone.
    pub async fn take(settings: &PgLogSettings) -> Result<Self, PgLogError> {
        let mut connection = settings.options.connect().await?;
        if !lock(&mut connection, "pg_try_advisory_lock").await? {
            return Err(PgLogError::Refused {
                reason:
                    "other nodes use this database: run this one with a cluster too, or stop them"
                        .to_owned(),
            });
        }

        Ok(Self {
            _connection: connection,
        })
    }
}

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alone").finish_non_exhaustive()
    }
}

impl fmt::Debug for PgMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgMembers").finish_non_exhaustive()
    }
}

/// Returns the subquery with which a cursor statement selects a member's own row; it is null if
/// there is none.
pub(super) fn own_row(node: &str) -> String {
    format!(
        "(select concat_ws(' ', start, incarnation, marked, demand) from tidings.members where node = {})",
        literal(node)
    )
}

/// Returns the error for a member's row that cannot be read.
pub(super) fn own_row_is_malformed() -> PgLogError {
    PgLogError::malformed("a member's row has another form")
}

/// The beginning of a statement whose commit must be durable, or need not be, regardless of the
/// session's settings.
const SURE: &str = "with sync as (select set_config('synchronous_commit', 'on', true))";
const QUICK: &str = "with sync as (select set_config('synchronous_commit', 'off', true))";
/// The database's time, in milliseconds.
const NOW: &str = "(extract(epoch from clock_timestamp()) * 1000)::bigint";

fn id_of(row: &PgRow) -> Result<MemberId, PgLogError> {
    let incarnation: i64 = row.try_get("incarnation")?;
    Ok(MemberId {
        node: row.try_get::<String, _>("node")?.into(),
        start: StartId(row.try_get("start")?),
        incarnation: Incarnation(incarnation.unsigned_abs()),
    })
}

fn demand_of(row: &PgRow, column: &str) -> Result<Demand, PgLogError> {
    let demand: i64 = row.try_get(column)?;
    Ok(Demand(demand.unsigned_abs()))
}

fn member_of(row: &PgRow) -> Result<MemberRow, PgLogError> {
    let bound: Option<i64> = row.try_get("bound_ms")?;
    let reported: Option<String> = row.try_get("reported")?;
    let id = id_of(row)?;
    let facts: Option<String> = row.try_get("facts")?;
    let facts = facts.and_then(|facts| MemberFacts::of_text(&facts, id.start));

    // An older program does not overwrite what a newer one has stored about its reports.
    let last = facts.as_ref().map(|_| last_of(row)).transpose()?.flatten();
    Ok(MemberRow {
        id,
        bound: bound.map(|bound| Duration::from_millis(bound.unsigned_abs())),
        // A report in the form of another version is ignored: the member counts as silent.
        reported: reported.and_then(|cursor| cursor.parse().ok()),
        answered: demand_of(row, "answered")?,
        marked: row.try_get("marked")?,
        facts,
        last,
    })
}

fn last_of(row: &PgRow) -> Result<Option<LastReport>, PgLogError> {
    let ago: Option<i64> = row.try_get("ago")?;
    let took: Option<i64> = row.try_get("report_took")?;
    let ahead: Option<i64> = row.try_get("clock_ahead")?;
    Ok(last_report(ago, took, ahead))
}

impl Members for PgMembers {
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>> {
        Box::pin(async move {
            // A row of a later start stays unchanged, unless this is the first join of a start.
            let sql = format!(
                "{SURE} insert into tidings.members as m (node, start, bound_ms, facts) select $1, $2, $3, $5 from sync \
                 on conflict (node) do update set start = excluded.start, incarnation = default, \
                 bound_ms = excluded.bound_ms, reported = null, answered = 0, demand = 0, marked = false, \
                 facts = excluded.facts, asked_at = null, reported_at = null, report_took = null, clock_ahead = null \
                 where m.start = excluded.start or $4::bigint is null or m.incarnation <= $4 \
                 returning node, start, incarnation"
            );
            let bound = join
                .bound
                .map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX));
            let facts = join.facts.map(|facts| facts.to_text(join.start));
            let joined = self
                .with_link(async |connection| {
                    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                        .bind(&*join.node)
                        .bind(join.start.0)
                        .bind(bound)
                        .bind(join.before.map(|before| number(before.0)))
                        .bind(facts)
                        .fetch_optional(connection)
                        .await?;
                    row.as_ref().map(id_of).transpose()
                })
                .await?;
            joined.ok_or(JoinError::Superseded { node: join.node })
        })
    }

    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let sql = format!(
                "{SURE} delete from tidings.members m using sync where node = $1 and incarnation = $2"
            );
            self.change(sql, member).await.map(drop)
        })
    }

    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>> {
        Box::pin(self.with_link(async |connection| {
            let sql = format!(
                "select node, start, incarnation, bound_ms, reported, answered, marked, facts, \
                 {NOW} - reported_at as ago, report_took, clock_ahead from tidings.members order by node"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(connection)
            .await?;
            rows.iter().map(member_of).collect()
        }))
    }

    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>> {
        Box::pin(self.with_link(async move |connection| {
            let sql = format!("select {}", own_row(&member.node));
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .fetch_one(connection)
                .await?;
            let text: Option<String> = row.try_get(0)?;
            let sight = sight_of(text.as_deref(), member);
            let (sight, _) = sight.ok_or_else(own_row_is_malformed)?;
            Ok(sight)
        }))
    }

    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>> {
        Box::pin(self.with_link(async |connection| {
            // In the order of the names, so that two concurrent demands cannot deadlock.
            let sql = format!(
                "with asked as (select node from tidings.members order by node for update) \
                 update tidings.members m set demand = m.demand + 1, asked_at = {NOW} \
                 from asked where asked.node = m.node returning m.node, m.start, m.incarnation, m.demand"
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
        Box::pin(self.with_link(async move |connection| {
            let sql = format!(
                "{QUICK}, now as (select {NOW} as now) update tidings.members set reported = $3, answered = $4, \
                 reported_at = now, report_took = now - asked_at, clock_ahead = $5 - now from sync, now \
                 where node = $1 and incarnation = $2"
            );
            let clock = self.clock.wall_micros().as_micros() / 1_000;
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(&*member.node)
                .bind(number(member.incarnation.0))
                .bind(applied.to_string())
                .bind(number(answers.0))
                .bind(clock)
                .execute(connection)
                .await?;

            Ok(())
        }))
    }

    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        Box::pin(async move {
            let sql = format!(
                "{SURE} update tidings.members set marked = true from sync where node = $1 and incarnation = $2"
            );
            Ok(self.change(sql, member).await? > 0)
        })
    }

    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        Box::pin(async move {
            let sql = format!(
                "{SURE} delete from tidings.members m using sync where node = $1 and incarnation = $2 and marked"
            );
            if self.change(sql, member).await? > 0 {
                return Ok(true);
            }
            let rows = self.list().await?;
            Ok(rows.iter().all(|row| row.id != *member))
        })
    }
}

impl PgMembers {
    /// Changes the row of one incarnation. Returns the number of changed rows.
    async fn change(&self, sql: String, member: &MemberId) -> Result<u64, LogError> {
        self.with_link(async move |connection| {
            let done = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(&*member.node)
                .bind(number(member.incarnation.0))
                .execute(connection)
                .await?;
            Ok(done.rows_affected())
        })
        .await
    }
}
