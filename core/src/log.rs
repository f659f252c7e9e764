//! The log: the ordered record of changes that all nodes read, as a seam that each engine fills.
//!
//! A node keeps a [`Cursor`], which says how far it has read, and asks the [`Log`] for what lies
//! beyond. It gets [`Record`]s and the cursor after them, or a [`Gap`] in place of records that the
//! log can no longer return. A gap is a value: it cannot be skipped by accident.
//!
//! | word | type | meaning |
//! |---|---|---|
//! | epoch | [`Epoch`] | identity of a log; a cursor of another epoch means nothing |
//! | cursor | [`Cursor`] | how far a reader has read; opaque, ordered only in part |
//! | mark | [`Mark`] | names one commit; compared by [`Cursor::covers`] alone |
//! | place | [`Place`] | the cursor after one record |
//! | bookmark | [`Bookmark`] | a commit, and where a reader continues that knows everything up to it |
//! | record | [`Record`] | one row's change, or an eviction or event for every node |
//! | gap | [`Gap`] | takes the place of records that were not received |
//!
//! # Two forms
//!
//! A *counted* log (SQLite, JetStream, Redis) uses one number for cursor, mark and place, and the
//! id of the record there: it may lose its newest records and hand their numbers out again, and
//! until a node has noticed that, the epoch is the same. PostgreSQL's cursor is a [`Snapshot`], its
//! mark the transaction's id, and two cursors may each cover a mark that the other does not.
//! Readers treat both alike.
//!
//! # What a read proves
//!
//! A [`Batch`] shows what the log held at some moment between the question and its answer. So once
//! everything that it and earlier ones returned is applied, the reader is fresh as of the moment
//! *before the question was sent*, which only the reader knows: it reads its clock, then asks.
//! [`Batch::proves`] says whether a batch is such a proof at all.
//!
//! # What an engine promises
//!
//! - A record is returned by every read whose cursor does not cover its mark, until it is pruned;
//!   then the read is a gap.
//! - A read beyond a cursor of another epoch, or of a place that the log has lost or never had, is
//!   a gap and never empty.
//! - Records of one row come in commit order. Records of one transaction may be cut by pages.
//! - [`Log::head`] returns a cursor that covers every mark whose commit was acknowledged before the
//!   call.
//! - Waiting, retrying and polling are the reader's: a call that cannot be answered within the
//!   engine's time limit fails.
//! - No future of these traits needs a runtime of a certain kind beyond what the engine says for
//!   itself. All may be dropped.

// The identity of a log, and what a gap says. Must not know a position.
mod epoch;
mod gap;

// The text form of positions, and its one error. Must not know what a position is.
mod text;

// A set of transactions, and one of them. Must not know a reader.
mod snapshot;

mod mark;

// How far a reader has read.
mod cursor;

// A commit, and where a reader goes on from it.
mod bookmark;

// A commit as its writer knows it, without an epoch.
mod commit;

// What the log holds, and how the records of one row make one change.
mod record;

mod group;

// The other readers, what a read returns, and what wakes a reader.
mod member;
mod read;
mod wake;

// A log as a node keeps it.
mod kept;

// A log that is no part of a database.
mod apart;

use std::{fmt, future::Future, pin::Pin};

pub use self::{
    apart::{ApartNeeds, LogApart},
    bookmark::{Bookmark, Resume},
    commit::{Begun, CommitName},
    cursor::{Cursor, Place, Position},
    epoch::Epoch,
    gap::{Gap, GapReason, Scope},
    group::{Group, RowChange, RowOf},
    kept::KeptLog,
    mark::Mark,
    member::{
        ClockOffset, Demand, Incarnation, Join, JoinError, LastReport, MemberFacts, MemberId,
        MemberRow, MemberSight, Members, StartId,
    },
    read::{Batch, Capture, Extent, Head, Read, Sight, Step},
    record::{
        Announce, Appended, Body, Eviction, EvictionTarget, Fields, Posted, Record, RowRecord,
    },
    snapshot::Snapshot,
    text::PositionError,
    wake::{Digest, NextWake, Sealed, Wake, WakeCarrier, WakeUps},
};
use crate::{key::CacheKey, primary_key::PrimaryKey, value::Value};

