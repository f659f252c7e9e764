//! Primary keys of several fields: only the whole key identifies a row.

use std::{collections::BTreeSet, pin::pin};

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use tidings_core::{
    Entity, EntityId as _, Operation, Patch, PrimaryKey, Ref, Schema, Timestamp, Value,
};
use tidings_store::{
    Direction, Error, PageQuery, Selector, TransactionOptions, Upserted, WriteOptions,
};
use uuid::Uuid;

use super::support::{Fixture, evicted, in_short, typed};
use crate::entities::{Consumer, consumer};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "stocks", unique("consumer", "label"))]
struct Stock {
    #[entity(primary_key, foreign, on_delete = "cascade", on_update = "evict")]
    consumer: Ref<Consumer>,
    label: Option<String>,
    #[entity(primary_key)]
    shelf: String,
    pieces: i64,
    #[entity(version)]
    version: i64,
}

/// A key with each kind that statements write differently.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "samples")]
struct Sample {
    #[entity(primary_key)]
    number: u64,
    #[entity(primary_key)]
    on: bool,
    #[entity(primary_key)]
    at: Timestamp,
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(foreign, on_delete = "cascade")]
    consumer: Option<Ref<Consumer>>,
}

/// Nothing but a key, one part of which expires nothing.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "members")]
struct Member {
    #[entity(primary_key)]
    team: String,
    #[entity(primary_key)]
    name: String,
    #[entity(expires)]
    until: Option<Timestamp>,
}

/// All of its fields are its key.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "pairs")]
struct Pair {
    #[entity(primary_key)]
    a: i64,
    #[entity(primary_key)]
    b: i64,
}

fn schemas() -> [&'static Schema; 5] {
    [
        Consumer::schema(),
        Stock::schema(),
        Sample::schema(),
        Member::schema(),
        Pair::schema(),
    ]
}

async fn fixture() -> (Fixture, [Consumer; 2]) {
    let fixture = Fixture::with(&schemas()).await;
    let consumers = fixture.dao::<Consumer>();
    let ann = consumers.insert(consumer("ann")).await.unwrap();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    fixture.sink.take();
    (fixture, [ann, bob])
}

fn stock(consumer: &Consumer, shelf: &str, pieces: i64) -> Stock {
    Stock {
        consumer: Ref::to(consumer),
        label: None,
        shelf: shelf.to_owned(),
        pieces,
        version: 1,
    }
}

#[tokio::test]
async fn rows_that_differ_in_one_part_are_two_rows() {
    let (fixture, [ann, bob]) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    let all = [
        stock(&ann, "a", 1),
        stock(&ann, "b", 2),
        stock(&bob, "a", 3),
    ];
    for row in &all {
        assert_eq!(stocks.insert(row.clone()).await.unwrap(), *row);
    }
    for row in &all {
        assert_eq!(stocks.select(row.id()).await.unwrap().as_ref(), Some(row));
    }
    assert_eq!(
        stocks
            .select((Ref::to(&bob), "b".to_owned()))
            .await
            .unwrap(),
        None
    );

    fixture.sink.take();
    let changed = stocks
        .update(all[0].id(), |row| row.pieces = 9)
        .await
        .unwrap();
    assert_eq!(changed.map(|row| (row.pieces, row.version)), Some((9, 2)));
    let received = fixture.sink.take_one();
    let (operation, row, old) = typed::<Stock>(&received.changes[0]);
    assert_eq!((operation, row.pieces), (Operation::Update, 9));
    assert_eq!(old.as_ref(), Some(&all[0]));
    // Rows that share only one part of the key are not evicted.
    let key = format!("stocks@:{}:a", ann.id);
    assert_eq!(evicted(&received), [key.as_str()]);

    assert_eq!(
        stocks.delete(all[1].id()).await.unwrap().as_ref(),
        Some(&all[1])
    );
    assert_eq!(stocks.delete(all[1].id()).await.unwrap(), None);
    let left = stocks.page(PageQuery::new()).await.unwrap().data;
    let left: BTreeSet<_> = left.iter().map(|row| row.pieces).collect();
    assert_eq!(left, BTreeSet::from([3, 9]));
}

