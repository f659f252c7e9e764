//! Rows that expire: by the database's clock, invisible to every read, and removed later.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Operation, Ref, Schema, Timestamp};
use tidings_store::{Error, PageQuery, Selector, Upserted};

use super::support::{Fixture, in_short};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "tokens", cache_key("token"))]
struct Token {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    token: Option<String>,
    #[entity(expires)]
    until: Option<Timestamp>,
}

/// Is deleted with its token.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "uses")]
struct Use {
    #[entity(primary_key)]
    id: i64,
    #[entity(foreign, on_delete = "cascade")]
    token: Ref<Token>,
}

/// Keeps its token.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "bills")]
struct Bill {
    #[entity(primary_key)]
    id: i64,
    #[entity(foreign)]
    token: Ref<Token>,
}

fn schemas() -> [&'static Schema; 3] {
    [Token::schema(), Use::schema(), Bill::schema()]
}

fn token(id: i64, token: &str, until: Option<Timestamp>) -> Token {
    Token {
        id,
        token: Some(token.to_owned()),
        until,
    }
}

/// The time this many seconds from now, by the database's clock.
async fn from_now(fixture: &Fixture, seconds: i64) -> Option<Timestamp> {
    let now = fixture.store.time().await.unwrap();
    Some(Timestamp::from_unix(now.as_unix() + seconds))
}

#[tokio::test]
async fn a_row_past_its_time_is_returned_by_nothing() {
    let fixture = Fixture::with(&schemas()).await;
    let tokens = fixture.dao::<Token>();
    let (past, ahead) = (from_now(&fixture, -5).await, from_now(&fixture, 500).await);
    for row in [
        token(1, "gone", past),
        token(2, "there", ahead),
        token(3, "lasting", None),
    ] {
        tokens.insert(row).await.unwrap();
    }

    assert_eq!(tokens.select(1).await.unwrap(), None);
    assert_eq!(tokens.select_by("token", "gone").await.unwrap(), None);
    let by_key = tokens.select_by_cache_key(&["gone"]).await.unwrap();
    assert_eq!(by_key, None);
    let page = tokens.page(PageQuery::new()).await.unwrap();
    let ids: Vec<_> = page.data.iter().map(|row| row.id).collect();
    assert_eq!(ids, [2, 3]);

    // It cannot be changed back, or deleted again.
    assert_eq!(
        tokens.update(1, |row| row.until = None).await.unwrap(),
        None
    );
    assert_eq!(tokens.delete(1).await.unwrap(), None);
    let there = tokens.select_by("token", "there").await.unwrap();
    assert_eq!(there, Some(token(2, "there", ahead)));
    // A row that sets its own expiry to the past is gone at once.
    let ended = tokens.update(2, move |row| row.until = past).await.unwrap();
    assert_eq!(ended, Some(token(2, "there", past)));
    assert_eq!(tokens.select(2).await.unwrap(), None);
}

/// CL20
#[tokio::test]
async fn a_read_tells_the_time_that_the_database_says_is_left() {
    let fixture = Fixture::with(&schemas()).await;
    let tokens = fixture.dao::<Token>();
    let until = from_now(&fixture, 500).await;
    tokens.insert(token(1, "a", until)).await.unwrap();
    tokens.insert(token(2, "b", None)).await.unwrap();

    // Regardless of the node's own clock.
    fixture.clock.advance(Duration::from_secs(10_000));
    let live = tokens.select_live(1).await.unwrap().unwrap();
    assert_eq!(live.row.id, 1);
    let left = live.left.unwrap();
    assert!(left <= Duration::from_secs(500), "{left:?}");
    assert!(left > Duration::from_secs(400), "{left:?}");
    let lasting = tokens.select_live_by("token", "b").await.unwrap().unwrap();
    assert_eq!(lasting.left, None);
    let page = tokens.page_live(PageQuery::new()).await.unwrap().data;
    assert!(page[0].left.is_some() && page[1].left.is_none(), "{page:?}");
    // At the moment of expiry, the row has expired.
    let now = from_now(&fixture, 0).await;
    tokens.insert(token(3, "c", now)).await.unwrap();
    assert_eq!(tokens.select_live(3).await.unwrap(), None);
}

