//! [`SqliteLog`]: the log as nodes read it.

use std::{
    fmt,
    sync::{
        Arc, Mutex as StdMutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, Row as _};
use tidings_core::{
    CacheKey, PrimaryKey, Value,
    log::{
        Appended, Batch, Capture, CommitName, Cursor, Digest, Epoch, Extent, Gap, GapReason, Group,
        Head, KeptLog, Log, LogError, LogFuture, Mark, MemberId, Place, Position, Read, Record,
        Step, Wake, WakeUps,
    },
};
use tokio::sync::Mutex;

use super::{
    commits::Commits,
    epoch::Reason,
    error::SqliteLogError,
    link::{Last, Link},
    newest_seen::{Discontinuity, NewestSeen, after, newest_of},
    nudge::Nudge,
    prune::prune,
    read::{self, begin, data_version, end},
    record::{Stored, id_of},
    settings::Settings,
};
use crate::{
    faults::continuity_is_checked,
    logs::{
        capture::CaptureStates,
        evictions::stored_entry,
        limit::in_time,
        members::OwnRow,
        tracker::{CaptureTracker, capture},
    },
    sqlite::location::Identity,
};

/// The log in a database file of SQLite.
///
/// It reads over one connection, which is opened at the first call, and again after an error.
pub(crate) struct SqliteLog {
    pub(super) settings: Settings,
    /// `None` while a call uses it: a call that is dropped drops the connection with it.
    link: Mutex<Option<Link>>,
    /// Set once the store is closed.
    closed: AtomicBool,
    /// The newest record that was seen.
    newest: NewestSeen,
    tracker: CaptureTracker,
    nudge: Nudge,
    /// The known transactions of other programs. It outlives a connection.
    commits: StdMutex<Commits>,
}

/// The result of a read.
enum Found {
    Batch(Batch),
    /// The log has lost a record that this reader has seen.
    Lost,
    Gap(GapReason),
}

/// The result of a read of the head.
enum HeadRead {
    At(Cursor, CaptureStates, Option<String>),
    /// The log of this epoch has lost a record that this reader has seen.
    Lost(Epoch),
}

impl SqliteLog {
    pub(crate) fn new(settings: Settings) -> Self {
        let nudge = Nudge::beside(&settings.location, &settings.clock);
        Self {
            settings,
            link: Mutex::new(None),
            closed: AtomicBool::new(false),
            newest: NewestSeen::default(),
            tracker: CaptureTracker::default(),
            nudge,
            commits: StdMutex::default(),
        }
    }

    /// Runs a call over the checked connection. If the call fails, the connection is closed.
    pub(super) async fn with_link<T>(
        &self,
        call: impl AsyncFnOnce(&mut Link) -> Result<T, SqliteLogError>,
    ) -> Result<T, LogError> {
        let mut slot = self.link.lock().await;
        if self.closed.load(Ordering::SeqCst) {
            return Err(LogError::Closed);
        }

        in_time(&self.settings.clock, async {
            self.check_file()?;
            let mut link = match slot.take() {
                Some(link) => link,
                None => Link::open(&self.settings, Reason::Open).await?,
            };
            let answer = call(&mut link).await?;
            *slot = Some(link);
            Ok::<T, SqliteLogError>(answer)
        })
        .await
    }

    /// Closes the connection, and refuses to open another.
    pub(crate) async fn close(&self) -> Result<(), sqlx::Error> {
        self.closed.store(true, Ordering::SeqCst);
        let link = self.link.lock().await.take();
        match link {
            Some(link) => link.connection.close().await,
            None => Ok(()),
        }
    }

    /// Refuses to open another connection, and closes the present one if no call uses it.
    pub(crate) fn release(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let link = self.link.try_lock().ok().and_then(|mut link| link.take());
        drop(link); // with the lock released
    }

    /// Locks the known transactions of other programs.
    pub(super) fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_file(&self) -> Result<(), SqliteLogError> {
        let checked = self
            .settings
            .identity
            .as_ref()
            .map_or(Ok(()), Identity::check);
        Ok(checked?)
    }

    async fn read_beyond(
        &self,
        from: &Cursor,
        limit: usize,
        member: Option<&MemberId>,
    ) -> Result<Read, LogError> {
        let at = match *from.position() {
            Position::Numbered { last: number, id } => Step { number, id },
            // A cursor of an earlier version, without the id of its last record.
            Position::Counted(_) => return Ok(Read::Gap(Gap::of_all(GapReason::Recreated))),
            Position::Snapshot(_) | Position::Page { .. } => {
                return Err(SqliteLogError::malformed("a cursor of another kind of log").into());
            }
        };
        let found = self
            .with_link(async |link| {
                let version = data_version(&mut link.connection).await?;
                match self.unchanged(link, version, from, member)? {
                    Some(batch) => Ok(Found::Batch(batch)),
                    None => {
                        self.read_snapshot(link, version, from, at, limit, member)
                            .await
                    }
                }
            })
            .await?;

        match found {
            Found::Batch(batch) => Ok(Read::Batch(batch)),
            Found::Gap(reason) => Ok(Read::Gap(Gap::of_all(reason))),
            Found::Lost => {
                self.begin_again(from.epoch()).await?;
                Ok(Read::Gap(Gap::of_all(GapReason::LostTail)))
            }
        }
    }

    /// Ends an epoch whose log has lost records: their numbers are assigned again from here on, and
    /// marks with these numbers must not be taken for the lost ones.
    async fn begin_again(&self, over: Epoch) -> Result<(), LogError> {
        let link = Link::open(&self.settings, Reason::Lost(over.number)).await?;
        *self.link.lock().await = Some(link);
        Ok(())
    }

    /// Returns an empty batch with the state of the last read, if a new read would see the same.
    fn unchanged(
        &self,
        link: &Link,
        version: i64,
        from: &Cursor,
        member: Option<&MemberId>,
    ) -> Result<Option<Batch>, SqliteLogError> {
        let node = member.map(|member| &member.node);
        let last = link.last.as_ref().filter(|last| {
            last.version == version
                && last.at == *from.position()
                && last.node.as_ref() == node
                && from.epoch() == link.epoch
                && !self.tracker.has_unreported()
        });
        let Some(last) = last else {
            return Ok(None);
        };

        let own =
            OwnRow::read(member, last.head.own.as_deref()).ok_or_else(own_row_is_malformed)?;
        Ok(Some(Batch {
            records: Vec::new(),
            passed_over: 0,
            trail: Vec::new(),
            cursor: from.clone(),
            extent: Extent::All,
            sight: own.with_capture(self.tracker.latest()),
        }))
    }

    /// Reads in a new snapshot.
    async fn read_snapshot(
        &self,
        link: &mut Link,
        version: i64,
        from: &Cursor,
        at: Step,
        limit: usize,
        member: Option<&MemberId>,
    ) -> Result<Found, SqliteLogError> {
        let started = self.settings.clock.now();
        begin(&mut link.connection).await?;

        let head = read::head(&mut link.connection, member).await?;
        let is_of_this_epoch = head.epoch == Some(link.epoch) && from.epoch() == link.epoch;
        if !is_of_this_epoch && continuity_is_checked() {
            // The next connection begins another epoch, or finds it begun.
            return Err(SqliteLogError::EpochEnded);
        }
        if at.number < head.pruned {
            end(&mut link.connection).await?;
            return Ok(Found::Gap(GapReason::Trimmed));
        }
        if continuity_is_checked() {
            match self.newest.discontinuity(link, head.pruned, at).await? {
                None => {}
                Some(Discontinuity::Lost) => return Ok(Found::Lost),
                Some(Discontinuity::Missing(reason)) => {
                    end(&mut link.connection).await?;
                    return Ok(Found::Gap(reason));
                }
            }
        }

        let own = OwnRow::read(member, head.own.as_deref()).ok_or_else(own_row_is_malformed)?;
        let states = read::states(
            &mut link.connection,
            &self.settings.schemas,
            &mut link.schema,
        )
        .await?;
        let page = read::page(&mut link.connection, at.number, limit).await?;
        let mut images = link
            .decoder
            .images(&mut link.connection, &page.records)
            .await?;
        let newest = newest_of(link, &head).await?;
        self.scan_commits(link, head.newest).await?;

        let marks = self.marks_of(link, &page.records).await?;
        end(&mut link.connection).await?;
        self.newest.note(link.epoch, newest);

        let mut records = Vec::with_capacity(page.records.len());
        for (stored, mark) in page.records.iter().zip(marks) {
            if let Some(body) = link.decoder.body(stored, &mut images) {
                records.push(Record {
                    place: Place(after(link.epoch, stored.step())),
                    mark,
                    origin: stored.origin(),
                    body,
                });
            }
        }

        let passed_over = page.records.len() - records.len();
        let trail: Vec<_> = page.records.iter().map(Stored::step).collect();
        let reached = match trail.last() {
            Some(last) if page.cut => *last,
            Some(_) | None => newest,
        };
        let cursor = after(link.epoch, reached);
        // Last: a change is reported only once, so a read that failed later would lose it.
        let way = (from, &cursor);
        let capture = self
            .tracker
            .report(member, way, started, states, &mut records);

        link.last = (!page.cut).then(|| Last {
            version,
            at: cursor.position().clone(),
            node: member.map(|member| Arc::clone(&member.node)),
            head,
        });

        Ok(Found::Batch(Batch {
            records,
            passed_over,
            trail,
            cursor,
            extent: if page.cut { Extent::More } else { Extent::All },
            sight: own.with_capture(capture),
        }))
    }

    async fn take_head(&self, member: Option<&MemberId>) -> Result<Head, LogError> {
        self.follow_commits().await?;

        let started = self.settings.clock.now();
        let (cursor, states, own) = loop {
            match self
                .with_link(async |link| self.read_head(link, member).await)
                .await?
            {
                HeadRead::At(cursor, states, own) => break (cursor, states, own),
                HeadRead::Lost(over) => self.begin_again(over).await?,
            }
        };
        let own = OwnRow::read(member, own.as_deref()).ok_or_else(own_row_is_malformed)?;
        let capture = capture(&states);
        self.tracker
            .begin(member, &cursor, &capture, states, started);

        let sight = own.with_capture(capture);
        Ok(Head { cursor, sight })
    }

    async fn read_head(
        &self,
        link: &mut Link,
        member: Option<&MemberId>,
    ) -> Result<HeadRead, SqliteLogError> {
        begin(&mut link.connection).await?;
        let head = read::head(&mut link.connection, member).await?;
        if head.epoch != Some(link.epoch) {
            return Err(SqliteLogError::EpochEnded);
        }
        if !self.newest.holds(link, head.pruned).await? && continuity_is_checked() {
            return Ok(HeadRead::Lost(link.epoch));
        }

        link.schema = None;
        let schemas = &self.settings.schemas;
        let states = read::states(&mut link.connection, schemas, &mut link.schema).await?;
        let newest = newest_of(link, &head).await?;
        end(&mut link.connection).await?;
        self.newest.note(link.epoch, newest);
        let cursor = after(link.epoch, newest);
        Ok(HeadRead::At(cursor, states.unwrap_or_default(), head.own))
    }

    async fn append_entry(&self, entry: Appended) -> Result<Mark, LogError> {
        let epoch = self.with_link(async |link| Ok(link.epoch)).await?;
        let body = serde_json::Value::from(stored_entry(&entry)).to_string();
        let origin = entry.origin().map(str::to_owned);
        let written = self
            .settings
            .writer
            .write(async |connection| {
                let row = sqlx::query(
                    "INSERT INTO tidings_log (kind, body, origin) VALUES ('i', ?, ?) \
                     RETURNING id, nonce",
                )
                .bind(body)
                .bind(origin)
                .fetch_one(connection)
                .await?;
                let number: i64 = row.try_get(0)?;
                Ok((number.unsigned_abs(), id_of(row.try_get(1)?)))
            })
            .await?;
        let (number, id) = written;
        Ok(Mark::new(epoch, number).with_id(id))
    }
}

/// Returns the error for a member's row that cannot be read.
pub(super) fn own_row_is_malformed() -> SqliteLogError {
    SqliteLogError::malformed("a member's row has another form")
}

impl Log for SqliteLog {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        Box::pin(self.take_head(member))
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        Box::pin(async move {
            match self.read_beyond(from, limit.max(1), member).await {
                Err(LogError::Unreachable(cause)) if is_end_of_epoch(&*cause) => {
                    Ok(Read::Gap(Gap::of_all(GapReason::Epoch)))
                }
                other => other,
            }
        })
    }

    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        Box::pin(self.rows_of(mark, entity, key))
    }

    fn children<'a>(
        &'a self,
        entity: &'a str,
        keys: Vec<Value>,
    ) -> LogFuture<'a, Result<Vec<CacheKey>, LogError>> {
        Box::pin(self.keys_of_children(entity, keys))
    }

    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(self.with_link(async |link| {
            let sql = "SELECT id FROM tidings_log LIMIT 1";
            sqlx::query(sql)
                .fetch_optional(&mut link.connection)
                .await?;
            Ok(())
        }))
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        Box::pin(self.append_entry(entry))
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        // The store's own connections can stay: they have no snapshot between two reads, and refuse
        // a file that has replaced their own.
        Box::pin(async move {
            drop(self.link.lock().await.take());
            Ok(())
        })
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        Box::pin(async move { Ok(self.nudge.listen()) })
    }

    fn wake(&self, _: Wake) {
        self.nudge.give();
    }

    fn digest(&self, _: &CacheKey) -> Option<Digest> {
        // Wake-ups say that there is something to read, and not what.
        None
    }
}

impl KeptLog for SqliteLog {
    fn epoch(&self) -> Option<Epoch> {
        self.tracker.epoch()
    }

    fn mark(&self, commit: CommitName) -> Option<Mark> {
        let mark = Mark::new(self.tracker.epoch()?, commit.number);
        Some(mark.with_id(commit.id))
    }

    fn capture(&self) -> Capture {
        self.tracker.latest()
    }

    fn prune(&self, retention: Duration) -> LogFuture<'_, Result<u64, LogError>> {
        Box::pin(async move {
            self.check_file()?;
            Ok(prune(&self.settings, retention).await?)
        })
    }
}

fn is_end_of_epoch(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(SqliteLogError::EpochEnded))
}

impl fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLog").finish_non_exhaustive()
    }
}
