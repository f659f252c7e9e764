//! Explains why a key holds its value: its entry in L2 and its recent history.

use std::{sync::Arc, time::Duration};

use tidings_core::CacheKey;

use crate::{
    answer::tag::Tag,
    api::cache::Cache,
    fence::number::{Moment, Number},
    record::{Handlers, LoadedBy, Reason, Record, RecordKind},
};

/// The entry of a key and its recent history. See [`Cache::explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The entry that L2 would serve; `None` if there is none.
    pub held: Option<HeldNow>,
    /// The events of the key, newest first: at most 64, and fewer if other keys have had more
    /// events.
    pub history: Vec<Happened>,
}

/// The entry of a key in L2.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeldNow {
    /// The value's type, as Rust names it; `None` for a cached absence.
    pub type_name: Option<&'static str>,
    /// How long ago it was read.
    pub age: Duration,
    /// How long it will be served; `None` if it does not expire.
    pub remaining: Option<Duration>,
    /// The number that its load noted: an invalidation with a higher one is newer than it.
    pub number: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// One event of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Happened {
    /// How long ago it happened.
    pub ago: Duration,
    /// The number of the node's sequence at that time; for a load, the number that it noted before
    /// it read.
    pub number: u64,
    /// What happened.
    pub event: Event,
    /// The number of the change whose handling caused it; `None` if no change did.
    pub cause: Option<u64>,
    /// The reason, if the caller gave one.
    pub reason: Option<Arc<Reason>>,
    /// The progress of that change's handlers, if known.
    pub handlers: Option<Handlers>,
}

/// An event in the history of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A value, or an absence, was read or set.
    Loaded {
        /// What asked for it.
        by: LoadedBy,
        /// How long the load took.
        took: Duration,
        /// Why the cache did not keep it; `None` if it did.
        refused: Option<&'static str>,
    },
    /// A load had no result: it failed, panicked or was ended.
    Failed {
        /// What asked for it.
        by: LoadedBy,
        /// How long it took.
        took: Duration,
    },
    /// The key was invalidated.
    Invalidated {
        /// Whether L2 held an entry, which was evicted.
        held: bool,
        /// The number of voided loads. They still answer their callers, but do not fill the cache.
        voided: usize,
    },
    /// The entry carried an invalidated tag, and was evicted.
    Tagged(Tag),
    /// The whole cache was purged.
    Purged,
    /// The entry had expired, and was evicted.
    Expired,
    /// The entry was evicted to make room for others.
    Space,
}

impl Cache {
    /// Returns the entry of a key and its recent history: the loads that filled it, the
    /// invalidations and their causes, the voided loads. `None` if the cache knows nothing about
    /// the key.
    ///
    /// The history comes from a recorder of at most a fiftieth of the cache's capacity (at least 8
    /// KiB, at most about 1.1 MB). Loads and evictions write to it; hits never do. Old records make
    /// room for new ones, and records of a busy key for those of its neighbours, so a small cache
    /// remembers less. The call never promotes, never loads, and does not count as a hit.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, Event, GetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// let key = CacheKey::new("api-keys", &["abcd"]);
    /// assert!(cache.explain(&key).is_none());
    ///
    /// let load = || async { Ok::<_, std::io::Error>(Some("alice".to_owned())) };
    /// cache.get::<String, _>(&key, GetOptions::default(), load).await?;
    /// cache.invalidate_local(&key);
    ///
    /// let why = cache.explain(&key).expect("something is known");
    /// assert!(why.held.is_none());
    /// assert_eq!(why.history[0].event, Event::Invalidated { held: true, voided: 0 });
    /// assert!(matches!(why.history[1].event, Event::Loaded { refused: None, .. }));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn explain(&self, key: &CacheKey) -> Option<Explanation> {
        let (node, named) = (&self.0.node, &self.0.named);
        let key_ref = named.key_ref(key);
        let now = node.now();
        let held = node.level2.find(&key_ref).filter(|it| it.expires > now);
        let held = held.map(|found| HeldNow {
            type_name: found.value.as_deref().map(|value| value.type_name()),
            age: now.since(found.read),
            remaining: (found.expires != Moment::NEVER).then(|| found.expires.since(now)),
            number: found.number.0,
            bytes: found.weight.into(),
        });

        let (mut records, wide) = node.recorder.of(key_ref.hash_value(), named.index);
        if held.is_none() && records.is_empty() {
            return None;
        }

        // A purge before the key's first record did not affect the key.
        let first = records.last().map_or(now, |record| record.at);
        records.extend(wide.into_iter().filter(|record| record.at >= first));
        records.sort_by_key(|record| std::cmp::Reverse((record.at, record.number)));

        let history = records.into_iter().map(|record| self.happened(record, now));
        Some(Explanation {
            held,
            history: history.collect(),
        })
    }

    fn happened(&self, record: Record, now: Moment) -> Happened {
        let recorder = &self.0.node.recorder;
        // An event without a reason of its own has that of the change whose handling caused it.
        let (of_cause, handlers) = record
            .cause
            .map_or((None, None), |cause| recorder.of_cause(cause));
        let reason = record.reason.or(of_cause);
        let handlers = handlers.or_else(|| recorder.of_reason(reason.as_ref()?));
        Happened {
            ago: now.since(record.at),
            number: record.number.0,
            cause: record.cause.map(|cause| cause.0),
            reason,
            handlers,
            event: match record.kind {
                RecordKind::Loaded { by, took, refused } => Event::Loaded { by, took, refused },
                RecordKind::Failed { by, took } => Event::Failed { by, took },
                RecordKind::Invalidated { held, voided } => Event::Invalidated { held, voided },
                RecordKind::Tagged(tag) => Event::Tagged(tag),
                RecordKind::Purged => Event::Purged,
                RecordKind::Expired => Event::Expired,
                RecordKind::Space => Event::Space,
            },
        }
    }

    /// Notes how far the handlers of a change have got, for [`explain`](Self::explain). `number` is
    /// that of the change ([`apply_change`](Self::apply_change)).
    pub fn note_handlers(&self, number: u64, handlers: Handlers) {
        self.0.node.recorder.handled(Number(number), handlers);
    }
}
