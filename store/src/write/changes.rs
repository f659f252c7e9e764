//! [`ChangeBuffer`]: collects the changes of a transaction for the sink.
//!
//! Each row is one change, however often the transaction wrote it: from its values before the
//! transaction to those at the end. The memory is bounded, in rows and in bytes. Beyond that, rows
//! are no longer reported one by one, but only the entities whose rows may have changed.

use std::collections::{HashMap, HashSet};

use tidings_core::{CacheKey, Operation, Row, Schema, Value};

use crate::sink::RowChange;

/// The maximum number of rows of a commit that are reported one by one.
pub(crate) const MAX_ROWS: usize = 10_000;
/// The maximum number of bytes, roughly, that they may take.
pub(crate) const MAX_BYTES: usize = 32 << 20;
/// The maximum number of cache keys that a commit evicts one by one.
const MAX_KEYS: usize = 4 * MAX_ROWS;

/// The changes so far.
#[derive(Debug, Default)]
pub(crate) struct ChangeBuffer {
    /// `None` if a row has its first values again, or if its change moved to a later place.
    changes: Vec<Option<RowChange>>,
    /// The position of a row in `changes`.
    places: HashMap<CacheKey, usize>,
    bytes: usize,
    evict: Vec<CacheKey>,
    /// The keys in `evict`.
    evicted: HashSet<CacheKey>,
    /// The entities whose rows are not reported one by one. Once there is one, no row is.
    touched: Vec<&'static Schema>,
    extent: Extent,
}

/// Whether anything was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extent {
    #[default]
    Nothing,
    Something,
}

/// The collected changes.
#[derive(Debug)]
pub(crate) struct BufferedChanges {
    pub(crate) changes: Vec<RowChange>,
    pub(crate) evict: Vec<CacheKey>,
    pub(crate) touched: Vec<&'static Schema>,
    pub(crate) extent: Extent,
}

impl ChangeBuffer {
    /// Notes a new row.
    pub(crate) fn created(&mut self, schema: &'static Schema, row: &Row) {
        self.add(schema, None, Some(row));
    }

    /// Notes a row that replaced its predecessor.
    pub(crate) fn updated(&mut self, schema: &'static Schema, old: Row, new: &Row) {
        self.add(schema, Some(old), Some(new));
    }

    /// Notes a row that was deleted.
    pub(crate) fn deleted(&mut self, schema: &'static Schema, row: Row) {
        self.add(schema, Some(row), None);
    }

    /// Notes that rows of an entity were changed that are not reported one by one.
    pub(crate) fn touch(&mut self, schema: &'static Schema) {
        self.extent = Extent::Something;
        if self.touched.is_empty() {
            self.overflow();
        }
        self.add_touched(schema);
    }

