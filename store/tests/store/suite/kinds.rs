//! Fields of every kind: stored values are read back, and can be searched for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, FieldValue, Json, Ref, Timestamp, TimestampMicros, Value};
use tidings_store::{Error, PageQuery, Store};

use super::support::{Fixture, evicted, places};

#[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    InReview,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Limits {
    per_minute: u32,
    names: Vec<String>,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "everything", cache_key("number", "state", "moment"))]
struct Everything {
    #[entity(primary_key)]
    id: u64,
    #[entity(unique)]
    number: Option<u64>,
    #[entity(unique)]
    #[serde(with = "tidings_core::base64")]
    data: Option<Vec<u8>>,
    #[entity(unique)]
    moment: Option<TimestampMicros>,
    ratio: Option<f32>,
    names: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    counts: Option<HashMap<String, u32>>,
    state: Option<State>,
    limits: Option<Json<Limits>>,
    tags: Option<BTreeSet<String>>,
    #[entity(auto_update_time)]
    updated_at: TimestampMicros,
}

/// Refers by an unsigned key.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "parts")]
struct Part {
    #[entity(primary_key)]
    id: u64,
    #[entity(foreign, on_delete = "cascade")]
    of: Ref<Everything>,
}

fn nothing(id: u64) -> Everything {
    Everything {
        id,
        number: None,
        data: None,
        moment: None,
        ratio: None,
        names: None,
        labels: None,
        counts: None,
        state: None,
        limits: None,
        tags: None,
        updated_at: TimestampMicros::default(),
    }
}

fn full(id: u64) -> Everything {
    let text = "it's \\ \"q\" {,} \u{1F980}".to_owned();
    Everything {
        id,
        number: Some(u64::MAX),
        data: Some((0..=255).collect()),
        moment: Some(TimestampMicros::from_micros(i64::MIN)),
        ratio: Some(0.1),
        names: Some(vec![text.clone(), "b".to_owned(), text.clone()]),
        labels: Some(
            [
                (text.clone(), String::new()),
                ("b".to_owned(), text.clone()),
            ]
            .into(),
        ),
        counts: Some([("x".to_owned(), u32::MAX)].into()),
        state: Some(State::InReview),
        limits: Some(Json(Limits {
            per_minute: 1,
            names: vec![text],
        })),
        tags: Some(["a".to_owned()].into()),
        updated_at: TimestampMicros::default(),
    }
}

