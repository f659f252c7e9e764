//! [`BusAnnouncer`]: handlers on worker events.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures_util::future::FutureExt;
use tidings_core::{
    Cause, Chain, CrudEvent, Entity, Operation, RowError,
    log::{Gap, GapReason, Posted},
};
use tidings_events::{CrudChannel, DeclareError, Handled, Ticket, WorkerEvents};

use crate::announce::{Announce, Change, Handling};

/// Hands changes to the CRUD channels of a bus, and gaps to their handlers.
#[derive(Default)]
pub struct BusAnnouncer {
    channels: BTreeMap<&'static str, Box<dyn Channel>>,
    gaps: Vec<GapHandler>,
}

type GapHandler = Box<dyn Fn(&Gap) + Send + Sync>;

/// A CRUD channel without its entity's type.
trait Channel: Send + Sync {
    fn enqueue(&self, change: Change) -> Result<Ticket, RowError>;
}

impl<E: Entity> Channel for CrudChannel<E> {
    fn enqueue(&self, change: Change) -> Result<Ticket, RowError> {
        let cause: Cause = change.cause;
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
        Ok(Self::enqueue(self, event, cause))
    }
}

impl BusAnnouncer {
    /// Makes an announcer that knows no entity.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an entity's channel on a bus.
    ///
    /// # Errors
    ///
    /// The bus refuses the channel.
    pub fn entity<E: Entity>(mut self, bus: &WorkerEvents) -> Result<Self, DeclareError> {
        let channel = bus.declare_crud::<E>()?;
        self.channels.insert(E::schema().name(), Box::new(channel));
        Ok(self)
    }

    /// Registers a handler of gaps, which receives them in the order of the changes.
    #[must_use]
    pub fn on_gap(mut self, handler: impl Fn(&Gap) + Send + Sync + 'static) -> Self {
        self.gaps.push(Box::new(handler));
        self
    }
}

impl Announce for BusAnnouncer {
    fn announce(&self, change: Change) -> Handling {
        let entity = change.schema.name();
        let Some(channel) = self.channels.get(entity) else {
            return std::future::ready(()).boxed();
        };

        match channel.enqueue(change) {
            Ok(ticket) => {
                let delivery = ticket.dispatch();
                async move {
                    // Without a deadline: a report must not come before the handlers. A worker that
                    // dies ends the wait.
                    match delivery.handled(Duration::MAX).await {
                        Handled::Everywhere | Handled::Refused(_) => {}
                        missed => tracing::warn!(entity, ?missed, "handlers missed a change"),
                    }
                }
                .boxed()
            }
            Err(error) => {
                // The record does not fit this program's struct: handlers must not believe that
                // nothing changed.
                tracing::error!(entity, error = %Chain(&error), "a change could not be announced");
                self.gap(&Gap::of_entity(GapReason::Malformed, entity));
                std::future::ready(()).boxed()
            }
        }
    }

    fn event(&self, _: &Posted, _: Cause) -> Handling {
        // It declares only the channels of entities.
        std::future::ready(()).boxed()
    }

    fn gap(&self, gap: &Gap) {
        self.gaps.iter().for_each(|handler| handler(gap));
    }

    fn listens(&self, entity: &str) -> bool {
        self.channels.contains_key(entity)
    }
}

impl fmt::Debug for BusAnnouncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.channels.keys();
        f.debug_struct("BusAnnouncer")
            .field("channels", &channels.collect::<Vec<_>>())
            .field("gaps", &self.gaps.len())
            .finish()
    }
}