    /// Returns whether rows are no longer reported one by one.
    pub(crate) fn is_overflown(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Notes the cache keys under which a row may be found.
    pub(crate) fn evict(&mut self, schema: &'static Schema, row: &Row) {
        if self.is_overflown() {
            return self.add_touched(schema);
        }
        for key in schema.cache_keys_of(row) {
            if self.evicted.insert(key.clone()) {
                self.evict.push(key);
            }
        }

        if self.evict.len() > MAX_KEYS {
            self.overflow();
            self.add_touched(schema);
        }
    }

    /// Returns everything that was collected.
    pub(crate) fn finish(self) -> BufferedChanges {
        BufferedChanges {
            changes: self.changes.into_iter().flatten().collect(),
            evict: self.evict,
            touched: self.touched,
            extent: self.extent,
        }
    }

    fn add(&mut self, schema: &'static Schema, old: Option<Row>, new: Option<&Row>) {
        self.extent = Extent::Something;
        for row in old.iter().chain(new) {
            self.evict(schema, row);
        }

        if self.is_overflown() {
            return self.add_touched(schema);
        }
        let Some(row) = new.or(old.as_ref()) else {
            return;
        };

        let identity = schema.primary_cache_key(row);
        let change = match self.places.remove(&identity) {
            None => change(schema, old, new.cloned()),
            Some(place) => {
                let earlier = self.changes[place].take();
                let (was, known) = earlier.map_or((None, false), |it| (before(it), true));
                let before = if known { was } else { old };
                match (&before, new) {
                    // It did not exist before, and does not now.
                    (None, None) => return,
                    // It has its first values again.
                    (Some(before), Some(new)) if before == new => return,
                    // In its first place, so that a parent comes before its children.
                    (_, Some(new)) => {
                        self.changes[place] = Some(change(schema, before, Some(new.clone())));
                        self.places.insert(identity, place);
                        return;
                    }
                    // At the end, so that children come before their parent.
                    (Some(_), None) => change(schema, before, None),
                }
            }
        };

        self.bytes += weight(&change.row) + change.old_row.as_ref().map_or(0, weight);
        self.places.insert(identity, self.changes.len());
        self.changes.push(Some(change));
        if self.places.len() > MAX_ROWS || self.bytes > MAX_BYTES {
            self.overflow();
        }
    }

    /// Stops reporting rows one by one.
    fn overflow(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let schemas = changes.iter().flatten().map(|change| change.schema);
        for schema in schemas {
            self.add_touched(schema);
        }
        self.places = HashMap::new();
        self.evict = Vec::new();
        self.evicted = HashSet::new();
        self.bytes = 0;
    }

    fn add_touched(&mut self, schema: &'static Schema) {
        if !self
            .touched
            .iter()
            .any(|known| std::ptr::eq(*known, schema))
        {
            self.touched.push(schema);
        }
    }
}

/// Returns the change from one state of a row to another; at least one of them exists.
fn change(schema: &'static Schema, old: Option<Row>, new: Option<Row>) -> RowChange {
    let (operation, row, old_row) = match (old, new) {
        (None, new) => (Operation::Create, new.unwrap_or_default(), None),
        (Some(old), Some(new)) => (Operation::Update, new, Some(old)),
        (Some(old), None) => (Operation::Delete, old, None),
    };
    RowChange {
        schema,
        operation,
        row,
        old_row,
    }
}

/// Returns the row before a change; `None` if it did not exist.
fn before(change: RowChange) -> Option<Row> {
    match change.operation {
        Operation::Create => None,
        Operation::Update => change.old_row,
        Operation::Delete => Some(change.row),
    }
}

/// Returns roughly how many bytes a row takes.
pub(crate) fn weight(row: &Row) -> usize {
    row.0.iter().map(Value::weight).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use tidings_core::Field;

    use super::*;

    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        Schema::builder("rows")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<String>>("name"))
            .build()
    });

    fn row(id: i64, name: &str) -> Row {
        Row(vec![id.into(), name.into()])
    }

    fn reported(buffer: ChangeBuffer) -> Vec<(Operation, i64, String, Option<Row>)> {
        let changes = buffer.finish().changes.into_iter().map(|change| {
            let (Value::Integer(id), name) = (&change.row.0[0], change.row.0[1].to_text()) else {
                panic!("{change:?}")
            };
            (change.operation, *id, name, change.old_row)
        });
        changes.collect()
    }

    #[test]
    fn writes_of_one_row_are_one_change_from_its_first_state_to_its_last() {
        let mut buffer = ChangeBuffer::default();
        buffer.created(&SCHEMA, &row(1, "a"));
        buffer.updated(&SCHEMA, row(2, "x"), &row(2, "y"));
        buffer.updated(&SCHEMA, row(1, "a"), &row(1, "b"));
        buffer.updated(&SCHEMA, row(2, "y"), &row(2, "z"));
        buffer.updated(&SCHEMA, row(3, "p"), &row(3, "q"));
        buffer.deleted(&SCHEMA, row(3, "q"));
        buffer.deleted(&SCHEMA, row(4, "o"));
        buffer.created(&SCHEMA, &row(4, "n"));
        let expected = [
            (Operation::Create, 1, "b".to_owned(), None),
            (Operation::Update, 2, "z".to_owned(), Some(row(2, "x"))),
            (Operation::Delete, 3, "p".to_owned(), None),
            (Operation::Update, 4, "n".to_owned(), Some(row(4, "o"))),
        ];
        assert_eq!(reported(buffer), expected);
    }

    #[test]
    fn a_row_that_ends_as_it_began_is_not_told_and_is_evicted_all_the_same() {
        let mut buffer = ChangeBuffer::default();
        buffer.created(&SCHEMA, &row(1, "a"));
        buffer.deleted(&SCHEMA, row(1, "a"));
        buffer.updated(&SCHEMA, row(2, "x"), &row(2, "y"));
        buffer.updated(&SCHEMA, row(2, "y"), &row(2, "x"));
        let buffered = buffer.finish();
        assert_eq!((buffered.changes.len(), buffered.evict.len()), (0, 2));
        assert_eq!(buffered.extent, Extent::Something);
    }

    #[test]
    fn beyond_the_bound_only_the_entity_is_reported() {
        let mut buffer = ChangeBuffer::default();
        let most = i64::try_from(MAX_ROWS).unwrap();
        for id in 0..most {
            buffer.created(&SCHEMA, &row(id, "a"));
        }
        assert!(!buffer.is_overflown());
        buffer.created(&SCHEMA, &row(most, "a"));
        buffer.created(&SCHEMA, &row(most + 1, "a"));
        let buffered = buffer.finish();
        assert_eq!((buffered.changes, buffered.evict), (vec![], vec![]));
        assert_eq!(buffered.touched.len(), 1);

        let mut buffer = ChangeBuffer::default();
        let long = "x".repeat(MAX_BYTES);
        buffer.created(&SCHEMA, &row(1, &long));
        assert!(buffer.is_overflown());
    }
}
