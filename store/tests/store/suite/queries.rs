//! Reads and writes of many rows at a time, and by further keys.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidings_core::Entity;
use tidings_store::{Dao, Direction, Error, ErrorKind, FieldInput, PageQuery, Selector};

use super::support::{Fixture, in_short};
use crate::entities::{Acl, Consumer, Credential, acl, consumer, credential};

/// Rows with an order of their own, in which some lack a place.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "items")]
struct Item {
    #[entity(primary_key)]
    id: i64,
    place: Option<i64>,
    name: String,
    weight: f64,
}

async fn items(places: &[Option<i64>]) -> (Fixture, Dao<Item>) {
    let fixture = Fixture::with(&[Item::schema()]).await;
    let items = fixture.dao::<Item>();
    let all = (0..).zip(places).map(|(id, place)| Item {
        id,
        place: *place,
        name: format!("n{}", id % 3),
        weight: id as f64 / 4.0,
    });
    items.insert_many(all.collect()).await.unwrap();
    (fixture, items)
}

async fn ids(items: &Dao<Item>, query: PageQuery) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut offset = None;
    loop {
        let page = items.page(query.clone().offset(offset)).await.unwrap();
        ids.extend(page.data.iter().map(|item| item.id));
        match page.offset {
            Some(next) => offset = Some(next),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn pages_in_any_order_show_each_row_once_and_absent_values_at_one_end() {
    let places = [Some(5), None, Some(-1), Some(5), None, Some(7), Some(5)];
    let (_fixture, items) = items(&places).await;
    for size in 1..=8 {
        let by =
            |field: &'static str, direction| PageQuery::new().size(size).order_by(field, direction);
        let up = ids(&items, by("place", Direction::Ascending)).await;
        assert_eq!(up, [1, 4, 2, 0, 3, 6, 5], "{size}");
        let down = ids(&items, by("place", Direction::Descending)).await;
        assert_eq!(down, [5, 0, 3, 6, 2, 1, 4], "{size}");
        let names = ids(&items, by("name", Direction::Descending)).await;
        assert_eq!(names, [2, 5, 1, 4, 0, 3, 6], "{size}");
        let weights = ids(&items, by("weight", Direction::Descending)).await;
        assert_eq!(weights, [6, 5, 4, 3, 2, 1, 0], "{size}");
    }
}

#[tokio::test]
async fn ranges_filter_and_are_counted() {
    let places = [Some(5), None, Some(-1), Some(5), None, Some(7), Some(5)];
    let (_fixture, items) = items(&places).await;
    let all = PageQuery::new();
    let cases = [
        (all.clone().range("place", 5_i64..), 4),
        (all.clone().range("place", ..5_i64), 1),
        (all.clone().range("place", 0_i64..=7), 4),
        (all.clone().range("weight", 0.5..1.0), 2),
        (
            all.clone().range("name", "n1".."n2").filter("place", 7_i64),
            0,
        ),
        (all.clone().filter("place", None::<i64>), 2),
        (
            all.clone().size(1).order_by("place", Direction::Descending),
            7,
        ),
        (all.clone().filter("id", 99_i64), 0),
    ];
    for (query, expected) in cases {
        let counted = items.count(query.clone()).await.unwrap();
        assert_eq!(counted, expected, "{query:?}");
        let listed = ids(&items, query.clone()).await.len();
        assert_eq!(u64::try_from(listed).unwrap(), expected, "{query:?}");
        assert_eq!(
            items.exists(query.clone()).await.unwrap(),
            expected > 0,
            "{query:?}"
        );
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let ordered = PageQuery::new().order_by("tags", Direction::Ascending);
    let refused = consumers.page(ordered).await.unwrap_err();
    let expected = "tags of consumers: its values have no order";
    assert_eq!(refused.to_string(), expected);
    let unknown = PageQuery::new().order_by("nmae", Direction::Ascending);
    let refused = consumers.page(unknown).await;
    assert!(matches!(refused, Err(Error::UnknownField { .. })));
    let nowhere = PageQuery::new().range("username", None::<&str>..);
    assert!(matches!(
        consumers.count(nowhere).await,
        Err(Error::WrongKind { .. })
    ));

    for name in ["a", "b"] {
        consumers.insert(consumer(name)).await.unwrap();
    }
    let by_name = PageQuery::new()
        .order_by("username", Direction::Ascending)
        .size(1);
    let token = consumers.page(by_name.clone()).await.unwrap().offset;
    let other = by_name.clone().order_by("username", Direction::Descending);
    for query in [PageQuery::new(), other] {
        let refused = consumers.page(query.offset(token.clone())).await;
        assert!(matches!(refused, Err(Error::InvalidOffset)), "{refused:?}");
    }
    assert_eq!(
        consumers
            .page(by_name.offset(token))
            .await
            .unwrap()
            .data
            .len(),
        1
    );
}

#[tokio::test]
async fn a_stream_gives_all_rows_in_order_while_others_write() {
    let (_fixture, items) = items(&[Some(1); 2_500]).await;
    let mut stream = pin!(items.stream(PageQuery::new().order_by("id", Direction::Descending)));
    let mut seen = Vec::new();
    while let Some(item) = stream.try_next().await.unwrap() {
        if item.id == 2_000 {
            items.delete(3).await.unwrap();
            items.update(2_400, |item| item.place = None).await.unwrap();
        }
        seen.push(item.id);
    }
    let expected: Vec<_> = (0..2_500).rev().filter(|id| *id != 3).collect();
    assert_eq!(seen, expected);
    let unknown = items.stream(PageQuery::new().filter("nmae", 1_i64));
    assert!(unknown.try_collect::<Vec<_>>().await.is_err());
}

#[tokio::test]
async fn many_rows_are_inserted_whole_or_not_at_all() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let names = |range: std::ops::Range<u32>| -> Vec<_> {
        range.map(|it| consumer(&format!("c{it}"))).collect()
    };
    let made = consumers.insert_many(names(0..1_234)).await.unwrap();
    let received = fixture.sink.take_one();
    assert_eq!((made.len(), received.changes.len()), (1_234, 1_234));
    assert_eq!(in_short(&received.changes[7]), "create consumers");
    assert_eq!(made[7].username.as_deref(), Some("c7"));
    let stored = consumers.select(made[1_233].id).await.unwrap();
    assert_eq!(stored.as_ref(), Some(&made[1_233]));

    let clash = consumers
        .insert_many(names(1_000..2_000))
        .await
        .unwrap_err();
    match &clash {
        Error::Unique { fields, values, .. } => {
            assert_eq!(fields, &["username"]);
            assert_eq!(values[0].to_text(), "c1000");
        }
        error => panic!("{error:?}"),
    }
    let mut wrong = names(3_000..3_010);
    wrong[7].username = None;
    let refused = consumers.insert_many(wrong).await.unwrap_err();
    assert!(refused.to_string().contains("[7].@entity"), "{refused}");
    let nobody = credential(&made[0], "k");
    let mut orphans = vec![nobody.clone(); 150];
    for (number, orphan) in orphans.iter_mut().enumerate() {
        orphan.key = Some(format!("k{number}"));
    }
    orphans[120].consumer = Some(tidings_core::Ref::new(uuid::Uuid::max()));
    let refused = fixture.dao::<Credential>().insert_many(orphans).await;
    assert!(
        matches!(refused, Err(Error::ForeignKey { .. })),
        "{refused:?}"
    );
    assert_eq!(consumers.insert_many(Vec::new()).await.unwrap(), []);

    assert_eq!(fixture.sink.take(), []);
    assert_eq!(consumers.count(PageQuery::new()).await.unwrap(), 1_234);
    assert_eq!(
        fixture
            .dao::<Credential>()
            .count(PageQuery::new())
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn rows_are_found_changed_and_deleted_by_fields_that_are_unique_together() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let acls = fixture.dao::<Acl>();
    let made = acls.insert(acl(&bob, "admins")).await.unwrap();
    acls.insert(acl(&bob, "staff")).await.unwrap();
    let by = |group: &'static str| {
        Selector::by_all([
            ("group", FieldInput::from(group)),
            ("consumer", bob.id.into()),
        ])
    };

    assert_eq!(
        acls.select_where(by("admins")).await.unwrap(),
        Some(made.clone())
    );
    assert_eq!(acls.select_where(by("none")).await.unwrap(), None);
    let renamed = acls.update_with(
        by("admins"),
        |row| row.group = "root".into(),
        Default::default(),
    );
    assert_eq!(renamed.await.unwrap().map(|row| row.id), Some(made.id));
    let replaced = acls.upsert_with(by("guests"), acl(&bob, "x"), Default::default());
    assert_eq!(replaced.await.unwrap().0.group, "guests");
    assert!(
        acls.delete_with(by("staff"), Default::default())
            .await
            .unwrap()
            .is_some()
    );
    let mut left: Vec<_> = acls.page(Default::default()).await.unwrap().data;
    left.sort_by(|one, other| one.group.cmp(&other.group));
    let left: Vec<_> = left.iter().map(|row| row.group.as_str()).collect();
    assert_eq!(left, ["guests", "root"]);

    let part = Selector::by_all([("group", "root")]);
    let refused = acls.select_where(part).await.unwrap_err();
    assert!(matches!(refused, Error::NotUnique { .. }), "{refused:?}");
}

#[tokio::test]
async fn an_update_can_refuse_and_a_row_that_was_changed_since_is_not_replaced() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    fixture.sink.take();
    let refused = consumers.try_update(bob.id, |row| {
        row.custom_id = Some("b".into());
        Err("not on a Friday".into())
    });
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let source = std::error::Error::source(&refused).unwrap();
    assert_eq!(source.to_string(), "not on a Friday");
    assert_eq!(fixture.sink.take(), []);
    let updated = consumers.try_update(bob.id, |row| {
        row.custom_id = Some("b".into());
        Ok(())
    });
    let updated = updated.await.unwrap().unwrap();

    let new = Consumer {
        custom_id: Some("c".into()),
        ..bob.clone()
    };
    let stale = consumers.replace(&bob, new.clone()).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Changed, "{stale:?}");
    assert_eq!(stale.kind().status(), 412);
    let replaced = consumers.replace(&updated, new).await.unwrap().unwrap();
    assert_eq!(replaced.custom_id.as_deref(), Some("c"));
    consumers.delete(bob.id).await.unwrap();
    assert_eq!(
        consumers
            .replace(&replaced, replaced.clone())
            .await
            .unwrap(),
        None
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::database::CASES))]

    /// Any query returns the same as over a plain list.
    #[test]
    fn any_query_gives_what_a_plain_list_gives(
        places in proptest::collection::vec(proptest::option::of(-3_i64..4), 0..40),
        low in -4_i64..5,
        high in -4_i64..5,
        size in 1_usize..7,
        descending in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_fixture, items) = items(&places).await;
            let direction = if descending { Direction::Descending } else { Direction::Ascending };
            let query = PageQuery::new().size(size).range("place", low..high);
            let found = ids(&items, query.order_by("place", direction)).await;
            let mut expected: Vec<_> = (0..).zip(&places)
                .filter_map(|(id, place): (i64, _)| Some((place.filter(|it| (low..high).contains(it))?, id)))
                .collect();
            expected.sort_by_key(|(place, id)| (if descending { -place } else { *place }, *id));
            let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
            assert_eq!(found, expected);
        });
    }
}