#[tokio::test]
async fn a_row_is_upserted_by_its_whole_key() {
    let (fixture, [ann, _]) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    let (row, how) = stocks.upsert(stock(&ann, "a", 1)).await.unwrap();
    assert_eq!((row.pieces, how), (1, Upserted::Created));
    let (row, how) = stocks.upsert(stock(&ann, "a", 2)).await.unwrap();
    assert_eq!((row.pieces, row.version, how), (2, 2, Upserted::Replaced));
    let (_, how) = stocks.upsert(stock(&ann, "b", 3)).await.unwrap();
    assert_eq!(how, Upserted::Created);

    // A row that was read is replaced if it has not changed since.
    let replaced = stocks
        .replace(
            &row,
            Stock {
                pieces: 5,
                ..row.clone()
            },
        )
        .await;
    assert_eq!(replaced.unwrap().map(|row| row.pieces), Some(5));
    let stale = stocks.replace(&row, row.clone()).await;
    assert!(matches!(stale, Err(Error::Changed { .. })), "{stale:?}");
    let stale = stocks.update_at(row.id(), 1, |row| row.pieces = 0).await;
    assert!(matches!(stale, Err(Error::Changed { .. })), "{stale:?}");

    // A generated part is generated for a row that lacks it, and the row is a new one.
    let samples = fixture.dao::<Sample>();
    let sample = Sample {
        number: 7,
        on: true,
        at: Timestamp::from_unix(1),
        id: Uuid::nil(),
        consumer: None,
    };
    let (first, how) = samples.upsert(sample.clone()).await.unwrap();
    assert!(!first.id.is_nil() && how == Upserted::Created);
    let (second, _) = samples.upsert(sample).await.unwrap();
    assert_ne!(first.id, second.id);
}

#[tokio::test]
async fn a_selector_takes_the_parts_by_name_in_any_order_and_no_fewer() {
    let (fixture, [ann, _]) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    let row = stocks.insert(stock(&ann, "a", 1)).await.unwrap();
    let parts = [("shelf", Value::from("a")), ("consumer", ann.id.into())];
    let found = stocks.select_where(Selector::by_all(parts)).await.unwrap();
    assert_eq!(found.as_ref(), Some(&row));
    let exists = |shelf: &'static str| {
        let query = PageQuery::new()
            .filter("consumer", ann.id)
            .filter("shelf", shelf);
        stocks.exists(query)
    };
    assert!(exists("a").await.unwrap());
    assert!(!exists("b").await.unwrap());

    let table = fixture.store.table("stocks").unwrap();
    let refused = table.select(Value::from("a")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the primary key of stocks is consumer, shelf, and 1 part(s) were given"
    );
    let refused = stocks.select_by("shelf", "a").await.unwrap_err();
    assert!(matches!(refused, Error::NotUnique { .. }), "{refused:?}");
    let wrong = PrimaryKey::of(vec!["x".into(), "a".into()]);
    let refused = table.select(wrong).await.unwrap_err();
    assert!(matches!(refused, Error::WrongKind { .. }), "{refused:?}");

    let moved = Patch::new().with("shelf", "b");
    let selector = Selector::primary_key(row.id().to_key());
    let refused = table.update(selector, moved, WriteOptions::default()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "schema violation in stocks: shelf: the primary key cannot be changed"
    );
}

#[tokio::test]
async fn a_clash_names_every_part_of_the_key() {
    let (fixture, [ann, bob]) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    stocks.insert(stock(&ann, "a", 1)).await.unwrap();
    let fields = |error: Error| match error {
        Error::Unique { fields, values, .. } => (fields.join(", "), values),
        error => panic!("{error:?}"),
    };
    let error = stocks.insert(stock(&ann, "a", 2)).await.unwrap_err();
    let clash = (
        "consumer, shelf".to_owned(),
        vec![ann.id.into(), "a".into()],
    );
    assert_eq!(fields(error), clash);
    let many = vec![stock(&bob, "a", 1), stock(&ann, "a", 2)];
    assert_eq!(fields(stocks.insert_many(many).await.unwrap_err()), clash);
    assert_eq!(stocks.count(PageQuery::new()).await.unwrap(), 1);
}