#[tokio::test]
async fn what_was_stored_comes_back_and_is_found() {
    let fixture = Fixture::with(&[Everything::schema(), Part::schema()]).await;
    let all = fixture.dao::<Everything>();
    let stored = all.insert(full(u64::MAX)).await.unwrap();
    let expected = Everything {
        updated_at: stored.updated_at,
        ..full(u64::MAX)
    };
    assert_eq!(stored, expected);
    assert_eq!(all.select(u64::MAX).await.unwrap(), Some(expected.clone()));
    let absent = all.insert(nothing(0)).await.unwrap();
    assert_eq!(all.select(0).await.unwrap(), Some(absent.clone()));

    let found = Some(expected.clone());
    assert_eq!(all.select_by("number", u64::MAX).await.unwrap(), found);
    assert_eq!(
        all.select_by("number", "18446744073709551615")
            .await
            .unwrap(),
        found
    );
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(all.select_by("data", bytes.clone()).await.unwrap(), found);
    let moment = TimestampMicros::from_micros(i64::MIN);
    assert_eq!(all.select_by("moment", moment).await.unwrap(), found);
    assert_eq!(all.select_by("data", vec![1_u8]).await.unwrap(), None);
    for (field, value) in [
        ("ratio", 0.1_f32.to_value()),
        ("names", expected.names.to_value()),
        ("labels", expected.labels.to_value()),
        ("counts", expected.counts.to_value()),
        ("state", State::InReview.to_value()),
        ("limits", expected.limits.to_value()),
        ("number", u64::MAX.to_value()),
    ] {
        let page = all
            .page(PageQuery::new().filter(field, value))
            .await
            .unwrap();
        assert_eq!(page.data, std::slice::from_ref(&expected), "{field}");
        let page = all
            .page(PageQuery::new().filter(field, Value::Null))
            .await
            .unwrap();
        assert_eq!(page.data, std::slice::from_ref(&absent), "{field}");
    }

    let clash = Everything {
        data: Some(bytes),
        ..nothing(3)
    };
    match all.insert(clash).await.unwrap_err() {
        Error::Unique { fields, .. } => assert_eq!(fields, ["data"]),
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn changes_tell_every_kind_and_evict_by_keys_of_several_types() {
    let fixture = Fixture::with(&[Everything::schema(), Part::schema()]).await;
    let all = fixture.dao::<Everything>();
    let stored = all.insert(full(7)).await.unwrap();
    fixture.sink.take();
    let changed = all.update(7, |row| {
        row.number = Some(5);
        row.data = Some(b"a:b".to_vec());
        row.ratio = Some(f32::MIN_POSITIVE);
        row.names = Some(Vec::new());
        row.state = Some(State::Open);
    });
    let changed = changed.await.unwrap().unwrap();
    let set = fixture.sink.take_one();
    let change = &set.changes[0];
    assert_eq!(Everything::from_row(change.row.clone()).unwrap(), changed);
    let old = change.old_row.clone().unwrap();
    assert_eq!(Everything::from_row(old).unwrap(), stored);
    let keys = evicted(&set);
    for key in [
        "everything:18446744073709551615:in_review:-9223372036854775808",
        "everything:5:open:-9223372036854775808",
        "everything@data:a%3Ab",
        "everything@number:5",
        "everything@7",
    ] {
        assert!(keys.iter().any(|it| it == key), "{key} is not in {keys:?}");
    }
}

#[tokio::test]
async fn unsigned_keys_are_in_the_order_of_numbers_and_can_be_referred_to() {
    let fixture = Fixture::with(&[Everything::schema(), Part::schema()]).await;
    let all = fixture.dao::<Everything>();
    let ids = [0, 9, 10, 99, 1 << 63, u64::MAX];
    for id in ids.iter().rev() {
        all.insert(nothing(*id)).await.unwrap();
    }
    let (mut found, mut offset) = (Vec::new(), None);
    loop {
        let page = all
            .page(PageQuery::new().size(2).offset(offset))
            .await
            .unwrap();
        found.extend(page.data.into_iter().map(|row| row.id));
        offset = page.offset;
        if offset.is_none() {
            break;
        }
    }
    assert_eq!(found, ids);

    let parts = fixture.dao::<Part>();
    for (id, of) in [(1, u64::MAX), (u64::MAX, u64::MAX), (2, 9)] {
        parts
            .insert(Part {
                id,
                of: Ref::new(of),
            })
            .await
            .unwrap();
    }
    let missing = parts
        .insert(Part {
            id: 3,
            of: Ref::new(11),
        })
        .await
        .unwrap_err();
    assert!(matches!(missing, Error::ForeignKey { .. }), "{missing:?}");
    assert!(all.delete(u64::MAX).await.unwrap().is_some());
    let left = parts.page(PageQuery::new()).await.unwrap().data;
    assert_eq!(left.iter().map(|it| it.id).collect::<Vec<_>>(), [2]);
    assert!(
        all.update(9, |row| row.number = Some(1))
            .await
            .unwrap()
            .is_some()
    );
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "plans")]
struct OldPlan {
    #[entity(primary_key)]
    id: i64,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "plans")]
struct Plan {
    #[entity(primary_key)]
    id: i64,
    #[entity(default = u64::MAX)]
    number: u64,
    #[entity(default = b"\x07\0")]
    #[serde(with = "tidings_core::base64")]
    data: Vec<u8>,
    #[entity(default = 0.1)]
    ratio: f32,
    #[entity(default = "in_review")]
    state: State,
    #[entity(default = 5)]
    since: Timestamp,
}

#[tokio::test]
async fn a_default_of_any_kind_is_given_to_rows_that_are_there() {
    let places = places().await;
    let url = &places[0].url;
    let store = Store::open(url).await.unwrap();
    let old = Fixture::attach(store, &[OldPlan::schema()]).await.unwrap();
    old.dao::<OldPlan>()
        .insert(OldPlan { id: 1 })
        .await
        .unwrap();
    old.store.close().await.unwrap();

    let store = Store::open(url).await.unwrap();
    let new = Fixture::attach(store, &[Plan::schema()]).await.unwrap();
    let expected = Plan {
        id: 1,
        number: u64::MAX,
        data: vec![7, 0],
        ratio: 0.1,
        state: State::InReview,
        since: Timestamp::from_unix(5),
    };
    assert_eq!(new.dao::<Plan>().select(1).await.unwrap(), Some(expected));
    new.store.close().await.unwrap();
}
