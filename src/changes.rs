//! [`Changes`]: turns each commit of a store without a log into evictions and events.
//!
//! The store calls [`Changes::committed`] in commit order while its writer is still held, so the
//! order of the two steps taken there is the order of commits on this node:
//!
//! 1. the cache evicts, and its number becomes the change's cause;
//! 2. the change is queued on the bus.
//!
//! Neither waits. Handlers run in the future that `committed` returns, after the writer was
//! released, so that a handler may write.
//!
//! The entries that the schemas derive from a row are evicted in every case. Which entries handlers
//! would have evicted by hand is not known here. So if some handlers missed a change, or may have,
//! everything is evicted in every named cache of the node.
//!
//! A commit of too many rows to announce one by one purges too, and is a gap to handlers of gaps.
//! They receive it before the write returns; events of earlier commits may come after it.

// Layers, the lowest first: a module imports only from those above it in this list.

// The channels of the entities. Must not know what a commit is.
mod channels;

// Handlers of gaps. Must not know what a commit is.
mod gaps;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tidings_cache::{Cache, ChangedRow, Reason};
use tidings_core::{
    Cause, Origin,
    log::{Bookmark, Gap, GapReason, Mark, Resume},
    spawn::Spawn,
};
use tidings_events::{Delivery, Ticket};
use tidings_store::{ChangeSet, ChangeSink, RowChange};

pub use self::channels::ChangeStats;
pub(crate) use self::{
    channels::{Channels, Counts, Declare, declare_channel},
    gaps::{GAP, Gaps, OnGap},
};
use crate::{
    feed::{Feed, Sequence},
    progress::{Progress, Step},
};

/// How many rows of a commit are listed as the reason of an eviction.
const NAMED: usize = 8;

/// The node's subscriber to its store's commits, if the store keeps no log.
pub(crate) struct Changes {
    channels: Channels,
    /// How long a write waits for its handlers.
    deadline: Duration,
    gaps: Gaps,
    progress: Arc<Progress>,
    /// Delivers the changes to watchers.
    feed: Feed,
    /// Runs the waits for handlers that their write no longer waits for.
    spawn: Arc<dyn Spawn>,
    /// The last commit. Written and read while a write holds its place in the order.
    last: Mutex<Bookmark>,
}

impl Changes {
    pub(crate) fn new(
        channels: Channels,
        deadline: Duration,
        gaps: Gaps,
        progress: Arc<Progress>,
        feed: Feed,
        spawn: Arc<dyn Spawn>,
    ) -> Self {
        let mark = Mark::new(feed.epoch(), progress.last());
        let last = Bookmark::new(mark, Resume::Counted(feed.ring().end().0));
        Self {
            channels,
            deadline,
            gaps,
            progress,
            feed,
            spawn,
            last: Mutex::new(last),
        }
    }

    /// Notes the last commit, and where readers that know it go on.
    fn note(&self, commit: u64, next: Sequence) {
        let mark = Mark::new(self.feed.epoch(), commit);
        let last = Bookmark::new(mark, Resume::Counted(next.0));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Returns the cache that evicts the changed rows.
    pub(crate) fn cache(&self) -> &Cache {
        &self.channels.cache
    }
}

impl ChangeSink for Changes {
    fn committed(&self, set: ChangeSet) -> BoxFuture<'static, ()> {
        // Counted first: a position that is named from here on covers it.
        let step = self.progress.begin();
        let due_to = reason(&set.changes, Some(self.feed.node()), None).enter();
        let number = self.channels.cache.apply_change(&set.evict, &[]);
        drop(due_to);
        if !set.touched.is_empty() {
            self.channels.purge_untold();
        }

        if set.no_event {
            self.note(step.number(), self.feed.ring().end());
            return std::future::ready(()).boxed();
        }

        // In the order of commits, and before any handler runs.
        let next = self.feed.committed(&set.changes, &set.touched);
        self.note(step.number(), next);

        let gaps = (!set.touched.is_empty()).then(|| self.gaps.clone());
        let cause = Cause {
            number,
            origin: Origin::Local,
        };
        let tickets: Vec<_> = set
            .changes
            .into_iter()
            .filter_map(|change| self.channels.enqueue(change, cause))
            .collect();

        // A write made inside a handler must not wait for handlers that run after it.
        let waits = set.cause.is_none();
        let (deadline, channels) = (self.deadline, self.channels.clone());
        let spawn = Arc::clone(&self.spawn);

        async move {
            if let Some(gaps) = gaps {
                for schema in &set.touched {
                    gaps.tell(&Gap::of_entity(GapReason::Overflow, schema.name()));
                }
            }

            let mut left: Vec<_> = tickets.into_iter().map(Ticket::dispatch).collect();
            if waits {
                let handled = left.drain(..).map(|it| it.handled_within(deadline));
                let handled = join_all(handled).await;
                for (handled, late) in handled {
                    channels.note_of(number, &handled);
                    left.extend(late);
                }
            }

            // The write does not wait for these, but whatever asks for its position does.
            left.retain(|delivery| !delivery.is_complete());
            if !left.is_empty() {
                drop(spawn.spawn(finish(left, number, step, channels).boxed()));
            }
        }
        .boxed()
    }

    fn in_doubt(&self, set: &ChangeSet) {
        let _due_to = Reason::Doubt.enter();
        self.channels.cache.apply_change(&set.evict, &[]);
        self.channels.cache.purge_node();
        self.channels.note_doubt();
        tracing::warn!("the end of a commit is not known; the caches are purged");
    }

