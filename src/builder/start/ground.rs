//! [`Ground`]: what every step of a start needs.

use std::sync::Arc;

use tidings_cluster::ClusterSettings;
use tidings_core::{
    BoxError, OnDelete, OnUpdate, Schema, check_all,
    clock::Clock,
    spawn::{Spawn, TokioSpawn},
};
use tidings_events::MAX_WORKERS;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::super::NodeBuilder;
use crate::error::StartError;

/// What every step of the start needs.
pub(super) struct Ground {
    pub(super) node_id: String,
    pub(super) runtime: Handle,
    pub(super) spawn: Arc<dyn Spawn>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: ClusterSettings,
    /// The entities with a table.
    pub(super) schemas: Vec<&'static Schema>,
    /// The schemas without a table.
    pub(super) recorded: Vec<&'static Schema>,
}

impl Ground {
    /// Checks what can be checked without asking anything.
    pub(super) fn of(builder: &mut NodeBuilder) -> Result<Self, StartError> {
        if !(1..=MAX_WORKERS).contains(&builder.workers) {
            return Err(StartError::Workers(builder.workers));
        }

        let runtime = match builder.runtime.take() {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|_| StartError::NoRuntime)?,
        };
        let schemas: Vec<&'static Schema> = builder.entities.iter().map(|it| it.schema).collect();
        check_all(&schemas)?;
        let recorded: Vec<_> = builder.recorded.iter().map(|it| it.schema).collect();
        check_recorded(&recorded)?;

        let node_id = builder.node_id.take();
        let settings = std::mem::take(&mut builder.log);
        let ground = Self {
            node_id: node_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            spawn: Arc::new(TokioSpawn::new(runtime.clone())),
            runtime,
            clock: Arc::clone(&builder.clock),
            settings: settings.handler_deadline(builder.handler_deadline),
            schemas,
            recorded,
        };
        check_all(&ground.heard())?;
        ground.heard().iter().for_each(|schema| schema.mask_keys());
        builder.audit.check().map_err(StartError::Audit)?;

        Ok(ground)
    }

    /// Returns all entities whose changes the node hears of.
    pub(super) fn heard(&self) -> Vec<&'static Schema> {
        [self.schemas.as_slice(), &self.recorded].concat()
    }
}

/// Refuses what an entity without a table cannot do: no one finds its rows by what they refer to.
fn check_recorded(recorded: &[&'static Schema]) -> Result<(), StartError> {
    for schema in recorded {
        for field in schema.fields() {
            let Some(foreign) = field.reference() else {
                continue;
            };

            if foreign.on_delete != OnDelete::Restrict || foreign.on_update == OnUpdate::Evict {
                let (entity, field, parent) = (schema.name(), field.name(), &foreign.entity);
                return Err(refused(format!(
                    "{entity} is recorded and has no table, so its rows cannot go with those of \
                     {parent}: leave on_delete and on_update out of {field}, and record what \
                     becomes of them"
                )));
            }
        }
    }
    Ok(())
}

/// Refuses what the log was asked to do.
pub(super) fn refused(message: impl Into<BoxError>) -> StartError {
    StartError::Log(message.into())
}