#[tokio::test]
async fn pages_go_on_within_equal_first_parts() {
    let (fixture, consumers) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    let shelves = ["a", "a:b", "b", "c", "~"];
    let mut rows: Vec<_> = consumers
        .iter()
        .flat_map(|consumer| shelves.map(|shelf| stock(consumer, shelf, shelf.len() as i64 % 2)))
        .collect();
    stocks.insert_many(rows.clone()).await.unwrap();
    let key = |row: &Stock| (row.consumer.id, row.shelf.clone());
    rows.sort_by_key(key);

    for size in [1, 2, 3, 10] {
        let mut query = PageQuery::new().size(size);
        let mut read = Vec::new();
        loop {
            let page = stocks.page(query.clone()).await.unwrap();
            read.extend(page.data);
            let Some(offset) = page.offset else { break };
            query = query.offset(offset);
        }
        assert_eq!(read, rows, "{size}");
    }

    // By a field that many rows share, then by the whole key.
    for direction in [Direction::Ascending, Direction::Descending] {
        let mut query = PageQuery::new().size(3).order_by("pieces", direction);
        let mut read = Vec::new();
        loop {
            let page = stocks.page(query.clone()).await.unwrap();
            read.extend(page.data);
            let Some(offset) = page.offset else { break };
            query = query.offset(offset);
        }
        let mut expected = rows.clone();
        expected.sort_by_key(|row| match direction {
            Direction::Ascending => row.pieces,
            Direction::Descending => -row.pieces,
        });
        assert_eq!(read, expected, "{direction:?}");
    }

    let mut streamed = pin!(stocks.stream(PageQuery::new().filter("consumer", consumers[0].id)));
    let mut read = Vec::new();
    while let Some(row) = streamed.try_next().await.unwrap() {
        read.push(row);
    }
    let own = rows.iter().filter(|row| row.consumer.id == consumers[0].id);
    assert_eq!(read, own.cloned().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transaction_tells_each_row_once_by_its_whole_key() {
    let (fixture, [ann, bob]) = fixture().await;
    let transaction = fixture.store.begin().await.unwrap();
    let stocks = transaction.dao::<Stock>().unwrap();
    stocks.insert(stock(&ann, "a", 1)).await.unwrap();
    stocks.insert(stock(&bob, "a", 1)).await.unwrap();
    stocks
        .update(stock(&ann, "a", 0).id(), |row| row.pieces = 2)
        .await
        .unwrap();
    stocks.delete(stock(&bob, "a", 0).id()).await.unwrap();
    stocks.insert(stock(&ann, "b", 3)).await.unwrap();
    transaction.commit().await.unwrap();
    let received = fixture.sink.take_one();
    let reported: Vec<_> = received.changes.iter().map(typed::<Stock>).collect();
    let reported: Vec<_> = reported
        .into_iter()
        .map(|(operation, row, _)| (operation, row.shelf, row.pieces))
        .collect();
    assert_eq!(
        reported,
        [
            (Operation::Create, "a".to_owned(), 2),
            (Operation::Create, "b".to_owned(), 3),
        ]
    );

    let transaction = fixture
        .store
        .begin_with(TransactionOptions::default())
        .await
        .unwrap();
    let stocks = transaction.dao::<Stock>().unwrap();
    stocks.delete(stock(&ann, "a", 0).id()).await.unwrap();
    transaction.rollback().await;
    let stocks = fixture.dao::<Stock>();
    assert!(
        stocks
            .select(stock(&ann, "a", 0).id())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn many_rows_are_inserted_at_once() {
    let (fixture, [ann, _]) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    // More than one statement takes, and a rest.
    let rows: Vec<_> = (0..250)
        .map(|it| stock(&ann, &format!("{it:03}"), it))
        .collect();
    assert_eq!(stocks.insert_many(rows.clone()).await.unwrap(), rows);
    assert_eq!(fixture.sink.take_one().changes.len(), 250);
    assert_eq!(stocks.count(PageQuery::new()).await.unwrap(), 250);
}

#[tokio::test]
async fn rows_go_with_their_parent_each_with_its_own_event() {
    let (fixture, [ann, bob]) = fixture().await;
    let (stocks, samples) = (fixture.dao::<Stock>(), fixture.dao::<Sample>());
    for shelf in ["a", "b"] {
        stocks.insert(stock(&ann, shelf, 1)).await.unwrap();
        stocks.insert(stock(&bob, shelf, 1)).await.unwrap();
    }
    for (number, consumer) in [(7, &ann), (u64::MAX, &ann), (7, &bob)] {
        let sample = Sample {
            number,
            on: number == 7,
            at: Timestamp::from_unix(1),
            id: Uuid::nil(),
            consumer: Some(Ref::to(consumer)),
        };
        samples.insert(sample).await.unwrap();
    }
    fixture.sink.take();

    // An update of the parent evicts its children.
    let consumers = fixture.dao::<Consumer>();
    let tagged = |row: &mut Consumer| row.tags = Some(["x".to_owned()].into());
    let ann = consumers.update(ann.id, tagged).await.unwrap().unwrap();
    let received = fixture.sink.take_one();
    let keys = evicted(&received);
    for shelf in ["a", "b"] {
        let own = format!("stocks@:{}:{shelf}", ann.id);
        assert!(keys.iter().any(|key| **key == own), "{keys:?}");
        let other = format!("stocks@:{}:{shelf}", bob.id);
        assert!(keys.iter().all(|key| **key != other), "{keys:?}");
    }

    assert!(consumers.delete(ann.id).await.unwrap().is_some());
    let received = fixture.sink.take_one();
    let mut short: Vec<_> = received.changes.iter().map(in_short).collect();
    assert_eq!(short.pop().as_deref(), Some("delete consumers"));
    short.sort();
    assert_eq!(
        short,
        [
            "delete samples",
            "delete samples",
            "delete stocks",
            "delete stocks"
        ]
    );
    let left = stocks.page(PageQuery::new()).await.unwrap().data;
    assert_eq!(left, [stock(&bob, "a", 1), stock(&bob, "b", 1)]);
    let left = samples.page(PageQuery::new()).await.unwrap().data;
    assert_eq!(left.iter().map(|row| row.number).collect::<Vec<_>>(), [7]);
}

#[tokio::test]
async fn more_rows_than_are_told_one_by_one_go_with_their_parent() {
    let (fixture, [ann, bob]) = fixture().await;
    let stocks = fixture.dao::<Stock>();
    for part in 0..3 {
        let rows = (0..4_000).map(|it| stock(&ann, &format!("{part}:{it}"), it));
        stocks.insert_many(rows.collect()).await.unwrap();
    }
    let kept = stocks.insert(stock(&bob, "0:0", 1)).await.unwrap();
    fixture.sink.take();
    assert!(
        fixture
            .dao::<Consumer>()
            .delete(ann.id)
            .await
            .unwrap()
            .is_some()
    );
    let received = fixture.sink.take_one();
    assert!(received.changes.is_empty());
    let touched: Vec<_> = received.touched.iter().map(|it| it.name()).collect();
    assert_eq!(touched, ["consumers", "stocks"]);
    assert_eq!(stocks.page(PageQuery::new()).await.unwrap().data, [kept]);
}

#[tokio::test]
async fn a_row_that_is_nothing_but_its_key_can_be_written_again() {
    let (fixture, _) = fixture().await;
    let pairs = fixture.dao::<Pair>();
    let pair = Pair { a: 1, b: 2 };
    pairs.insert(pair.clone()).await.unwrap();
    pairs.insert(Pair { a: 1, b: 3 }).await.unwrap();
    assert_eq!(
        pairs.update((1, 2), |_| {}).await.unwrap(),
        Some(pair.clone())
    );
    assert_eq!(
        pairs.upsert(pair.clone()).await.unwrap(),
        (pair, Upserted::Replaced)
    );
}

#[tokio::test]
async fn rows_past_their_time_are_removed_by_their_whole_key() {
    let (fixture, _) = fixture().await;
    let members = fixture.dao::<Member>();
    let now = fixture.store.time().await.unwrap();
    let member = |name: String, seconds: Option<i64>| Member {
        team: "a".to_owned(),
        name,
        until: seconds.map(|it| Timestamp::from_unix(now.as_unix() + it)),
    };
    // More than one batch.
    let gone = (0..230).map(|it| member(format!("{it:03}"), Some(-1)));
    members.insert_many(gone.collect()).await.unwrap();
    let kept = members.insert(member("x".to_owned(), None)).await.unwrap();
    let again = members
        .insert(member("000".to_owned(), Some(600)))
        .await
        .unwrap();
    assert_eq!(again.name, "000", "what is past its time is not in the way");
    let cleared = members.table().remove_expired().await.unwrap();
    assert_eq!(cleared.removed, 229);
    assert_eq!(
        members.page(PageQuery::new()).await.unwrap().data,
        [again, kept]
    );
}
