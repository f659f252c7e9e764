//! Random operations, compared with a model of a map and a few loops.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use proptest::prelude::*;
use tidings_core::{Field, Foreign, OnDelete, OnUpdate, Operation, Patch, Row, Schema, Value};
use tidings_store::{ChangeSet, Error, Selector, Table, Upserted, WriteOptions};

use super::{database::CASES, support::Fixture};

/// The references of a row by their delete rule: fields 1 to 3. Field 4 is a unique name.
const ACTIONS: [OnDelete; 3] = [OnDelete::Cascade, OnDelete::SetNull, OnDelete::Restrict];
const NAME: usize = 4;

static ROWS: LazyLock<Schema> = LazyLock::new(|| {
    let refers = |name: &str, on_delete| {
        Field::of::<Option<i64>>(name).refers_to(Foreign {
            entity: "rows".to_owned(),
            key: "id".to_owned(),
            on_delete,
            on_update: if on_delete == OnDelete::Cascade {
                OnUpdate::Evict
            } else {
                OnUpdate::Keep
            },
        })
    };
    Schema::builder("rows")
        .field(Field::of::<i64>("id").primary_key())
        .field(refers("cascades", ACTIONS[0]))
        .field(refers("clears", ACTIONS[1]))
        .field(refers("restricts", ACTIONS[2]))
        .field(Field::of::<Option<String>>("name").unique())
        .cache_key(&["name"])
        .build()
});

type Model = BTreeMap<i64, Row>;

#[derive(Clone, Debug)]
enum Operate {
    Insert(i64, Vec<(usize, Value)>),
    Update(i64, Vec<(usize, Value)>),
    Upsert(i64, Vec<(usize, Value)>),
    UpsertByName(String, Vec<(usize, Value)>),
    Delete(i64),
    DeleteByName(String),
}

fn values() -> impl Strategy<Value = Vec<(usize, Value)>> {
    let reference = (
        prop_oneof![3 => Just(1), 1 => Just(2), 1 => Just(3)],
        prop::option::weighted(0.7, 0..8_i64),
    )
        .prop_map(|(field, to)| (field, to.map_or(Value::Null, Value::Integer)));
    let name =
        prop::option::of("[abc]").prop_map(|name| (NAME, name.map_or(Value::Null, Value::Text)));
    prop::collection::vec(prop_oneof![4 => reference, 1 => name], 0..4)
}

fn operate() -> impl Strategy<Value = Operate> {
    prop_oneof![
        3 => (0..8_i64, values()).prop_map(|(id, values)| Operate::Insert(id, values)),
        4 => (0..8_i64, values()).prop_map(|(id, values)| Operate::Update(id, values)),
        1 => (0..8_i64, values()).prop_map(|(id, values)| Operate::Upsert(id, values)),
        1 => ("[abc]", values()).prop_map(|(name, values)| Operate::UpsertByName(name, values)),
        2 => (0..8_i64).prop_map(Operate::Delete),
        1 => "[abc]".prop_map(Operate::DeleteByName),
    ]
}

fn id(row: &Row) -> i64 {
    match row.0[0] {
        Value::Integer(id) => id,
        ref value => panic!("{value:?}"),
    }
}

fn refers(row: &Row, field: usize, to: i64) -> bool {
    row.0[field] == Value::Integer(to)
}

fn by_name(model: &Model, name: &str) -> Option<Row> {
    let mut rows = model.values();
    rows.find(|row| row.0[NAME] == Value::Text(name.to_owned()))
        .cloned()
}

/// The model's result for a row that is about to be stored.
fn check(model: &Model, row: &Row) -> Result<(), &'static str> {
    let clashes = |other: &Row| id(other) != id(row) && other.0[NAME] == row.0[NAME];
    if !row.0[NAME].is_null() && model.values().any(clashes) {
        return Err("unique");
    }
    for field in 1..NAME {
        if let Value::Integer(to) = row.0[field]
            && to != id(row)
            && !model.contains_key(&to)
        {
            return Err("foreign");
        }
    }
    Ok(())
}

