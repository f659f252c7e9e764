//! [`Numbered`]: a log on top of any [`Engine`].
//!
//! # What is proven, and how
//!
//! A cursor is an epoch, a number, and the id of the record with that number. Every read begins at
//! that record. It continues only if the stream is of the cursor's epoch and still holds the record
//! with this id, and if each further record has the next number. Anything else is a gap: the stream
//! was trimmed, deleted and created again, or restored from a copy, or it has lost its newest
//! records and assigned their numbers again.
//!
//! A reader cannot detect in this way the loss of records that it has not read. The node that
//! appended them can: it keeps the last record that it knows the stream had ([`Witness`]), and
//! looks for it after each new connection, before anything that it reads or appends over that
//! connection counts. If the record is gone, the node begins another epoch in place of the current
//! one, and every reader purges. One case remains: a lost tail whose publisher died with it.
//!
//! # What an append promises
//!
//! Its mark names the epoch of the stream when the record got its number. A record that reached the
//! stream while the epoch changed may be there twice: then evictions are repeated, and the handlers
//! of an event run for it after the gap of the epoch.

// From a page to the records of a reader. Must not know how a page is read.
mod reading;

// The known state of the stream, and what happens if the stream has lost it.
mod standing;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{
    CacheKey, PrimaryKey,
    entropy::Entropy,
    log::{
        Appended, Capture, CommitName, Cursor, Digest, Epoch, Gap, GapReason, Group, Head, KeptLog,
        Log, LogError, LogFuture, Mark, MemberId, Position, Read, Sight, Wake, WakeUps,
    },
};

use self::standing::{Standing, Witness};
use crate::{
    engine::{self, Engine, Page, in_doubt},
    members::{self, DEMAND},
    secret::Secrets,
    wire::{self, Note, id_of},
};

/// Roughly how many bytes one read requests from the server.
const PAGE: usize = 4 << 20;

/// How often an append or a request is retried because the epoch has changed in the meantime.
const ATTEMPTS: usize = 8;

/// A log on a stream.
pub struct Numbered {
    engine: Arc<dyn Engine>,
    node: Arc<str>,
    secrets: Arc<Secrets>,
    entropy: Arc<dyn Entropy>,
    standing: Mutex<Standing>,
    /// One task at a time reads the state of the stream.
    settling: tokio::sync::Mutex<()>,
}

impl Numbered {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        node: Arc<str>,
        secrets: Arc<Secrets>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            engine,
            node,
            secrets,
            entropy,
            standing: Mutex::default(),
            settling: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the names of the values with what others know of a member.
    fn values_of(member: Option<&MemberId>) -> Vec<String> {
        let of = |member: &MemberId| vec![members::row_of(&member.node), DEMAND.to_owned()];
        member.map(of).unwrap_or_default()
    }

    /// Reads a page, and values of the table.
    async fn page(
        &self,
        from: u64,
        limit: usize,
        member: Option<&MemberId>,
    ) -> Result<(Page, Sight), LogError> {
        let names = Self::values_of(member);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let page = self.engine.read(from, limit, PAGE, &names).await?;
        let sight = members::sight(member, &page.values)?;
        Ok((page, sight))
    }

    async fn read_beyond(
        &self,
        from: &Cursor,
        limit: usize,
        member: Option<&MemberId>,
    ) -> Result<Read, LogError> {
        let Position::Numbered { last, id } = *from.position() else {
            return Ok(Read::Gap(Gap::of_all(GapReason::Recreated)));
        };

        // The record at the cursor comes first.
        let (page, sight) = self.page(last, limit.saturating_add(1), member).await?;

        // Since a new connection, the stream may have lost records of this node.
        let epoch = self.settled().await?;
        if page.epoch != Some(epoch) {
            self.forget(epoch);
        }
        if page.epoch != Some(from.epoch()) || epoch != from.epoch() {
            return Ok(Read::Gap(Gap::of_all(GapReason::Epoch)));
        }

        match reading::follow(page, epoch, (last, id), sight, &self.secrets) {
            Ok(batch) => {
                if let Position::Numbered { last, id } = *batch.cursor.position() {
                    self.note(Witness { epoch, last, id });
                }
                Ok(Read::Batch(batch))
            }
            Err(reason) => Ok(Read::Gap(Gap::of_all(reason))),
        }
    }

