//! [`ModelStore`]: rows, transactions and a log in memory, which can lose commits in the ways that
//! a real engine can.

mod losing;
mod read;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{
    CacheKey, Operation, PrimaryKey, Row, Schema, Value,
    entropy::{Entropy, SeededEntropy},
    log::{Announce, Appended, Body, Cursor, Epoch, Fields, Group, Mark, Read, RowRecord, Sight},
};
use uuid::Uuid;

use super::members::Table;

/// How the log counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Records get one number each, at the commit, as with one writer at a time; and an id.
    Counted,
    /// A transaction gets its number when it begins, and may commit in any order.
    Snapshot,
}

/// Whether a commit survives a crash once it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives, and so does every commit before it.
    Synchronous,
    /// It is lost in a crash, unless a synchronous commit came after it.
    Asynchronous,
}

/// Names a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionId(u64);

/// How a row is written.
#[derive(Clone, Debug)]
pub struct Writing {
    /// The node whose write it is; `None` for another program.
    pub origin: Option<Arc<str>>,
    /// Whether handlers receive it.
    pub announce: Announce,
    /// Fields that the record leaves out, as one made by an earlier version does.
    pub lacking: Vec<&'static str>,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            origin: None,
            announce: Announce::Event,
            lacking: Vec::new(),
        }
    }
}

/// Why a transaction could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Another one holds the row.
    #[error("another transaction has written the row: roll back and try again")]
    Locked,
    /// It ended, or a crash ended it.
    #[error("there is no such transaction: begin another one")]
    Unknown,
}

/// A store in memory with a log that its transactions write. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct ModelStore {
    pub(super) form: Form,
    pub(super) state: Arc<Mutex<State>>,
}

type RowKey = (Arc<str>, String);

#[derive(Debug)]
pub(super) struct State {
    entropy: SeededEntropy,
    pub(super) epoch: Epoch,
    rows: BTreeMap<RowKey, Row>,
    next_transaction: u64,
    /// The next number: a transaction's with snapshots, a record's in a counted log.
    next_number: u64,
    next_entry: u64,
    open: BTreeMap<TransactionId, Open>,
    log: Vec<Entry>,
    /// The id of each number of a counted log, pruned or not.
    ids: BTreeMap<u64, Uuid>,
    /// A cursor below it is refused: a transaction's number with snapshots, a record's in a counted
    /// log.
    pruned_below: u64,
    /// The commits that a crash would lose, in their order.
    unsafe_commits: Vec<Undo>,
    pub(super) table: Table,
}

#[derive(Debug)]
struct Open {
    /// Its number, with snapshots.
    xid: u64,
    writes: Vec<(RowKey, Option<Row>)>,
    bodies: Vec<(u64, Option<Arc<str>>, Body)>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    mark: u64,
    origin: Option<Arc<str>>,
    body: Body,
}

#[derive(Debug)]
struct Undo {
    mark: u64,
    /// The last number of a counted log before it.
    after: u64,
    rows: Vec<(RowKey, Option<Row>)>,
}