#[tokio::test]
async fn rows_past_their_time_are_removed_with_what_hangs_on_them() {
    let fixture = Fixture::with(&schemas()).await;
    let tokens = fixture.dao::<Token>();
    let uses = fixture.dao::<Use>();
    let past = from_now(&fixture, -5).await;
    for id in 0..250 {
        tokens
            .insert(token(id, &format!("t{id}"), past))
            .await
            .unwrap();
    }
    let lasting = tokens.insert(token(900, "lasting", None)).await.unwrap();
    let gone = Use {
        id: 1,
        token: Ref::new(7),
    };
    uses.insert(gone.clone()).await.unwrap();
    uses.insert(Use {
        id: 2,
        token: Ref::to(&lasting),
    })
    .await
    .unwrap();
    fixture
        .dao::<Bill>()
        .insert(Bill {
            id: 1,
            token: Ref::new(9),
        })
        .await
        .unwrap();
    fixture.sink.take();

    let cleared = tokens.table().remove_expired().await.unwrap();
    assert_eq!(
        (cleared.removed, cleared.kept, cleared.busy),
        (249, 1, false)
    );
    let received = fixture.sink.take();
    let changes: Vec<_> = received.iter().flat_map(|set| &set.changes).collect();
    assert_eq!(changes.len(), 250, "the tokens and the use of one");
    assert!(changes.iter().all(|it| it.operation == Operation::Delete));
    let evicted: Vec<_> = received.iter().flat_map(|set| &set.evict).collect();
    assert!(evicted.iter().any(|key| key.as_str() == "tokens:t3"));
    assert_eq!(uses.select(1).await.unwrap(), None);
    assert!(uses.select(2).await.unwrap().is_some());

    // A row that cannot be removed stays, and is tried again.
    let again = tokens.table().remove_expired().await.unwrap();
    assert_eq!((again.removed, again.kept), (0, 1));
    fixture.dao::<Bill>().delete(1).await.unwrap();
    assert_eq!(tokens.table().remove_expired().await.unwrap().removed, 1);
    assert_eq!(tokens.table().remove_expired().await.unwrap().removed, 0);
    // An entity whose rows do not expire has none to remove.
    assert_eq!(uses.table().remove_expired().await.unwrap().removed, 0);
}

#[tokio::test]
async fn a_row_past_its_time_is_in_no_ones_way() {
    let fixture = Fixture::with(&schemas()).await;
    let tokens = fixture.dao::<Token>();
    let past = from_now(&fixture, -5).await;
    for (id, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        tokens.insert(token(id, name, past)).await.unwrap();
    }
    fixture.sink.take();

    // By its primary key, and by a unique field.
    let again = tokens.insert(token(1, "b", None)).await.unwrap();
    assert_eq!(
        tokens.select_by("token", "b").await.unwrap(),
        Some(again.clone())
    );
    let set = fixture.sink.take_one();
    let mut said: Vec<_> = set.changes.iter().map(in_short).collect();
    said.sort();
    // One was replaced, and one was removed.
    assert_eq!(said, ["delete tokens", "update tokens"]);
    let renamed = tokens.update(1, |row| row.token = Some("c".to_owned()));
    assert!(renamed.await.unwrap().is_some());
    let (made, how) = tokens
        .upsert_by("token", "d", token(9, "d", None))
        .await
        .unwrap();
    assert_eq!((made.id, how), (9, Upserted::Created));

    // One that is still there is.
    let clash = tokens.insert(token(10, "c", None)).await.unwrap_err();
    assert!(matches!(clash, Error::Unique { .. }), "{clash:?}");
    // So is one that has to stay.
    tokens.insert(token(20, "kept", past)).await.unwrap();
    fixture
        .dao::<Bill>()
        .insert(Bill {
            id: 1,
            token: Ref::new(20),
        })
        .await
        .unwrap();
    let clash = tokens.insert(token(21, "kept", None)).await.unwrap_err();
    assert!(matches!(clash, Error::Unique { .. }), "{clash:?}");
}

#[tokio::test]
async fn a_delete_takes_rows_past_their_time_along() {
    #[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[entity(name = "leaves")]
    struct Leaf {
        #[entity(primary_key)]
        id: i64,
        #[entity(foreign, on_delete = "cascade")]
        on: Option<Ref<Leaf>>,
        #[entity(expires)]
        until: Option<Timestamp>,
    }
    let fixture = Fixture::with(&[Leaf::schema()]).await;
    let leaves = fixture.dao::<Leaf>();
    let past = from_now(&fixture, -5).await;
    for (id, on, until) in [(1, None, None), (2, Some(1), past), (3, Some(2), past)] {
        let on = on.map(Ref::new);
        leaves.insert(Leaf { id, on, until }).await.unwrap();
    }
    fixture.sink.take();
    assert!(leaves.delete(1).await.unwrap().is_some());
    assert_eq!(fixture.sink.take_one().changes.len(), 3);

    // A row whose delete cascades to another expired row does not delete it twice.
    for (id, on) in [(1, None), (2, Some(1)), (3, Some(2))] {
        let on = on.map(Ref::new);
        leaves
            .insert(Leaf {
                id,
                on,
                until: past,
            })
            .await
            .unwrap();
    }
    fixture.sink.take();
    assert_eq!(leaves.table().remove_expired().await.unwrap().removed, 1);
    assert_eq!(fixture.sink.take_one().changes.len(), 3);
    let all = leaves
        .table()
        .delete(Selector::primary(1_i64), Default::default());
    assert_eq!(all.await.unwrap(), None);
}