    fn last(&self) -> Option<Bookmark> {
        Some(*self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns a commit's changes as the reason of an eviction.
pub(crate) fn reason(changes: &[RowChange], node: Option<&Arc<str>>, mark: Option<Mark>) -> Reason {
    let rows = changes.iter().take(NAMED).map(|change| {
        let key = change.schema.key_of(&change.row);
        ChangedRow::new(change.schema.name(), change.operation, key)
    });
    Reason::Change {
        rows: rows.collect(),
        node: node.cloned(),
        place: None,
        mark,
    }
}

/// Waits for the handlers of a commit that its write did not wait for.
async fn finish(left: Vec<Delivery>, number: u64, step: Step, channels: Channels) {
    let handled = left.into_iter().map(|it| it.handled(Duration::MAX));
    for handled in join_all(handled).await {
        channels.note_of(number, &handled);
    }
    drop(step);
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use tidings_cache::{CacheKey, GetOptions};
    use tidings_core::{Operation, Row, RowError, Schema, clock::ManualClock, spawn::TokioSpawn};

    use super::{channels::Announce, *};
    use crate::feed::{Entry, Keeps, Taken};

    /// A channel that can announce nothing.
    enum Faulty {
        Refuses,
        Panics,
    }

    impl Announce for Faulty {
        fn enqueue(&self, _: RowChange, _: Cause) -> Result<Ticket, RowError> {
            match self {
                Self::Refuses => Err(RowError {
                    entity: "things".to_owned(),
                    field: "id".to_owned(),
                }),
                Self::Panics => panic!("the entity's own code"),
            }
        }

        fn is_heard(&self) -> bool {
            true
        }
    }

    fn changes(fault: Faulty) -> Changes {
        let by_name = HashMap::from([("things", Arc::new(fault) as Arc<dyn Announce>)]);
        let channels = Channels {
            cache: Cache::builder().build().expect("the defaults are allowed"),
            counts: Arc::default(),
            by_name: Arc::new(by_name),
        };
        let spawn = TokioSpawn::current().expect("inside of a runtime");
        let (gaps, progress) = (Gaps::default(), Progress::new());
        let feed = Feed::new("a", Keeps::OnceWatched, Arc::new(ManualClock::new()));
        let spawn = Arc::new(spawn);
        Changes::new(channels, Duration::ZERO, gaps, progress, feed, spawn)
    }

    fn set() -> ChangeSet {
        let schema = Box::leak(Box::new(Schema::builder("things").build()));
        ChangeSet {
            changes: vec![RowChange {
                schema,
                operation: Operation::Create,
                row: Row(Vec::new()),
                old_row: None,
            }],
            evict: Vec::new(),
            touched: Vec::new(),
            no_event: false,
            cause: None,
            commit: None,
            mark: None,
        }
    }

    /// Caches a value that only handlers know, in a cache of another name.
    fn known_to_handlers(changes: &Changes) -> impl Fn() -> bool + use<> {
        let other = changes.channels.cache.named("other").expect("a new name");
        let key = CacheKey::new("summary", &["things"]);
        let set = other.set(&key, Some(1_u8), GetOptions::default());
        set.expect("a byte is not too heavy");
        move || other.cached::<u8>(&key).is_ok_and(|entry| entry.is_some())
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_announced_is_counted_and_purges_every_cache() {
        let changes = changes(Faulty::Refuses);
        let cached = known_to_handlers(&changes);
        assert!(cached());
        drop(changes.committed(set()));
        assert!(!cached());
        assert_eq!(changes.channels.counts.snapshot().unannounced, 1);
    }

    #[tokio::test]
    async fn a_row_whose_reading_panics_is_counted_and_purges_every_cache() {
        let changes = changes(Faulty::Panics);
        let cached = known_to_handlers(&changes);
        assert!(cached());
        drop(changes.committed(set()));
        assert!(!cached());
        assert_eq!(changes.channels.counts.snapshot().unannounced, 1);
    }

    #[tokio::test]
    async fn a_commit_in_doubt_is_counted_and_purges_every_cache() {
        let changes = changes(Faulty::Refuses);
        let cached = known_to_handlers(&changes);
        changes.in_doubt(&set());
        assert!(!cached());
        assert_eq!(changes.channels.counts.snapshot().in_doubt, 1);
    }

    #[tokio::test]
    async fn a_commit_of_more_rows_than_are_told_purges_every_cache_and_is_a_gap() {
        let mut changes = changes(Faulty::Refuses);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hook = Arc::clone(&heard);
        let on_gap = move |gap: &Gap| hook.lock().expect("a list").push(gap.clone());
        changes.gaps = Gaps::new(vec![Arc::new(on_gap)], None);
        let mut watcher = changes.feed.ring().subscribe().expect("room for a watcher");
        let cached = known_to_handlers(&changes);
        let mut set = set();
        set.touched = set.changes.drain(..).map(|it| it.schema).collect();

        let handled = changes.committed(set);
        assert!(!cached());
        assert_eq!(changes.channels.counts.snapshot().untold, 1);
        let gap = Gap::of_entity(GapReason::Overflow, "things");
        let told = watcher.take();
        assert!(
            matches!(&told, Taken::Entry(Entry::Gap(told)) if *told.gap() == gap),
            "{told:?}"
        );
        handled.await;
        assert_eq!(*heard.lock().expect("a list"), [gap]);
    }
}
