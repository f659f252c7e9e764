//! Children of updated rows: if a schema says `OnUpdate::Evict`, an update of the parent evicts
//! them too.
//!
//! A record names its own row alone. The log finds the children, to any depth and in batches, and a
//! batch of records is applied once these are evicted too. The rows that the records name are
//! evicted before anything is asked. Where the log answers and cannot find them, everything is
//! evicted in their place: the node goes on.

use std::{collections::BTreeMap, sync::Arc};

use tidings_core::{
    Chain, Operation, Value,
    log::{Body, Mark, Record},
};

use super::shared::Shared;

/// The updated rows of one entity in one commit.
type Parents = BTreeMap<(u64, Arc<str>), (Mark, Vec<Value>)>;

/// The number of refusals in a row after which the node checks whether the log answers anything.
pub(super) const REFUSALS: u32 = 3;

/// What happened to the children of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Children {
    Evicted,
    /// The log answers, but cannot say which they are: for example, their table is gone.
    Unknown,
}

impl Shared {
    /// Evicts the children of a batch's updated rows. Asks for as long as the log is out of reach,
    /// and no longer.
    pub(crate) async fn evict_children(&self, parents: Parents) -> Children {
        for ((_, entity), (mark, keys)) in parents {
            let mut refusals = 0;
            loop {
                match self.log.children(&entity, keys.clone()).await {
                    Ok(children) => {
                        self.evict_with_parent(mark, &children);
                        break;
                    }
                    Err(error) => {
                        refusals += 1;
                        if refusals >= REFUSALS && self.log.answers().await.is_ok() {
                            tracing::error!(error = %Chain(&error), %entity, "children could not be found: everything is evicted");
                            return Children::Unknown;
                        }
                        tracing::debug!(error = %Chain(&error), %entity, "children could not be found yet");
                        self.clock.sleep(self.settings.pause()).await;
                    }
                }
            }
        }

        Children::Evicted
    }

    /// Returns the updated rows whose children must be evicted.
    pub(crate) fn parents(&self, records: &[Record]) -> Parents {
        let mut parents = Parents::new();
        for record in records {
            if let Body::Row(row) = &record.body
                && row.operation == Operation::Update
                && self.catalog.has_children(&row.entity)
            {
                let of = (record.mark.number(), Arc::clone(&row.entity));
                let (_, keys) = parents
                    .entry(of)
                    .or_insert_with(|| (record.mark, Vec::new()));

                // No row refers to a key of several parts.
                if let Some(key) = row.key.single()
                    && !keys.contains(key)
                {
                    keys.push(key.clone());
                }
            }
        }

        parents
    }
}
