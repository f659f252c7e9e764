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
//! What the schemas know is evicted in every case. What handlers would have evicted by hand is not
//! known here: so where some of them did not hear of a change, or may not, everything is evicted,
//! in every named cache of the node.
//!
//! A commit of more rows than are told one by one purges too, and is a gap to those who asked to
//! hear of gaps. They hear of it before the write returns; events of earlier commits may come after
//! it.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tidings_cache::{Cache, ChangedRow, Handlers, Reason};
use tidings_core::{
    Cause, Chain, CrudEvent, Entity, Operation, Origin, RowError, Schema,
    log::{Gap, GapReason, Mark},
    spawn::Spawn,
};
use tidings_events::{Channel, CrudChannel, DeclareError, Delivery, Handled, Ticket, WorkerEvents};
use tidings_store::{ChangeSet, ChangeSink, RowChange};

use crate::{
    feed::Feed,
    progress::{Progress, Step},
};

/// How many rows of a commit are named as the reason of an eviction.
const NAMED: usize = 8;

/// Declares an entity's channel; kept as a function, because the entity's type is known only where
/// it is named.
pub(crate) type Declare = fn(&WorkerEvents) -> Result<Arc<dyn Announce>, DeclareError>;

/// Declares the channel of an entity; see [`Declare`].
pub(crate) fn declare_channel<E: Entity>(
    bus: &WorkerEvents,
) -> Result<Arc<dyn Announce>, DeclareError> {
    Ok(Arc::new(bus.declare_crud::<E>()?))
}

/// A CRUD channel without its entity's type.
pub(crate) trait Announce: Send + Sync {
    /// Fixes the change's place in the order of all changes. Never runs a handler, never waits.
    fn enqueue(&self, change: RowChange, cause: Cause) -> Result<Ticket, RowError>;

    /// Returns whether anything listens.
    fn is_heard(&self) -> bool;
}

impl<E: Entity> Announce for CrudChannel<E> {
    fn enqueue(&self, change: RowChange, cause: Cause) -> Result<Ticket, RowError> {
        let entity = E::from_row(change.row)?;
        let event = match (change.operation, change.old_row) {
            (Operation::Update, Some(old)) => CrudEvent::updated(E::from_row(old)?, entity),
            (operation, _) => CrudEvent {
                operation,
                entity,
                old_entity: None,
                schema: E::schema(),
            },
        };
        Ok(CrudChannel::enqueue(self, event, cause))
    }

    fn is_heard(&self) -> bool {
        self.channel().receiver_count() > 0
    }
}

/// How many changes did not end as they should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeStats {
    /// Changes whose write returned before all of their handlers had run. The handlers run later.
    pub late: u64,
    /// Changes that some handlers missed, or that the bus refused. The node's caches were purged
    /// for each.
    pub missed: u64,
    /// Changes that could not be announced, because their row does not fit their type, or reading
    /// it panicked. The node's caches were purged for each.
    pub unannounced: u64,
    /// Commits whose end was not known. The node's caches were purged for each.
    pub in_doubt: u64,
    /// Commits that changed more rows than are told one by one. The node's caches were purged for
    /// each, and each was a gap.
    pub untold: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    late: AtomicU64,
    missed: AtomicU64,
    unannounced: AtomicU64,
    in_doubt: AtomicU64,
    untold: AtomicU64,
}

impl Counts {
    pub(crate) fn snapshot(&self) -> ChangeStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ChangeStats {
            late: read(&self.late),
            missed: read(&self.missed),
            unannounced: read(&self.unannounced),
            in_doubt: read(&self.in_doubt),
            untold: read(&self.untold),
        }
    }
}

fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// The CRUD channels of a node's entities, and what became of the changes on them. Clones are the
/// same.
#[derive(Clone)]
pub(crate) struct Channels {
    cache: Cache,
    counts: Arc<Counts>,
    by_name: Arc<HashMap<&'static str, Arc<dyn Announce>>>,
}