/// Deletes a row of the model, or returns why it cannot.
fn delete(model: &mut Model, doomed: i64) -> Result<(), &'static str> {
    let mut gone = BTreeSet::from([doomed]);
    loop {
        let more: Vec<_> = model
            .values()
            .filter(|row| !gone.contains(&id(row)))
            .filter(|row| gone.iter().any(|&to| refers(row, 1, to)))
            .map(id)
            .collect();
        if more.is_empty() {
            break;
        }
        gone.extend(more);
    }
    let stays = |row: &&Row| !gone.contains(&id(row));
    let held = |row: &Row| gone.iter().any(|&to| refers(row, 3, to));
    if model.values().filter(stays).any(held) {
        return Err("restricted");
    }
    model.retain(|id, _| !gone.contains(id));
    for row in model.values_mut() {
        if gone.iter().any(|&to| refers(row, 2, to)) {
            row.0[2] = Value::Null;
        }
    }
    Ok(())
}

/// The model's result of an operation.
fn patch(values: &[(usize, Value)]) -> Patch {
    let values = values.iter();
    values
        .map(|(field, value)| (ROWS.fields()[*field].name(), value.clone()))
        .collect()
}

fn predict(model: &Model, operation: &Operate) -> Result<Model, &'static str> {
    let mut next = model.clone();
    let mut store = |row: Row| {
        check(model, &row)?;
        next.insert(id(&row), row);
        Ok::<_, &str>(())
    };
    let made = |id: i64, values: &[(usize, Value)]| {
        let mut row = Row::empty(&ROWS);
        row.0[0] = Value::Integer(id);
        row.patched(&ROWS, &patch(values)).unwrap()
    };
    match operation {
        Operate::Insert(id, values) => {
            if model.contains_key(id) {
                return Err("unique");
            }
            store(made(*id, values))?;
        }
        Operate::Update(id, values) => {
            if let Some(row) = model.get(id) {
                store(row.patched(&ROWS, &patch(values)).unwrap())?;
            }
        }
        Operate::Upsert(id, values) => store(made(*id, values))?,
        Operate::UpsertByName(name, values) => {
            let Some(old) = by_name(model, name) else {
                return Err("violation"); // There is no primary key to create it with.
            };
            let mut row = made(id(&old), values);
            row.0[NAME] = Value::Text(name.clone());
            store(row)?;
        }
        Operate::Delete(id) => {
            if model.contains_key(id) {
                delete(&mut next, *id)?;
            }
        }
        Operate::DeleteByName(name) => {
            if let Some(row) = by_name(model, name) {
                delete(&mut next, id(&row))?;
            }
        }
    }
    Ok(next)
}

async fn run(table: &Table, operation: Operate) -> Result<(), Error> {
    let options = WriteOptions::default();
    let primary = |id| Selector::primary(Value::Integer(id));
    let named = |name| Selector::by("name", Value::Text(name));
    match operation {
        Operate::Insert(id, values) => {
            let mut row = Row::empty(&ROWS);
            row.0[0] = Value::Integer(id);
            let row = row.patched(&ROWS, &patch(&values)).unwrap();
            assert_eq!(table.insert(row.clone(), options).await?, row);
        }
        Operate::Update(id, values) => {
            drop(table.update(primary(id), patch(&values), options).await?)
        }
        Operate::Upsert(id, values) => {
            let there = table.select(Value::Integer(id)).await?.is_some();
            let (_, upserted) = table.upsert(primary(id), patch(&values), options).await?;
            assert_eq!(upserted == Upserted::Replaced, there);
        }
        Operate::UpsertByName(name, values) => {
            table.upsert(named(name), patch(&values), options).await?;
        }
        Operate::Delete(id) => drop(table.delete(primary(id), options).await?),
        Operate::DeleteByName(name) => drop(table.delete(named(name), options).await?),
    }
    Ok(())
}

