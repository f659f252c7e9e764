//! [`Recorder`]: the latest records of each key and of whole caches, and the latest causes.
//!
//! Its bound follows the cache's capacity; memory is allocated as records come. Half of it is for
//! the records, half for their reasons.

// Locks of the standard library, in models too: a critical section moves a little memory and calls
// nothing, so no schedule can distinguish it from one step.
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    newest::{Newest, Weighed},
    reason::Reason,
};
use crate::{
    answer::tag::Tag,
    fence::number::{Moment, Number},
};

/// The recorder may take one byte for this many bytes of the cache's capacity.
const CAPACITY_SHARE: u64 = 50;
/// The bytes that it may take even if the cache is small.
const LEAST_BYTES: usize = 8 << 10;

/// The maximum number of shards of keys, and of records in each.
const SHARDS: usize = 64;
const RECORDS_PER_SHARD: usize = 64;
/// The maximum number of records of whole caches.
const CACHE_RECORDS: usize = 256;
/// The maximum number of causes.
const CAUSES: usize = 1_024;

type Shard = Mutex<Newest<Record>>;

/// The bytes that a record of a key takes, with its part of the shard.
const RECORD_BYTES: usize = size_of::<Record>() + size_of::<Shard>().div_ceil(RECORDS_PER_SHARD);
/// The bytes that the maximum number of records takes, without their reasons.
const MOST_BYTES: usize = SHARDS * RECORDS_PER_SHARD * RECORD_BYTES
    + CACHE_RECORDS * size_of::<Record>()
    + CAUSES * size_of::<Cause>();

/// What asked for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadedBy {
    /// A call that found nothing.
    Miss,
    /// A call that asked for a new load.
    Renew,
    /// The entry itself, before it expired.
    Refresh,
    /// A caller set it.
    Set,
}

impl LoadedBy {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Renew => "renew",
            Self::Refresh => "refresh",
            Self::Set => "set",
        }
    }
}

/// How far the handlers of a change have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handlers {
    /// All of them have run.
    Everywhere,
    /// Some were not done when the write returned.
    Late,
    /// Some missed it.
    Missed,
}

impl Handlers {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Late => "late",
            Self::Missed => "missed",
        }
    }
}

/// The kind of a record, with its details.
#[derive(Clone, Debug)]
pub(crate) enum RecordKind {
    /// A value or an absence was read or set. It was kept, or `refused` says why not.
    Loaded {
        by: LoadedBy,
        took: Duration,
        refused: Option<&'static str>,
    },
    /// A load ended without a result.
    Failed { by: LoadedBy, took: Duration },
    /// The key was invalidated: whether L2 held it, and how many loads were voided.
    Invalidated { held: bool, voided: usize },
    /// The entry carried a tag that was invalidated.
    Tagged(Tag),
    /// Everything of the cache was purged.
    Purged,
    /// The entry had expired.
    Expired,
    /// The entry made room for others.
    Space,
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The hash of the key; for a record of a whole cache, the index of the cache.
    subject: u64,
    pub(crate) at: Moment,
    /// The number of the sequence at that time; for a load, at a time before it read.
    pub(crate) number: Number,
    pub(crate) kind: RecordKind,
    /// The change whose handling caused it.
    pub(crate) cause: Option<Number>,
    pub(crate) reason: Option<Arc<Reason>>,
}

/// A change, by its number as a cause.
#[derive(Debug)]
struct Cause {
    number: Number,
    reason: Arc<Reason>,
    handlers: Option<Handlers>,
}

impl Weighed for Record {
    fn reason(&self) -> Option<&Arc<Reason>> {
        self.reason.as_ref()
    }

    fn text(&self) -> usize {
        match &self.kind {
            RecordKind::Tagged(tag) => tag.len(),
            RecordKind::Loaded { .. }
            | RecordKind::Failed { .. }
            | RecordKind::Invalidated { .. }
            | RecordKind::Purged
            | RecordKind::Expired
            | RecordKind::Space => 0,
        }
    }
}