/// What the methods of a log return: a boxed future, so that a log can be a trait object.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A failure of an engine, whatever its type.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// How many bytes the groups of several rows may take before no more of them are read.
const GROUPS: usize = 8 << 20;

/// A log that nodes read.
///
/// One value serves one node. It is shared by the node's tasks, and each call is independent of the
/// others: the log keeps no place of its own for its reader.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Takes the cursor at the head: what is committed from now on lies beyond it.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>>;

    /// Reads records beyond a cursor, at most `limit` of them, in the log's order.
    ///
    /// The epoch, the limit of pruning, whether capture is in place, and the row of `member` are
    /// read in the same statement, so that none of them can change unnoticed between the records
    /// and the proof.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. A cursor that cannot be followed is no error but a [`Read::Gap`].
    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>>;

    /// Reads every record of one row in one commit, whatever pages they lie in. Returns `None` if
    /// the log no longer holds them.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>>;

    /// Reads the [`group`](Self::group)s of several rows, in the order in which they were asked
    /// for. If they take much memory, it reads those of the first rows only, at least one.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn groups<'a>(
        &'a self,
        rows: &'a [RowOf],
    ) -> LogFuture<'a, Result<Vec<Option<Group>>, LogError>> {
        Box::pin(async move {
            let (mut groups, mut bytes) = (Vec::new(), 0);
            for row in rows {
                if bytes > GROUPS {
                    break;
                }
                let group = self.group(row.mark, &row.entity, &row.key).await?;
                bytes += group.as_ref().map_or(0, Group::weight);
                groups.push(group);
            }

            Ok(groups)
        })
    }

    /// Finds the cache keys of every row that is evicted with updated rows of an entity, to any
    /// depth, where the schemas say `OnUpdate::Evict`. A record of an updated row is applied only
    /// once these are evicted too. `None` if the log has no rows beside it, which is the default.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn children<'a>(
        &'a self,
        entity: &'a str,
        keys: Vec<Value>,
    ) -> LogFuture<'a, Result<Vec<CacheKey>, LogError>> {
        let _ = (entity, keys);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Checks that the log can be reached: it can if it answers, whatever else it refuses.
    ///
    /// This does not change what the next read returns. By default it takes a [`head`](Self::head);
    /// a log whose heads change what a read returns must override it.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move { self.head(None).await.map(drop) })
    }

    /// Appends what is not a row's change: an eviction or an event for every node. Returns its mark
    /// once it is committed.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. After [`LogError::InDoubt`] it may be in the log nevertheless; its id lets
    /// readers see that.
    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>>;

    /// Closes every pooled connection that was opened before the call, so that what is read from
    /// now on is read in the epoch of a cursor that was taken before.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>>;

    /// Starts to listen for wake-ups: those of other nodes' commits from now on.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>>;

    /// Sends a wake-up to the other nodes, after the commit that it announces. Never waits; the
    /// wake-up may be lost.
    fn wake(&self, wake: Wake);

    /// Returns the digest by which wake-ups name a cache key, or none if this log's wake-ups name
    /// no keys (or not yet).
    fn digest(&self, key: &CacheKey) -> Option<Digest>;

    /// Notes that a value of this key is about to be loaded, so that the reader may hold it: for a
    /// log whose records name some keys by their digests. Never waits. Does nothing by default.
    fn note_load(&self, key: &CacheKey) {
        let _ = key;
    }
}

/// Why a log did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The engine cannot be reached, or did not answer in time: ask again, after a pause.
    #[error("the log cannot be reached")]
    Unreachable(#[source] EngineError),
    /// The answer was lost: what was asked for may have been done.
    #[error("the log's answer was lost, so what was asked for may or may not have been done")]
    InDoubt(#[source] EngineError),
    /// The server answers but must not be read: a standby, a read-only one, one that recovers.
    #[error("this server cannot serve the log: {reason}")]
    Unfit {
        /// What it is, and what would be right.
        reason: String,
    },
    /// What is to be appended is larger than the log takes.
    #[error("{size} bytes are more than the log takes in one record, {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most that the log takes.
        limit: usize,
    },
    /// The log was closed by this process.
    #[error("the log is closed")]
    Closed,
}
