//! [`Channels`]: the CRUD channels of a node's entities, and how the changes on them ended.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tidings_cache::{Cache, Handlers, Reason};
use tidings_core::{Cause, CrudEvent, Entity, Operation, RowError, Schema, log::GapReason};
use tidings_events::{CrudChannel, DeclareError, Handled, Ticket, WorkerEvents};
use tidings_store::RowChange;

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
    /// Commits that changed too many rows to announce one by one. The node's caches were purged for
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

/// The CRUD channels of a node's entities, and how the changes on them ended. Clones share them.
#[derive(Clone)]
pub(crate) struct Channels {
    pub(super) cache: Cache,
    pub(super) counts: Arc<Counts>,
    pub(super) by_name: Arc<HashMap<&'static str, Arc<dyn Announce>>>,
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

    /// Notes how a change was handled. If handlers missed it, purges in place of what they would
    /// have evicted.
    pub(crate) fn note(&self, handled: &Handled) {
        match handled {
            Handled::Everywhere => {}
            Handled::Late(late) => {
                count(&self.counts.late);
                tracing::warn!(?late, "a write returns before all of its handlers have run");
            }
            // Missed or refused, or an outcome that the bus may add later.
            handled => {
                // The write is about to return, which promises that nothing old is served.
                self.cache.purge_node();
                count(&self.counts.missed);
                tracing::warn!(?handled, "handlers missed a change; the caches are purged");
            }
        }
    }

    /// Notes how a change was handled, as [`note`](Self::note) does, and remembers it under the
    /// number of the change.
    pub(crate) fn note_of(&self, number: u64, handled: &Handled) {
        let handlers = match handled {
            Handled::Everywhere => Handlers::Everywhere,
            Handled::Late(_) => Handlers::Late,
            _ => Handlers::Missed,
        };
        self.cache.note_handlers(number, handlers);
        self.note(handled);
    }

    /// Evicts everything, because a commit changed too many rows to announce one by one.
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