impl Weighed for Cause {
    fn reason(&self) -> Option<&Arc<Reason>> {
        Some(&self.reason)
    }

    fn text(&self) -> usize {
        0
    }
}

/// The records of a node.
#[derive(Debug)]
pub(crate) struct Recorder {
    shards: Box<[Shard]>,
    wide: Mutex<Newest<Record>>,
    causes: Mutex<Newest<Cause>>,
}

impl Recorder {
    /// Makes the recorder of a cache of this capacity in bytes.
    ///
    /// It takes at most a fiftieth of the capacity, or 8 KiB if that is more. It keeps at most
    /// 4,096 records of keys, 256 of whole caches and 1,024 causes, and takes as many bytes again
    /// for their reasons.
    pub(crate) fn new(capacity: u64) -> Self {
        let most = usize::try_from(capacity / CAPACITY_SHARE).unwrap_or(usize::MAX);
        let half = most.clamp(LEAST_BYTES, 2 * MOST_BYTES) / 2;
        let part = |all: usize| (all * half / MOST_BYTES).max(1);

        let records = part(SHARDS * RECORDS_PER_SHARD);
        let shards = (records / RECORDS_PER_SHARD).max(1);
        let each = (records / shards).min(RECORDS_PER_SHARD);

        // Causes share their reasons with the records of their keys, of which there are more.
        let (due_to_records, due_to_wide) = (half / 16 * 11, half / 16);
        let shard = || Mutex::new(Newest::new(each, due_to_records / shards));
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            wide: Mutex::new(Newest::new(part(CACHE_RECORDS), due_to_wide)),
            causes: Mutex::new(Newest::new(part(CAUSES), half / 4)),
        }
    }

    /// Adds a record of a key, given by its hash.
    pub(crate) fn record(
        &self,
        key: u64,
        at: Moment,
        number: Number,
        cause: Option<Number>,
        kind: RecordKind,
    ) {
        let record = Record {
            subject: key,
            at,
            number,
            reason: Reason::current(),
            kind,
            cause,
        };
        push(self.shard(key), record);
    }

    /// Records that a key was evicted again for the same cause, if the reason now names the rows of
    /// the commit and the earlier one did not.
    pub(crate) fn record_again(&self, key: u64, at: Moment, cause: Option<Number>) {
        let Some(reason) = Reason::current() else {
            return;
        };

        let shard = self.shard(key);
        let early = {
            let records = lock(shard);
            let last = records.iter().rev().find(|record| {
                let is_evicted = matches!(record.kind, RecordKind::Invalidated { .. });
                record.subject == key && record.cause == cause && is_evicted
            });
            let last = last.filter(|record| says_more(&reason, record.reason.as_deref()));
            last.map(|record| record.number)
        };
        let Some(number) = early else {
            return;
        };

        let record = Record {
            subject: key,
            at,
            number,
            reason: Some(reason),
            kind: RecordKind::Invalidated {
                held: false,
                voided: 0,
            },
            cause,
        };
        push(shard, record);
    }

    /// Records that a whole cache was purged.
    pub(crate) fn record_all(&self, cache: u32, at: Moment, number: Number, cause: Option<Number>) {
        let record = Record {
            subject: cache.into(),
            at,
            number,
            reason: Reason::current(),
            kind: RecordKind::Purged,
            cause,
        };
        push(&self.wide, record);
    }

    /// Remembers this thread's reason, if it has one, under the number of a change. That number is
    /// the cause of whatever the change's handlers do.
    pub(crate) fn cause(&self, number: Number) {
        let Some(reason) = Reason::current() else {
            return;
        };
        let cause = Cause {
            number,
            reason,
            handlers: None,
        };
        push(&self.causes, cause);
    }

    /// Notes how far the handlers of a change have got.
    pub(crate) fn handled(&self, number: Number, handlers: Handlers) {
        let mut causes = lock(&self.causes);
        let cause = causes.iter_mut().rev().find(|it| it.number == number);
        if let Some(cause) = cause {
            cause.handlers = Some(handlers);
        }
    }

    /// Returns the reason of the change with this number, and how far its handlers have got.
    pub(crate) fn of_cause(&self, number: Number) -> (Option<Arc<Reason>>, Option<Handlers>) {
        let causes = lock(&self.causes);
        let cause = causes.iter().rev().find(|it| it.number == number);
        let reason = cause.map(|it| Arc::clone(&it.reason));
        (reason, cause.and_then(|it| it.handlers))
    }

    /// Returns how far the handlers of the change with this reason have got.
    pub(crate) fn of_reason(&self, reason: &Arc<Reason>) -> Option<Handlers> {
        let causes = lock(&self.causes);
        let cause = causes.iter().rev();
        let mut of = cause.filter(|it| Arc::ptr_eq(&it.reason, reason));
        of.find_map(|it| it.handlers)
    }

    /// Returns the records of a key, and those of its whole cache, the newest first.
    pub(crate) fn of(&self, key: u64, cache: u32) -> (Vec<Record>, Vec<Record>) {
        let of = |records: &Newest<Record>, subject| {
            let records = records.iter().rev();
            records
                .filter(|record| record.subject == subject)
                .cloned()
                .collect()
        };
        let own = of(&lock(self.shard(key)), key);
        (merged_evictions(own), of(&lock(&self.wide), cache.into()))
    }

    /// Returns how many records there are, and about how many bytes they take with their reasons.
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut size = (0, size_of_val(&*self.shards));
        let mut add = |records: &Newest<Record>| {
            size.0 += records.iter().len();
            size.1 += records.bytes();
        };
        for shard in &self.shards {
            add(&lock(shard));
        }

        add(&lock(&self.wide));
        size.1 += lock(&self.causes).bytes();
        size
    }

    fn shard(&self, key: u64) -> &Shard {
        // The high bits, because the low ones choose the place in other tables.
        &self.shards[(key >> 40) as usize % self.shards.len()]
    }
}

