//! [`PgLog`]: the log as nodes read it.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, Row as _};
use tidings_core::{
    CacheKey, PrimaryKey, Value,
    clock::Tick,
    log::{
        Appended, Batch, Body, Capture, CommitName, Cursor, Digest, Epoch, Extent, Gap, GapReason,
        Group, Head, KeptLog, Log, LogError, LogFuture, Mark, MemberId, Place, Position, Read,
        Record, RowOf, RowRecord, Wake, WakeUps,
    },
};

use super::{
    error::PgLogError,
    link::{Link, in_time},
    members::own_row_is_malformed,
    prune::prune,
    read,
    settings::PgLogSettings,
    values::{number, text_of_key},
    wake::{Listener, Notifier},
};
use crate::{
    faults::continuity_is_checked,
    logs::{
        capture::CaptureStates,
        evictions::stored_entry,
        members::OwnRow,
        tracker::{CaptureCheck, CaptureTracker, capture},
    },
    settings::Pooler,
};

/// The log in a PostgreSQL database.
///
/// It reads over one connection, which is opened at the first call, and again after an error. Each
/// new connection is checked before the first read: a standby is refused, and if the cursor's epoch
/// has ended, the read returns a gap.
pub struct PgLog {
    settings: PgLogSettings,
    pooler: Pooler,
    /// `None` while a call uses it: a call that is dropped drops the connection with it.
    link: tokio::sync::Mutex<Option<Link>>,
    tracker: CaptureTracker,
    notifier: Notifier,
}

impl PgLog {
    /// Makes the log of a database. It connects at the first call.
    #[must_use]
    pub fn new(settings: PgLogSettings) -> Self {
        let notifier = Notifier::new(settings.options.clone(), &settings.spawn, &settings.clock);
        Self {
            settings,
            pooler: Pooler::None,
            link: tokio::sync::Mutex::new(None),
            tracker: CaptureTracker::default(),
            notifier,
        }
    }

    /// Sets the pooler between the log and the server.
    pub(crate) fn with_pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// Runs a call over the checked connection. If the call fails, the connection is closed.
    pub(super) async fn with_link<T>(
        &self,
        call: impl AsyncFnOnce(&mut Link) -> Result<T, PgLogError>,
    ) -> Result<T, LogError> {
        let mut slot = self.link.lock().await;
        in_time(&self.settings.clock, async {
            let mut link = match slot.take() {
                Some(link) => link,
                None => Link::open(&self.settings, self.pooler).await?,
            };
            link.begin().await?;

            let answer = call(&mut link).await?;
            if !link.is_spent {
                link.end().await?;
                *slot = Some(link);
            }

            Ok(answer)
        })
        .await
    }

    async fn read_beyond(
        &self,
        from: &Cursor,
        limit: usize,
        member: Option<&MemberId>,
    ) -> Result<Read, LogError> {
        let read = self
            .with_link(async |link| self.read_page(link, from, limit, member).await)
            .await?;
        let mut page = match read {
            PageOrGap::Page(page) => page,
            PageOrGap::Gap(reason) => return Ok(Read::Gap(Gap::of_all(reason))),
        };

        // Last, because a change is reported only once: a read that failed after this would lose
        // it.
        let way = (from, &page.cursor);
        let records = &mut page.records;
        let capture = self
            .tracker
            .report(member, way, page.started, page.states, records);

        Ok(Read::Batch(Batch {
            trail: Vec::new(),
            records: page.records,
            passed_over: page.passed_over,
            cursor: page.cursor,
            extent: page.extent,
            sight: page.own.with_capture(capture),
        }))
    }