impl ModelStore {
    /// Makes an empty store; its ids follow from a seed.
    #[must_use]
    pub fn new(form: Form, seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed);
        let state = State {
            epoch: Epoch::new(1, entropy.uuid()),
            entropy,
            rows: BTreeMap::new(),
            next_transaction: 1,
            next_number: 1,
            next_entry: 1,
            open: BTreeMap::new(),
            log: Vec::new(),
            ids: BTreeMap::from([(0, Uuid::nil())]),
            pruned_below: 0,
            unsafe_commits: Vec::new(),
            table: Table::default(),
        };
        Self {
            form,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Begins a transaction. With snapshots it holds its number from here on, as one that has
    /// written does.
    #[must_use]
    pub fn begin(&self) -> TransactionId {
        let mut state = self.state.lock();
        let id = TransactionId(state.next_transaction);
        state.next_transaction += 1;

        let xid = match self.form {
            Form::Counted => 0,
            Form::Snapshot => state.take_number(),
        };
        let open = Open {
            xid,
            writes: Vec::new(),
            bodies: Vec::new(),
        };
        state.open.insert(id, open);

        id
    }

    /// Returns the mark that a transaction's commit will have, where that is known before it.
    #[must_use]
    pub fn mark_of(&self, id: TransactionId) -> Option<Mark> {
        let state = self.state.lock();
        match self.form {
            Form::Counted => None,
            Form::Snapshot => Some(Mark::new(state.epoch, state.open.get(&id)?.xid)),
        }
    }

    /// Writes a row, new or not. Returns its keys, including those of the row before it.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`].
    pub fn put(
        &self,
        id: TransactionId,
        schema: &'static Schema,
        row: Row,
        writing: &Writing,
    ) -> Result<Vec<CacheKey>, TransactionError> {
        self.write(id, schema, row, writing, Operation::Update)
    }

    /// Deletes the row with the primary key of `row`. Returns its keys; no keys if there is no such
    /// row.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`].
    pub fn delete(
        &self,
        id: TransactionId,
        schema: &'static Schema,
        row: Row,
        writing: &Writing,
    ) -> Result<Vec<CacheKey>, TransactionError> {
        self.write(id, schema, row, writing, Operation::Delete)
    }

    fn write(
        &self,
        id: TransactionId,
        schema: &'static Schema,
        row: Row,
        writing: &Writing,
        wanted: Operation,
    ) -> Result<Vec<CacheKey>, TransactionError> {
        let mut state = self.state.lock();
        let key: RowKey = (
            schema.name().into(),
            schema.primary_cache_key(&row).to_string(),
        );
        let holds = |open: &Open| open.writes.iter().any(|(written, _)| *written == key);
        if !state.open.contains_key(&id) {
            return Err(TransactionError::Unknown);
        }
        if (state.open.iter()).any(|(other, open)| *other != id && holds(open)) {
            return Err(TransactionError::Locked);
        }

        let old = state.visible(id, &key);
        let (operation, new) = match (wanted, &old) {
            (Operation::Delete, None) => return Ok(Vec::new()),
            (Operation::Delete, Some(_)) => (Operation::Delete, None),
            (_, None) => (Operation::Create, Some(row)),
            (_, Some(_)) => (Operation::Update, Some(row)),
        };
        let image = |row: &Option<Row>| {
            let row = row.as_ref().map(|row| Fields::of_row(schema, row));
            let fields = row.unwrap_or_default();
            let kept = fields
                .iter()
                .filter(|(name, _)| !writing.lacking.contains(name));
            kept.map(|(name, value)| (name, value.clone())).collect()
        };

        let images = old.iter().chain(&new);
        let written = images.clone().next();
        let record = RowRecord {
            entity: schema.name().into(),
            operation,
            key: written.map_or(Value::Null.into(), |row| schema.key_of(row)),
            old: image(&old),
            new: image(&new),
            announce: writing.announce,
        };

        let mut keys = Vec::new();
        for key in images.flat_map(|row| schema.cache_keys_of(row)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }

        state.log_in(id, writing.origin.clone(), Body::Row(record));
        if let Some(open) = state.open.get_mut(&id) {
            open.writes.push((key, new));
        }
        Ok(keys)
    }

    /// Deletes every row of an entity with one record.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`].
    pub fn truncate(
        &self,
        id: TransactionId,
        schema: &'static Schema,
    ) -> Result<(), TransactionError> {
        let mut state = self.state.lock();
        let entity: Arc<str> = schema.name().into();
        if !state.open.contains_key(&id) {
            return Err(TransactionError::Unknown);
        }

        let others = state.open.iter().filter(|(other, _)| **other != id);
        if others
            .flat_map(|(_, open)| &open.writes)
            .any(|(key, _)| key.0 == entity)
        {
            return Err(TransactionError::Locked);
        }

        let keys: Vec<_> = state
            .rows
            .keys()
            .filter(|key| key.0 == entity)
            .cloned()
            .collect();
        state.log_in(id, None, Body::Entity(entity));

        if let Some(open) = state.open.get_mut(&id) {
            open.writes.extend(keys.into_iter().map(|key| (key, None)));
        }

        Ok(())
    }

    /// Commits a transaction: its rows and records are visible from here on.
    ///
    /// # Errors
    ///
    /// See [`TransactionError`].
    pub fn commit(
        &self,
        id: TransactionId,
        durability: Durability,
    ) -> Result<Mark, TransactionError> {
        self.state.lock().commit(self.form, id, durability)
    }

    /// Ends a transaction without a trace.
    pub fn roll_back(&self, id: TransactionId) {
        self.state.lock().open.remove(&id);
    }

    /// Returns the committed rows of an entity, in the order of their keys.
    #[must_use]
    pub fn rows(&self, entity: &str) -> Vec<Row> {
        let state = self.state.lock();
        let rows = state.rows.iter().filter(|((of, _), _)| &**of == entity);
        rows.map(|(_, row)| row.clone()).collect()
    }

    /// Begins a new epoch without a loss, as a promotion does.
    pub fn begin_epoch(&self) {
        self.state.lock().begin_epoch();
    }

    /// Forgets every record that a reader at the head does not need.
    pub fn prune(&self) {
        let mut state = self.state.lock();
        let below = match self.form {
            Form::Counted => state.next_number.saturating_sub(1),
            Form::Snapshot => state.snapshot().xmin(),
        };
        let form = self.form;

        state.pruned_below = state.pruned_below.max(below);
        state.log.retain(|entry| match form {
            Form::Counted => entry.id > below,
            Form::Snapshot => entry.mark >= below,
        });
    }

    pub(super) fn head(&self) -> Cursor {
        self.state.lock().head(self.form)
    }

    pub(super) fn read(&self, from: &Cursor, limit: usize, sight: Sight) -> Read {
        self.state.lock().read(self.form, from, limit, sight)
    }

    pub(super) fn group(&self, mark: Mark, entity: &str, key: &PrimaryKey) -> Option<Group> {
        let state = self.state.lock();
        let there = state.ids.get(&mark.number());
        let is_lost = mark.id().is_some_and(|id| there != Some(&id));
        if mark.epoch() != state.epoch || is_lost {
            return None;
        }

        let entries = state.log.iter().filter(|entry| entry.mark == mark.number());
        let rows = entries.filter_map(|entry| match &entry.body {
            Body::Row(row) if &*row.entity == entity && row.key == *key => {
                Some((entry.id, row.clone()))
            }
            Body::Row(_)
            | Body::Entity(_)
            | Body::Evict(_)
            | Body::Event(_)
            | Body::Unreadable { .. } => None,
        });
        Group::of(rows)
    }

    pub(super) fn append(&self, entry: Appended) -> Result<Mark, TransactionError> {
        let id = self.begin();
        let mut state = self.state.lock();
        let origin = entry.origin().map(Into::into);
        state.log_in(id, origin, entry.into());
        state.commit(self.form, id, Durability::Synchronous)
    }
}

impl State {
    fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Returns the mark of a number in the present epoch.
    fn mark(&self, number: u64) -> Mark {
        // With snapshots no number has an id.
        Mark::new(self.epoch, number).with_id(self.ids.get(&number).copied())
    }