/// Applies changes to the model as a listener would, and checks that each fits its state.
fn replay(model: &mut Model, changes: &ChangeSet) {
    let mut seen = BTreeSet::new();
    for change in &changes.changes {
        let key = id(&change.row);
        assert!(seen.insert(key), "{key} is announced twice");
        for row in [Some(&change.row), change.old_row.as_ref()]
            .into_iter()
            .flatten()
        {
            for key in ROWS.cache_keys_of(row) {
                assert!(changes.evict.contains(&key), "{key} is not evicted");
            }
        }
        let before = match change.operation {
            Operation::Delete => model.remove(&key),
            _ => model.insert(key, change.row.clone()),
        };
        match change.operation {
            Operation::Create => assert_eq!((&before, &change.old_row), (&None, &None)),
            Operation::Update => assert_eq!(before, change.old_row, "the true predecessor"),
            Operation::Delete => {
                // A row may have lost a reference in the same change, before it was deleted: never
                // so here.
                assert_eq!(before.as_ref(), Some(&change.row), "the last row");
                assert_eq!(change.old_row, None);
            }
        }
    }
    check_order(changes);
    let unique: BTreeSet<_> = changes.evict.iter().map(ToString::to_string).collect();
    assert_eq!(unique.len(), changes.evict.len(), "a key is evicted twice");
}

/// No row is deleted before the rows that refer to it, except those in a circle with it.
fn check_order(changes: &ChangeSet) {
    let deleted: Vec<_> = changes
        .changes
        .iter()
        .filter(|change| change.operation == Operation::Delete)
        .map(|change| &change.row)
        .collect();
    for (index, row) in deleted.iter().enumerate() {
        for later in &deleted[index + 1..] {
            if !(1..NAME).any(|field| refers(later, field, id(row))) {
                continue;
            }
            let mut reached = BTreeSet::from([id(row)]);
            for _ in 0..deleted.len() {
                for from in &deleted {
                    if !reached.contains(&id(from)) {
                        continue;
                    }
                    let to = from.0[1..NAME].iter().filter_map(|value| match value {
                        Value::Integer(to) => Some(*to),
                        _ => None,
                    });
                    reached.extend(to);
                }
            }
            assert!(
                reached.contains(&id(later)),
                "{} outlives its parent",
                id(later)
            );
        }
    }
}

/// Every child of an updated row, at any depth, is evicted with it.
fn check_children(model: &Model, changes: &ChangeSet) {
    let updates = changes.changes.iter();
    let mut parents: Vec<_> = updates
        .filter(|change| change.operation == Operation::Update)
        .map(|change| id(&change.row))
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(parent) = parents.pop() {
        for row in model.values().filter(|row| refers(row, 1, parent)) {
            assert!(changes.evict.contains(&ROWS.primary_cache_key(row)));
            if seen.insert(id(row)) {
                parents.push(id(row));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// G7, G8
    #[test]
    fn any_writes_end_as_the_model_says_and_their_changes_retell_them(
        operations in prop::collection::vec(operate(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::with(&[&ROWS]).await;
            let table = fixture.store.table("rows").unwrap();
            let mut model = Model::new();
            // Each row refers to the one with half its number: a tree, which the operations then
            // entangle.
            let tree = (0..8).map(|id| {
                let parent = if id == 0 { Value::Null } else { Value::Integer(id / 2) };
                Operate::Insert(id, vec![(1, parent)])
            });
            for operation in tree.chain(operations) {
                let predicted = predict(&model, &operation);
                let result = run(&table, operation.clone()).await;
                let received = fixture.sink.take();
                match (predicted, result) {
                    (Ok(next), Ok(())) => {
                        assert!(received.len() <= 1);
                        for changes in &received {
                            replay(&mut model, changes);
                            check_children(&model, changes);
                        }
                        assert_eq!(model, next, "{operation:?}");
                    }
                    (Err(reason), Err(error)) => {
                        let fits = match error {
                            Error::Unique { .. } => reason == "unique",
                            Error::ForeignKey { .. } => reason == "foreign",
                            Error::Restricted { .. } => reason == "restricted",
                            Error::Violations { .. } => reason == "violation",
                            _ => false,
                        };
                        assert!(fits, "{operation:?}: {reason}, but {error:?}");
                        assert!(received.is_empty());
                    }
                    (predicted, result) => panic!("{operation:?}: {predicted:?}, but {result:?}"),
                }
                let stored = table.page(Default::default()).await.unwrap().data;
                assert_eq!(stored, model.values().cloned().collect::<Vec<_>>());
            }
            assert!(fixture.sink.take_in_doubt().is_empty());
        });
    }
}
