//! A reader of a log that keeps what it reads.

#![allow(dead_code, reason = "each engine's tests use a part of it")]

use std::{collections::BTreeSet, sync::Arc};

use tidings_core::{
    Operation, Row, Schema, Value,
    log::{Body, Cursor, Extent, Fields, Mark, Read, RowChange, RowRecord},
};
use tidings_store::KeptLog;

/// A reader that applies what it reads at once.
pub(crate) struct Reader {
    pub(crate) log: Arc<dyn KeptLog>,
    pub(crate) cursor: Cursor,
    pub(crate) limit: usize,
}

/// One result of a read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ReadItem {
    Row(Mark, RowRecord),
    Entity(String),
}

impl Reader {
    pub(crate) async fn of(log: impl KeptLog) -> Self {
        Self::over(Arc::new(log)).await
    }

    pub(crate) async fn over(log: Arc<dyn KeptLog>) -> Self {
        let head = log.head(None).await.expect("a head");
        Self {
            log,
            cursor: head.cursor,
            limit: 1_000,
        }
    }

    /// Reads one page.
    pub(crate) async fn page(&mut self) -> (Vec<ReadItem>, Extent) {
        let read = self.log.read(&self.cursor, self.limit, None).await;
        let Read::Batch(batch) = read.expect("a read") else {
            panic!("a gap");
        };
        self.cursor = batch.cursor;
        let received = batch
            .records
            .into_iter()
            .filter_map(|record| match record.body {
                Body::Row(row) => Some(ReadItem::Row(record.mark, row)),
                Body::Entity(entity) => Some(ReadItem::Entity(entity.to_string())),
                Body::Unreadable { entity } => panic!("a record of {entity:?} is not readable"),
                Body::Evict(_) | Body::Event(_) => None,
            });
        (received.collect(), batch.extent)
    }

    /// Reads until nothing is left.
    pub(crate) async fn all(&mut self) -> Vec<ReadItem> {
        let mut all = Vec::new();
        loop {
            let (mut received, extent) = self.page().await;
            all.append(&mut received);
            if extent == Extent::All {
                return all;
            }
        }
    }

    /// Reads until nothing is left. Returns the operation and the key of each row.
    pub(crate) async fn operations(&mut self) -> Vec<String> {
        let all = self.all().await;
        let text = |received: &ReadItem| match received {
            ReadItem::Row(_, row) => {
                format!("{} {} {}", row.operation, row.entity, row.key.to_json())
            }
            ReadItem::Entity(entity) => format!("touched {entity}"),
        };
        all.iter().map(text).collect()
    }

    /// Reads until nothing is left, and combines the changes of each row of an entity by
    /// transaction.
    pub(crate) async fn changes(&mut self, schema: &'static Schema) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut received = BTreeSet::new();
        for read in self.all().await {
            let ReadItem::Row(mark, row) = read else {
                continue;
            };
            if *row.entity != *schema.name()
                || !received.insert((mark.number(), row.key.to_json().to_string()))
            {
                continue;
            }
            let group = self
                .log
                .group(mark, &row.entity, &row.key)
                .await
                .expect("an answer");
            let group = group.expect("it is there").rows;
            if let Some(change) = RowChange::fold(&group) {
                let row = |fields: Option<&Fields>| fields.map(|it| it.to_row(schema));
                changes.push(Change {
                    operation: change.operation,
                    old: row(change.old),
                    new: row(change.new),
                });
            }
        }
        changes
    }
}

/// The change of a row in a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) operation: Operation,
    pub(crate) old: Option<Row>,
    pub(crate) new: Option<Row>,
}

pub(crate) fn text(row: Option<&Row>, field: usize) -> Option<String> {
    match row?.0.get(field)? {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}