    /// Reads one page beyond a cursor.
    async fn read_page(
        &self,
        link: &mut Link,
        from: &Cursor,
        limit: usize,
        member: Option<&MemberId>,
    ) -> Result<PageOrGap, PgLogError> {
        let position = from.position();
        let started = self.settings.clock.now();
        let check = self
            .tracker
            .check_due(started, self.settings.check_capture_every);
        let page = read::page(
            &mut link.connection,
            &link.expected,
            Some(position),
            limit,
            check,
            member.map(|member| &*member.node),
        )
        .await?;
        let head = page.head;
        if head.epoch != Some(from.epoch()) && continuity_is_checked() {
            // The next connection begins another epoch, or finds it begun.
            return Err(PgLogError::EpochEnded);
        }

        let applied = match position {
            Position::Snapshot(applied) | Position::Page { applied, .. } => applied,
            Position::Counted(_) | Position::Numbered { .. } => {
                return Err(PgLogError::malformed("a cursor of another log"));
            }
        };
        if applied.xmin() < head.pruned_below {
            return Ok(PageOrGap::Gap(GapReason::Trimmed));
        }
        let own = OwnRow::read(member, head.own.as_deref()).ok_or_else(own_row_is_malformed)?;

        link.load_layouts(&page.records).await?;
        let target = match position {
            Position::Page { target, .. } => Arc::clone(target),
            Position::Snapshot(_) | Position::Counted(_) | Position::Numbered { .. } => {
                Arc::new(head.snapshot)
            }
        };
        let within = |last: u64| {
            let (applied, target) = (Arc::clone(applied), Arc::clone(&target));
            let position = Position::Page {
                applied,
                target,
                last,
            };
            Cursor::new(from.epoch(), position)
        };
        let cursor = match page.records.last() {
            Some(last) if page.cut => within(last.id),
            Some(_) | None => Cursor::new(from.epoch(), Position::Snapshot(Arc::clone(&target))),
        };
        let mut records = Vec::with_capacity(page.records.len());
        for stored in &page.records {
            if let Some(body) = link.decoder.body(stored) {
                records.push(Record {
                    place: Place(within(stored.id)),
                    mark: Mark::new(from.epoch(), stored.xid),
                    origin: stored.origin(),
                    body,
                });
            }
        }

        // A run of pages ends at the snapshot with which it began: later records were not read yet.
        let caught_up = matches!(position, Position::Snapshot(_)) && !page.cut;
        Ok(PageOrGap::Page(RecordPage {
            started,
            passed_over: page.records.len() - records.len(),
            records,
            cursor,
            extent: if caught_up { Extent::All } else { Extent::More },
            states: head.states,
            own,
        }))
    }

    async fn take_head(&self, member: Option<&MemberId>) -> Result<Head, LogError> {
        let started = self.settings.clock.now();
        let (cursor, states, own) = self
            .with_link(async |link| {
                let node = member.map(|member| &*member.node);
                let check = CaptureCheck::Due;
                let page =
                    read::page(&mut link.connection, &link.expected, None, 0, check, node).await?;
                if page.head.epoch != Some(link.epoch) {
                    return Err(PgLogError::EpochEnded);
                }
                let cursor = Cursor::at_snapshot(link.epoch, page.head.snapshot);
                Ok((cursor, page.head.states.unwrap_or_default(), page.head.own))
            })
            .await?;
        let own = OwnRow::read(member, own.as_deref()).ok_or_else(own_row_is_malformed)?;
        let capture = capture(&states);
        self.tracker
            .begin(member, &cursor, &capture, states, started);

        let sight = own.with_capture(capture);
        Ok(Head { cursor, sight })
    }

    async fn append_entry(&self, entry: Appended) -> Result<Mark, LogError> {
        let stored = stored_entry(&entry);
        let origin = entry.origin().unwrap_or_default();
        let answer = self
            .with_link(async |link| {
                let row = sqlx::query(
                    "insert into tidings.log (kind, entity, new, origin) values ('i', '', $1, $2) returning xid",
                )
                .bind(stored)
                .bind(origin)
                .fetch_one(&mut link.connection)
                .await?;
                let xid: i64 = row.try_get(0)?;
                Ok(Mark::new(link.epoch, u64::try_from(xid).unwrap_or(0)))
            })
            .await;
        answer.map_err(|error| match error {
            // The statement may have been sent.
            LogError::Unreachable(cause) => LogError::InDoubt(cause),
            other => other,
        })
    }

    /// Reads the groups of several rows with one statement: of all rows, or of the first ones.
    async fn rows_of(&self, rows: &[RowOf]) -> Result<Vec<Option<Group>>, LogError> {
        let read = self.with_link(async |link| {
            let epoch = link.epoch;
            let known = rows.iter().enumerate().filter(|(_, row)| {
                row.mark.epoch() == epoch && link.decoder.schema(&row.entity).is_some()
            });
            let requests = known.map(|(place, row)| read::RowRequest {
                place: i64::try_from(place).unwrap_or(i64::MAX),
                xid: number(row.mark.number()),
                entity: &row.entity,
                key: text_of_key(&row.key),
            });
            let requests: Vec<_> = requests.collect();
            let read = read::rows(&mut link.connection, &requests, rows.len()).await?;
            if read.answered < rows.len() {
                // The rest of the answer may be large.
                link.is_spent = true;
                return Ok(Answer::Cut(read));
            }

            link.load_layouts(&read.records).await?;
            Ok(Answer::Groups(groups_of(link, read)))
        });

        match read.await? {
            Answer::Groups(groups) => Ok(groups),
            Answer::Cut(read) => {
                self.with_link(async |link| {
                    link.load_layouts(&read.records).await?;
                    Ok(groups_of(link, read))
                })
                .await
            }
        }
    }
}

