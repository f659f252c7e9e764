//! Children of updated rows: where a schema says `evict_on_update`, what is cached of them goes
//! with their parent.
//!
//! A record names its own row alone. The log finds the children, to any depth and in batches, and a
//! batch of records is applied once these are evicted too. The rows that the records name are
//! evicted before anything is asked.

use std::{collections::BTreeMap, sync::Arc};

use tidings_core::{
    Chain, Operation, Value,
    log::{Body, Mark, Record},
};

use super::shared::Shared;

/// The updated rows of one entity in one commit.
type Parents = BTreeMap<(u64, Arc<str>), (Mark, Vec<Value>)>;

impl Shared {
    /// Evicts what goes with the updated rows of a batch. Asks the log until it answers.
    pub(crate) async fn evict_children(&self, parents: Parents) {
        for ((_, entity), (mark, keys)) in parents {
            loop {
                match self.log.children(&entity, keys.clone()).await {
                    Ok(children) => {
                        self.evict_with_parent(mark, &children);
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(error = %Chain(&error), %entity, "children could not be found");
                        self.clock.sleep(self.settings.pause()).await;
                    }
                }
            }
        }
    }

    /// Returns the updated rows whose children go with them.
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
                if !keys.contains(&row.key) {
                    keys.push(row.key.clone());
                }
            }
        }
        parents
    }
}