impl Channels {
    pub(crate) fn declare(
        entities: impl IntoIterator<Item = (&'static Schema, Declare)>,
        events: &WorkerEvents,
        cache: Cache,
    ) -> Result<Self, DeclareError> {
        let by_name = entities
            .into_iter()
            .map(|(schema, declare)| Ok((schema.name(), declare(events)?)))
            .collect::<Result<_, DeclareError>>()?;
        Ok(Self {
            cache,
            counts: Arc::default(),
            by_name: Arc::new(by_name),
        })
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Returns whether anything listens to the changes of an entity.
    pub(crate) fn are_heard(&self, entity: &str) -> bool {
        let channel = self.by_name.get(entity);
        channel.is_some_and(|channel| channel.is_heard())
    }

    /// Queues one change; one that cannot be announced is logged and counted, never a reason to
    /// fail a write that is already committed.
    pub(crate) fn enqueue(&self, change: RowChange, cause: Cause) -> Option<Ticket> {
        let (entity, operation) = (change.schema.name(), change.operation);
        let channel = self.by_name.get(entity)?;
        // The row is read into the entity's own type, by its code.
        let enqueue = AssertUnwindSafe(|| channel.enqueue(change, cause));
        let error = match catch_unwind(enqueue) {
            Ok(Ok(ticket)) => return Some(ticket),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "reading its row panicked".to_owned(),
        };

        self.cache.purge_node();
        count(&self.counts.unannounced);
        tracing::error!(
            entity, %operation, error,
            "a change could not be announced; the caches are purged"
        );
        None
    }

    /// Notes how a change was handled; purges for what the handlers that missed it would have
    /// evicted.
    pub(crate) fn note(&self, handled: &Handled) {
        match handled {
            Handled::Everywhere => {}
            Handled::Late(late) => {
                count(&self.counts.late);
                tracing::warn!(?late, "a write returns before all of its handlers have run");
            }
            // Missed or refused, or whatever else the bus may come to say.
            handled => {
                // The write is about to say that nothing old is served.
                self.cache.purge_node();
                count(&self.counts.missed);
                tracing::warn!(?handled, "handlers missed a change; the caches are purged");
            }
        }
    }

    /// Notes how a change was handled, as [`note`](Self::note) does, and remembers it of the
    /// change, which is known by its number.
    pub(crate) fn note_of(&self, number: u64, handled: &Handled) {
        let handlers = match handled {
            Handled::Everywhere => Handlers::Everywhere,
            Handled::Late(_) => Handlers::Late,
            _ => Handlers::Missed,
        };
        self.cache.note_handlers(number, handlers);
        self.note(handled);
    }

    /// Evicts everything, because a commit changed more rows than are told one by one.
    pub(crate) fn purge_untold(&self) {
        let _due_to = Reason::Gap(GapReason::Overflow).enter();
        self.cache.purge_node();
        count(&self.counts.untold);
    }

    /// Notes that the end of a commit is not known.
    pub(crate) fn note_doubt(&self) {
        count(&self.counts.in_doubt);
    }
}

/// Hears of changes that were not received, in their place in the order of changes.
pub(crate) type OnGap = Arc<dyn Fn(&Gap) + Send + Sync>;

/// All that hear of gaps. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Gaps {
    handlers: Arc<[OnGap]>,
    /// For workers, in the order of their other events.
    channel: Option<Channel<Gap>>,
}

/// The channel on which workers hear of gaps.
pub(crate) const GAP: (&str, &str) = ("tidings", "gap");

impl Gaps {
    pub(crate) fn new(handlers: Vec<OnGap>, channel: Option<Channel<Gap>>) -> Self {
        let handlers = handlers.into();
        Self { handlers, channel }
    }

    /// Tells the node's own alone, where workers find a gap by themselves. One that panics is
    /// logged.
    pub(crate) fn tell_node(&self, gap: &Gap) {
        for handler in self.handlers.iter() {
            let told = AssertUnwindSafe(|| handler(gap));
            if catch_unwind(told).is_err() {
                tracing::error!(%gap, "a handler of gaps panicked");
            }
        }
    }

    /// Tells all of them.
    pub(crate) fn tell(&self, gap: &Gap) {
        self.tell_node(gap);
        if let Some(channel) = &self.channel
            && let Err(refused) = channel.post(gap.clone())
        {
            tracing::error!(%gap, error = %Chain(&refused), "workers did not hear of a gap");
        }
    }
}

impl fmt::Debug for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gaps").field(&self.handlers.len()).finish()
    }
}

/// The node's subscriber to its store's commits, where the store keeps no log.
pub(crate) struct Changes {
    channels: Channels,
    /// How long a write waits for its handlers.
    deadline: Duration,
    gaps: Gaps,
    progress: Arc<Progress>,
    /// What is told to those that watch the node.
    feed: Feed,
    /// Where handlers are waited for that their write does not wait for.
    spawn: Arc<dyn Spawn>,
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
        Self {
            channels,
            deadline,
            gaps,
            progress,
            feed,
            spawn,
        }
    }

    /// Returns the cache that evicts what is committed.
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
            return std::future::ready(()).boxed();
        }

        // In the order of commits, and before any handler runs.
        self.feed.committed(&set.changes, &set.touched);

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
}

/// Names what a commit has changed, for those who ask why something was evicted.
pub(crate) fn reason(changes: &[RowChange], node: Option<&Arc<str>>, mark: Option<Mark>) -> Reason {
    let rows = changes.iter().take(NAMED).map(|change| {
        let key = change.row.0.get(change.schema.primary_key());
        let key = key.cloned().unwrap_or_default();
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
    use tidings_cache::{CacheKey, GetOptions};
    use tidings_core::{Row, spawn::TokioSpawn};

    use super::*;
    use crate::feed::Keeps;

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
        let feed = Feed::new("a", Keeps::OnceWatched);
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

    /// Caches what only handlers know of, in a cache of another name.
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
}