/// Merges an eviction that was made before its change was read in the log with the eviction that
/// followed from the change's record. The result has the time of the first and the reason of the
/// second. The newest come first.
fn merged_evictions(records: Vec<Record>) -> Vec<Record> {
    let mut merged: Vec<Record> = Vec::with_capacity(records.len());
    for mut early in records {
        let RecordKind::Invalidated { held, voided } = &mut early.kind else {
            merged.push(early);
            continue;
        };

        let read = merged.iter().position(|record| {
            let reason = record.reason.as_deref();
            matches!(record.kind, RecordKind::Invalidated { .. })
                && reason.is_some_and(|it| says_more(it, early.reason.as_deref()))
        });
        if let Some(read) = read {
            let read = merged.remove(read);
            if let RecordKind::Invalidated {
                held: again,
                voided: more,
            } = read.kind
            {
                *held |= again;
                *voided += more;
            }

            early.reason = read.reason;
        }

        merged.push(early);
    }

    merged
}

/// Returns whether a reason names the rows of a commit, and an earlier reason names only the mark
/// of the same commit.
fn says_more(reason: &Reason, early: Option<&Reason>) -> bool {
    match (reason, early) {
        (
            Reason::Change { rows, mark, .. },
            Some(Reason::Change {
                rows: none,
                mark: Some(early),
                ..
            }),
        ) => !rows.is_empty() && none.is_empty() && *mark == Some(*early),
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a record. The records that make room for it are dropped while the lock is released.
fn push<T: Weighed>(of: &Mutex<Newest<T>>, new: T) {
    let (mut gone, mut is_over) = lock(of).push(new);
    while is_over {
        drop(gone.take());
        (gone, is_over) = lock(of).shorten();
    }
}

#[cfg(test)]
mod tests;
