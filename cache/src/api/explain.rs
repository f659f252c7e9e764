//! Why a key holds what it holds: what L2 has of it, and what became of it lately.

use std::{sync::Arc, time::Duration};

use tidings_core::CacheKey;

use crate::{
    answer::tag::Tag,
    api::cache::Cache,
    fence::number::{Moment, Number},
    record::{Handlers, LoadedBy, Note, Reason, What},
};

/// What a key holds, and what became of it lately. See [`Cache::explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// What L2 holds and serves; none if that is nothing.
    pub held: Option<HeldNow>,
    /// What has happened to the key, the newest first: at most 64 things, fewer where other keys
    /// have made more happen.
    pub history: Vec<Happened>,
}

/// What L2 holds of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeldNow {
    /// The value's type, as Rust names it; none for a cached absence.
    pub type_name: Option<&'static str>,
    /// How long ago it was read.
    pub age: Duration,
    /// How long it will be served; none if it does not expire.
    pub remaining: Option<Duration>,
    /// The number that its load noted: an invalidation with a higher one is newer than it.
    pub number: u64,
    /// What it weighs.
    pub bytes: u64,
}

/// One thing that has happened to a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Happened {
    /// How long ago.
    pub ago: Duration,
    /// The number of the node's sequence at which it happened: for a load, the one that it noted
    /// before it read.
    pub number: u64,
    /// What.
    pub event: Event,
    /// The number of the change whose handling it was part of; none if it was part of none.
    pub cause: Option<u64>,
    /// What it was due to, where that was said.
    pub reason: Option<Arc<Reason>>,
    /// How far the handlers of that change have got, where that is known.
    pub handlers: Option<Handlers>,
}

/// What can happen to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A value, or an absence, was read or set.
    Loaded {
        /// What asked for it.
        by: LoadedBy,
        /// How long the load took.
        took: Duration,
        /// Why it was not kept; none if it was.
        refused: Option<&'static str>,
    },
    /// A load gave nothing: it failed, panicked or was ended.
    Failed {
        /// What asked for it.
        by: LoadedBy,
        /// How long it took.
        took: Duration,
    },
    /// The key was invalidated.
    Invalidated {
        /// L2 held something, which was evicted.
        held: bool,
        /// How many loads were voided: what they give reaches those that wait for it, and is not
        /// kept.
        voided: usize,
    },
    /// It carried a tag that was invalidated, and was evicted.
    Tagged(Tag),
    /// The whole cache was purged.
    Purged,
    /// Its time had run out, and it was evicted.
    Expired,
    /// It was evicted to make room for others.
    Space,
}

impl Cache {
    /// Returns what a key holds and what became of it lately: by what it was loaded, what
    /// invalidated it and why, which loads were voided. None if nothing is known of it.
    ///
    /// Read from a recorder of at most a fiftieth of the cache's capacity (8 KiB at least, about
    /// 1.1 MB at most), which is written when something is loaded or evicted and never on a hit:
    /// old records make room for new ones, and those of a busy key for its neighbours'. So a small
    /// cache knows less. Never promotes, never loads, and does not count as a hit.
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
    /// let told = cache.explain(&key).expect("something is known");
    /// assert!(told.held.is_none());
    /// assert_eq!(told.history[0].event, Event::Invalidated { held: true, voided: 0 });
    /// assert!(matches!(told.history[1].event, Event::Loaded { refused: None, .. }));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn explain(&self, key: &CacheKey) -> Option<Explanation> {
        let (node, named) = (&self.0.node, &self.0.named);
        let name = named.name_of(key);
        let now = node.now();
        let held = node.level2.find(&name).filter(|it| it.expires > now);
        let held = held.map(|found| HeldNow {
            type_name: found.value.as_deref().map(|value| value.type_name()),
            age: now.since(found.read),
            remaining: (found.expires != Moment::NEVER).then(|| found.expires.since(now)),
            number: found.number.0,
            bytes: found.weight.into(),
        });

        let (mut notes, wide) = node.recorder.of(name.hash_value(), named.index);
        if held.is_none() && notes.is_empty() {
            return None;
        }

        // What was purged before the key was first heard of does not concern it.
        let first = notes.last().map_or(now, |note| note.at);
        notes.extend(wide.into_iter().filter(|note| note.at >= first));
        notes.sort_by_key(|note| std::cmp::Reverse((note.at, note.number)));

        let history = notes.into_iter().map(|note| self.happened(note, now));
        Some(Explanation {
            held,
            history: history.collect(),
        })
    }

    fn happened(&self, note: Note, now: Moment) -> Happened {
        let recorder = &self.0.node.recorder;
        // What was made inside the handling of a change is due to that, if nothing else was said.
        let (of_cause, handlers) = note
            .cause
            .map_or((None, None), |cause| recorder.of_cause(cause));
        let reason = note.reason.or(of_cause);
        let handlers = handlers.or_else(|| recorder.of_reason(reason.as_ref()?));
        Happened {
            ago: now.since(note.at),
            number: note.number.0,
            cause: note.cause.map(|cause| cause.0),
            reason,
            handlers,
            event: match note.what {
                What::Loaded { by, took, refused } => Event::Loaded { by, took, refused },
                What::Failed { by, took } => Event::Failed { by, took },
                What::Invalidated { held, voided } => Event::Invalidated { held, voided },
                What::Tagged(tag) => Event::Tagged(tag),
                What::Purged => Event::Purged,
                What::Expired => Event::Expired,
                What::Space => Event::Space,
            },
        }
    }

    /// Notes how far the handlers of a change have got, for [`explain`](Self::explain). `number` is
    /// that of the change ([`apply_change`](Self::apply_change)).
    pub fn note_handlers(&self, number: u64, handlers: Handlers) {
        self.0.node.recorder.handled(Number(number), handlers);
    }
}