    fn visible(&self, id: TransactionId, key: &RowKey) -> Option<Row> {
        let own = self.open.get(&id).and_then(|open| {
            let mut own = open.writes.iter().rev();
            own.find_map(|(written, row)| (written == key).then(|| row.clone()))
        });
        own.unwrap_or_else(|| self.rows.get(key).cloned())
    }

    fn log_in(&mut self, id: TransactionId, origin: Option<Arc<str>>, body: Body) {
        let entry = self.next_entry;
        self.next_entry += 1;
        if let Some(open) = self.open.get_mut(&id) {
            open.bodies.push((entry, origin, body));
        }
    }

    fn commit(
        &mut self,
        form: Form,
        id: TransactionId,
        durability: Durability,
    ) -> Result<Mark, TransactionError> {
        let open = self.open.remove(&id).ok_or(TransactionError::Unknown)?;
        let mut undo = Vec::new();
        for (key, row) in open.writes {
            undo.push((key.clone(), self.rows.get(&key).cloned()));
            self.restore(key, row);
        }

        // A record of a counted log gets its number now, so that numbers follow the order of
        // commits.
        let after = self.next_number.saturating_sub(1);
        let numbered: Vec<_> = open
            .bodies
            .into_iter()
            .map(|(entry, origin, body)| match form {
                Form::Counted => {
                    let (number, id) = (self.take_number(), self.entropy.uuid());
                    self.ids.insert(number, id);
                    (number, origin, body)
                }
                Form::Snapshot => (entry, origin, body),
            })
            .collect();
        let mark = match form {
            Form::Counted => self.next_number.saturating_sub(1),
            Form::Snapshot => open.xid,
        };
        for (id, origin, body) in numbered {
            self.log.push(Entry {
                id,
                mark,
                origin,
                body,
            });
        }
        self.log.sort_by_key(|entry| entry.id);

        match durability {
            Durability::Synchronous => self.unsafe_commits.clear(),
            Durability::Asynchronous if undo.is_empty() => {}
            Durability::Asynchronous => {
                let rows = undo;
                self.unsafe_commits.push(Undo { mark, after, rows });
            }
        }

        Ok(self.mark(mark))
    }

    fn restore(&mut self, key: RowKey, row: Option<Row>) {
        match row {
            Some(row) => self.rows.insert(key, row),
            None => self.rows.remove(&key),
        };
    }

    fn begin_epoch(&mut self) {
        self.epoch = Epoch::new(self.epoch.number + 1, self.entropy.uuid());
    }
}