    async fn take_head(&self, member: Option<&MemberId>) -> Result<Head, LogError> {
        for _ in 0..ATTEMPTS {
            let (epoch, newest) = self.settle().await?;
            let id = id_of(&newest.bytes);
            let (page, sight) = self.page(newest.number, 1, member).await?;
            if page.epoch != Some(epoch) {
                continue;
            }
            let cursor = Cursor::numbered(epoch, newest.number, id);
            return Ok(Head { cursor, sight });
        }

        Err(restless())
    }

    /// Appends the record that `bytes` returns for the current epoch.
    async fn append_of(&self, bytes: impl Fn(Epoch) -> Vec<u8> + Send) -> Result<Mark, LogError> {
        for _ in 0..ATTEMPTS {
            let epoch = self.settled().await?;
            let connections = self.engine.connections();
            let record = bytes(epoch);
            let (size, limit) = (record.len(), self.engine.largest());
            if size > limit {
                return Err(LogError::TooLarge { size, limit });
            }

            match self.engine.append(epoch, &record).await? {
                engine::Appended::Moved => self.forget(epoch),
                engine::Appended::At(last) => {
                    // The connection may be new, and the stream may have lost earlier records:
                    // check before this record replaces the last known one.
                    let now = self.settled().await.map_err(in_doubt)?;
                    if now != epoch {
                        continue;
                    }

                    let id = id_of(&record);
                    let appended = Witness { epoch, last, id };
                    self.note_appended(appended);

                    // Noted before this request: later connections look for it by themselves.
                    if self.engine.connections() == connections {
                        return Ok(Mark::new(epoch, last).with_id(id));
                    }

                    // It may have been acknowledged over the earlier connection, and lost since.
                    let settled = self.settle_with(Some(appended)).await;
                    if settled.map_err(in_doubt)?.0 == epoch {
                        return Ok(Mark::new(epoch, last).with_id(id));
                    }
                }
            }
        }

        Err(restless())
    }

    async fn prune_and_beat(&self, retention: Duration) -> Result<u64, LogError> {
        let removed = self.engine.trim(retention).await?;
        let (_, newest) = self.settle().await?;
        let before = self.standing.lock().beat.replace(newest.number);
        if before == Some(newest.number) {
            // Nothing was appended since the last time. If the server removes records by age,
            // readers at the head would lose the record at their cursor.
            let beat = |epoch| {
                let (id, node) = (self.entropy.uuid(), Some(&*self.node));
                wire::note(Note::Beat, id, epoch, node)
            };
            let mark = self.append_of(beat).await?;
            self.standing.lock().beat = Some(mark.number());
        }

        Ok(removed)
    }
}

fn restless() -> LogError {
    LogError::Unreachable("the epoch of the stream changes again and again".into())
}

impl Log for Numbered {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        Box::pin(self.take_head(member))
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        Box::pin(self.read_beyond(from, limit, member))
    }

    // A stream holds no rows.
    fn group<'a>(
        &'a self,
        _: Mark,
        _: &'a str,
        _: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        Box::pin(async move {
            let bytes = |epoch| wire::entry(&entry, self.entropy.uuid(), epoch, &self.secrets);
            self.append_of(bytes).await
        })
    }

    // Nothing is loaded over the stream's connections.
    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        self.engine.listen()
    }

    fn wake(&self, wake: Wake) {
        self.engine.nudge(wake);
    }

    // A wake-up only says that there is something to read.
    fn digest(&self, _: &CacheKey) -> Option<Digest> {
        None
    }

    fn note_load(&self, key: &CacheKey) {
        self.secrets.note_load(key);
    }
}

impl KeptLog for Numbered {
    fn epoch(&self) -> Option<Epoch> {
        self.standing.lock().epoch
    }

    fn mark(&self, commit: CommitName) -> Option<Mark> {
        let mark = Mark::new(self.epoch()?, commit.number);
        Some(mark.with_id(commit.id))
    }

    // Every append is recorded.
    fn capture(&self) -> Capture {
        Capture::InPlace
    }

    fn prune(&self, retention: Duration) -> LogFuture<'_, Result<u64, LogError>> {
        Box::pin(self.prune_and_beat(retention))
    }
}

impl fmt::Debug for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbered")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
