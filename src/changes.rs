//! From a commit to its evictions and its handlers.
//!
//! The store calls [`Changes::committed`] in commit order while its writer is still held, so the order of the
//! two steps taken there is the order of commits on this node:
//!
//! 1. the cache evicts, and its number becomes the change's cause;
//! 2. the change is queued on the bus.
//!
//! Neither waits. Handlers run in the future that `committed` returns, after the writer was released, so that
//! a handler may write.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use tidings_cache::Cache;
use tidings_core::{Cause, CrudEvent, Entity, Operation, Origin, RowError, Schema};
use tidings_events::{CrudChannel, DeclareError, Handled, Ticket, WorkerEvents};
use tidings_store::{ChangeSet, ChangeSink, RowChange};

/// Declares an entity's channel; kept as a function, because the entity's type is known only where it is named.
pub(crate) type Declare = fn(&WorkerEvents) -> Result<Arc<dyn Announce>, DeclareError>;

/// See [`Declare`].
pub(crate) fn declare_channel<E: Entity>(
    bus: &WorkerEvents,
) -> Result<Arc<dyn Announce>, DeclareError> {
    Ok(Arc::new(bus.declare_crud::<E>()?))
}

/// A CRUD channel without its entity's type.
pub(crate) trait Announce: Send + Sync {
    /// Fixes the change's place in the order of all changes. Never runs a handler, never waits.
    fn enqueue(&self, change: RowChange, cause: Cause) -> Result<Ticket, RowError>;
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
}

/// The node's subscriber to its store's commits.
pub(crate) struct Changes {
    cache: Cache,
    channels: HashMap<&'static str, Arc<dyn Announce>>,
    /// How long a write waits for its handlers.
    deadline: Duration,
}

impl Changes {
    pub(crate) fn declare(
        entities: impl IntoIterator<Item = (&'static Schema, Declare)>,
        events: &WorkerEvents,
        cache: Cache,
        deadline: Duration,
    ) -> Result<Self, DeclareError> {
        let channels = entities
            .into_iter()
            .map(|(schema, declare)| Ok((schema.name(), declare(events)?)))
            .collect::<Result<_, DeclareError>>()?;
        Ok(Self {
            cache,
            channels,
            deadline,
        })
    }

    /// Queues one change; one that cannot be announced is logged and counted, never a reason to fail a write
    /// that is already committed.
    fn enqueue(&self, change: RowChange, cause: Cause) -> Option<Ticket> {
        let (entity, operation) = (change.schema.name(), change.operation);
        let channel = self.channels.get(entity)?;
        channel
            .enqueue(change, cause)
            .inspect_err(|error| {
                tracing::error!(entity, %operation, %error, "a change could not be announced");
            })
            .ok()
    }
}

impl ChangeSink for Changes {
    fn committed(&self, set: ChangeSet) -> BoxFuture<'static, ()> {
        let number = self.cache.apply_change(&set.evict, &[]);
        if set.no_event {
            return std::future::ready(()).boxed();
        }
        let cause = Cause {
            number,
            origin: Origin::Local,
        };
        let tickets: Vec<_> = set
            .changes
            .into_iter()
            .filter_map(|change| self.enqueue(change, cause))
            .collect();
        // A write made inside a handler must not wait for handlers that run after it.
        let waits = set.cause.is_none();
        let (deadline, cache) = (self.deadline, self.cache.clone());
        async move {
            let deliveries: Vec<_> = tickets.into_iter().map(Ticket::dispatch).collect();
            if !waits {
                return;
            }
            let handled = futures_util::future::join_all(
                deliveries.into_iter().map(|it| it.handled(deadline)),
            );
            for handled in handled.await {
                match handled {
                    Handled::Everywhere => {}
                    Handled::Missed(workers) => {
                        // What their handlers would have invalidated by hand is unknown, and the write is
                        // about to say that nothing old is served.
                        tracing::warn!(workers, "workers missed a change; the cache is purged");
                        cache.purge_local();
                    }
                    late => {
                        tracing::warn!(
                            ?late,
                            "a write returns before all of its handlers have run"
                        );
                    }
                }
            }
        }
        .boxed()
    }

    fn in_doubt(&self, set: &ChangeSet) {
        self.cache.apply_change(&set.evict, &[]);
    }
}