/// The records beyond a cursor, or a gap.
enum PageOrGap {
    Page(RecordPage),
    Gap(GapReason),
}

/// One page of records, before changes of capture are added.
struct RecordPage {
    /// When the read began.
    started: Tick,
    records: Vec<Record>,
    passed_over: usize,
    /// After the page.
    cursor: Cursor,
    extent: Extent,
    /// `None` if capture was not checked.
    states: Option<CaptureStates>,
    own: OwnRow,
}

/// The answer to a query for the records of rows.
enum Answer {
    Groups(Vec<Option<Group>>),
    /// The records of the first rows, over a link that cannot be used again.
    Cut(read::Rows),
}

fn groups_of(link: &Link, read: read::Rows) -> Vec<Option<Group>> {
    let mut groups: Vec<Vec<(u64, RowRecord)>> = vec![Vec::new(); read.answered];
    for (place, stored) in read.places.into_iter().zip(&read.records) {
        match (link.decoder.body(stored), groups.get_mut(place)) {
            (Some(Body::Row(row)), Some(group)) => group.push((stored.id, row)),
            (
                Some(
                    Body::Row(_)
                    | Body::Entity(_)
                    | Body::Evict(_)
                    | Body::Event(_)
                    | Body::Unreadable { .. },
                )
                | None,
                _,
            ) => {}
        }
    }

    groups.into_iter().map(Group::of).collect()
}

impl Log for PgLog {
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
            let read = self.read_beyond(from, limit.max(1), member).await;
            match read {
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
        Box::pin(async move {
            let row = RowOf {
                mark,
                entity: entity.into(),
                key: key.clone(),
            };
            Ok(self.rows_of(&[row]).await?.pop().flatten())
        })
    }

    fn groups<'a>(
        &'a self,
        rows: &'a [RowOf],
    ) -> LogFuture<'a, Result<Vec<Option<Group>>, LogError>> {
        Box::pin(self.rows_of(rows))
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
            let sql = "select 1 from tidings.epoch";
            sqlx::query(sql).fetch_all(&mut link.connection).await?;
            Ok(())
        }))
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        Box::pin(self.append_entry(entry))
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            if let Some(retire) = &self.settings.retire {
                retire.run();
            }
            drop(self.link.lock().await.take());
            Ok(())
        })
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        Box::pin(async move {
            match self.pooler {
                Pooler::None => {}
                // It may accept LISTEN, and even deliver a session's own notifications.
                Pooler::Transaction => {
                    let why = "a pooler in transaction mode passes no notifications on";
                    let reason = why.to_owned();
                    return Err(LogError::Unfit { reason });
                }
            }

            let listener = Listener::connect(&self.settings.options, &self.settings.clock).await?;
            Ok(Box::new(listener) as Box<dyn WakeUps>)
        })
    }

    fn wake(&self, wake: Wake) {
        self.notifier.notify(&wake);
    }

    fn digest(&self, _: &CacheKey) -> Option<Digest> {
        // Wake-ups say that there is something to read, and not what.
        None
    }
}

impl KeptLog for PgLog {
    fn epoch(&self) -> Option<Epoch> {
        self.tracker.epoch()
    }

    fn mark(&self, commit: CommitName) -> Option<Mark> {
        let epoch = self.tracker.epoch()?;
        Some(Mark::new(epoch, commit.number))
    }

    fn capture(&self) -> Capture {
        self.tracker.latest()
    }

    fn prune(&self, retention: Duration) -> LogFuture<'_, Result<u64, LogError>> {
        Box::pin(async move {
            // Over a connection of its own, so that the reader does not wait for it.
            let mut connection = in_time(&self.settings.clock, async {
                Ok(self.settings.options.connect().await?)
            })
            .await?;
            let pruned = prune(&mut connection, retention).await;
            Ok(pruned.map_err(LogError::from)?.records)
        })
    }
}

fn is_end_of_epoch(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(PgLogError::EpochEnded))
}

impl fmt::Debug for PgLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgLog").finish_non_exhaustive()
    }
}
