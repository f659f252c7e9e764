//! Rows that are read through the cache: no lookup outlives a change of its row, whatever it looks
//! up by.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidings::{
    CacheKey, CachedError, CachedRows, Dao, Entity, GetOptions, LoadRows, Node, Ref, Store,
    store::{ChangeSet, ChangeSink, Selector, WriteOptions},
};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "owners")]
struct Owner {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    name: String,
}

/// Looked up by its id, by two unique fields, and by two cache keys of several fields.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "tokens",
    cache_key("key"),
    cache_key("owner", "label"),
    cache_key("label", "number")
)]
struct Token {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    key: String,
    #[entity(unique)]
    serial: Option<Uuid>,
    #[entity(foreign, on_delete = "cascade")]
    owner: Ref<Owner>,
    label: Option<String>,
    number: Option<i64>,
}

struct Rows {
    node: Node,
    owners: Dao<Owner>,
    tokens: Dao<Token>,
    owner: Uuid,
}

impl Rows {
    async fn new() -> Self {
        let node = Node::builder()
            .store(Store::open("sqlite::memory:").await.unwrap())
            .entity::<Owner>()
            .entity::<Token>()
            .start()
            .await
            .unwrap();
        let owners = node.dao::<Owner>().unwrap();
        let owner = Owner {
            id: Uuid::nil(),
            name: "alice".into(),
        };
        let owner = owners.insert(owner).await.unwrap().id;
        Self {
            tokens: node.dao().unwrap(),
            owners,
            owner,
            node,
        }
    }

    fn token(&self, key: &str) -> Token {
        Token {
            id: Uuid::nil(),
            key: key.into(),
            serial: Some(Uuid::from_u128(7)),
            owner: Ref::new(self.owner),
            label: Some("red".into()),
            number: Some(1),
        }
    }

    /// What each lookup finds of a token, twice: loaded, and from this thread's level.
    async fn found(&self, token: &Token) -> Vec<Option<Arc<Token>>> {
        let cached = self.tokens.cached().unwrap();
        let (owner, label) = (token.owner.id, token.label.as_deref());
        let mut both = Vec::new();
        for _ in 0..2 {
            both.push(vec![
                cached.select_by("id", token.id).await.unwrap(),
                cached.select_by("key", token.key.as_str()).await.unwrap(),
                cached.select_by("serial", token.serial).await.unwrap(),
                cached
                    .select_by_all(&["owner", "label"], (owner, label))
                    .await
                    .unwrap(),
                cached
                    .select_by_all(&["label", "number"], (label, token.number))
                    .await
                    .unwrap(),
            ]);
        }
        let again = both.pop().unwrap();
        assert_eq!(both.pop().unwrap(), again);
        again
    }

    async fn assert_found(&self, token: &Token) {
        for (lookup, found) in self.found(token).await.into_iter().enumerate() {
            assert_eq!(found.as_deref(), Some(token), "lookup {lookup}");
        }
    }

    async fn assert_gone(&self, token: &Token) {
        for (lookup, found) in self.found(token).await.into_iter().enumerate() {
            assert_eq!(found, None, "lookup {lookup}");
        }
    }

    fn loads(&self) -> u64 {
        self.node.cache().stats().loads
    }
}

#[tokio::test]
async fn a_row_is_loaded_once_for_each_lookup() {
    let rows = Rows::new().await;
    let token = rows.tokens.insert(rows.token("a")).await.unwrap();
    rows.assert_found(&token).await;
    assert_eq!(rows.loads(), 5);
    rows.assert_found(&token).await;
    assert_eq!(rows.loads(), 5);

    let cached = rows.tokens.cached().unwrap();
    let by_key = cached.by("key").unwrap();
    assert_eq!(by_key.peek("a").flatten().as_deref(), Some(&token));
    assert_eq!(
        by_key.with("a", |row| row.map(|row| row.id)),
        Some(Some(token.id))
    );
    let by_label = cached.by_all(&["owner", "label"]).unwrap();
    assert!(by_label.get((rows.owner, "red")).await.unwrap().is_some());
    assert_eq!(rows.loads(), 5);
}

/// The key of the untyped cache and that of the lookup are one.
#[tokio::test]
async fn a_lookup_and_its_key_agree() {
    let rows = Rows::new().await;
    let token = rows.tokens.insert(rows.token("a")).await.unwrap();
    rows.assert_found(&token).await;
    let mut keys = Token::schema().cache_keys_of(&token.to_row());
    assert_eq!(keys.len(), 5);
    for key in &keys {
        let held = rows.node.cache().probe::<Token>(key).unwrap();
        assert_eq!(held.unwrap().value.as_deref(), Some(&token), "{key}");
    }
    keys.sort_by_key(ToString::to_string);
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    assert!(
        keys[0].starts_with("tokens:a") && keys[1].starts_with("tokens@"),
        "{keys:?}"
    );
}

/// Every field that it is looked up by changes: no lookup by the old values finds it, none by the
/// new values misses it.
#[tokio::test]
async fn an_update_moves_the_row_from_its_old_keys_to_its_new_ones() {
    let rows = Rows::new().await;
    let old = rows.tokens.insert(rows.token("a")).await.unwrap();
    let other = Owner {
        id: Uuid::nil(),
        name: "bob".into(),
    };
    let other = rows.owners.insert(other).await.unwrap().id;
    let new = Token {
        key: "b".into(),
        serial: Some(Uuid::from_u128(8)),
        owner: Ref::new(other),
        label: Some("blue".into()),
        number: None,
        ..old.clone()
    };
    rows.assert_found(&old).await;
    let ghost = Token {
        id: Uuid::from_u128(1),
        ..new.clone()
    };
    rows.assert_gone(&ghost).await;

    let changed = new.clone();
    rows.tokens
        .update(old.id, move |row| *row = changed)
        .await
        .unwrap();
    rows.assert_found(&new).await;
    let ghost = Token {
        id: Uuid::from_u128(1),
        ..old
    };
    rows.assert_gone(&ghost).await;
}

#[tokio::test]
async fn a_create_evicts_the_absences_that_were_cached() {
    let rows = Rows::new().await;
    let id = Uuid::from_u128(9);
    let token = Token {
        id,
        ..rows.token("a")
    };
    rows.assert_gone(&token).await;
    let created = rows.tokens.insert(token).await.unwrap();
    assert_eq!(created.id, id);
    rows.assert_found(&created).await;
}

#[tokio::test]
async fn a_delete_ends_every_lookup_also_one_that_cascades() {
    let rows = Rows::new().await;
    let token = rows.tokens.insert(rows.token("a")).await.unwrap();
    rows.assert_found(&token).await;
    rows.tokens.delete(token.id).await.unwrap();
    rows.assert_gone(&token).await;

    let token = rows.tokens.insert(rows.token("a")).await.unwrap();
    rows.assert_found(&token).await;
    let silent = WriteOptions::silent();
    rows.owners
        .delete_with(Selector::primary(rows.owner), silent)
        .await
        .unwrap();
    rows.assert_gone(&token).await;
}

/// Another spelling is another entry of this thread's, and the same key.
#[tokio::test]
async fn a_value_in_another_spelling_names_the_same_row() {
    let rows = Rows::new().await;
    let token = rows.tokens.insert(rows.token("a")).await.unwrap();
    let by_id = rows.tokens.cached().unwrap().by("id").unwrap();
    let spellings = [
        token.id.to_string(),
        token.id.to_string().to_uppercase(),
        token.id.simple().to_string(),
    ];
    for id in &spellings {
        match by_id.get(id.as_str()).await {
            Ok(found) => assert_eq!(found.as_deref(), Some(&token), "{id}"),
            Err(error) => assert!(
                error.load_error::<tidings::store::Error>().is_some(),
                "{id}"
            ),
        }
    }
    assert_eq!(by_id.get(token.id).await.unwrap().as_deref(), Some(&token));
    rows.tokens.delete(token.id).await.unwrap();
    for id in &spellings {
        assert!(
            by_id.get(id.as_str()).await.ok().flatten().is_none(),
            "{id}"
        );
    }
    assert_eq!(by_id.get(token.id).await.unwrap(), None);
}

#[tokio::test]
async fn absent_values_find_nothing() {
    let rows = Rows::new().await;
    let token = Token {
        serial: None,
        label: None,
        number: None,
        ..rows.token("a")
    };
    let token = rows.tokens.insert(token).await.unwrap();
    let cached = rows.tokens.cached().unwrap();
    assert_eq!(
        cached.select_by("serial", None::<Uuid>).await.unwrap(),
        None
    );
    let (no_label, no_number) = (None::<&str>, None::<i64>);
    let all = cached.select_by_all(&["label", "number"], (no_label, no_number));
    assert_eq!(
        all.await.unwrap(),
        None,
        "such a row is cached by its primary key"
    );
    // One part is set, so the row is there, and is evicted by it.
    let one = || cached.select_by_all(&["owner", "label"], (rows.owner, no_label));
    assert_eq!(one().await.unwrap().as_deref(), Some(&token));
    rows.tokens
        .update(token.id, |row| row.label = Some("red".into()))
        .await
        .unwrap();
    assert_eq!(one().await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_refused_by_name() {
    let rows = Rows::new().await;
    let cached = rows.tokens.cached().unwrap();
    let error = cached.select_by("label", "red").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rows of tokens have no lookup by label; expected key, id, owner and label, label and number, serial"
    );
    assert!(cached.by("kye").is_err() && cached.by_all(&["label", "owner"]).is_err());

    let error = cached.select_by("serial", "no uuid").await.unwrap_err();
    let CachedError::Get(error) = error else {
        panic!("{error}");
    };
    let source = error.load_error::<tidings::store::Error>();
    assert!(
        matches!(source, Some(tidings::store::Error::WrongKind { .. })),
        "{error}"
    );
    let error = cached
        .select_by_all(&["owner", "label"], (rows.owner, 7_i64))
        .await;
    assert!(error.is_err());
}

/// Receives commits, and evicts nothing.
struct Deaf;

impl ChangeSink for Deaf {
    fn committed(&self, _: ChangeSet) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}

#[tokio::test]
async fn a_store_that_tells_no_cache_has_no_cached_rows() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let attachment = tidings::store::Attachment {
        schemas: vec![Owner::schema()],
        sink: Arc::new(Deaf),
        clock: Arc::new(tidings::clock::SystemClock::new()),
        runtime: tokio::runtime::Handle::current(),
    };
    store.attach(attachment).await.unwrap();
    let error = store.dao::<Owner>().unwrap().cached().unwrap_err();
    assert_eq!(
        error.to_string(),
        "rows of owners cannot be cached: their store belongs to no node"
    );
}

/// What a transaction has written is its own until the commit: no one may be served it after a
/// rollback.
#[tokio::test]
async fn a_load_inside_a_transaction_answers_and_is_not_cached() {
    let rows = Rows::new().await;
    let token = rows.tokens.insert(rows.token("a")).await.unwrap();
    let cache = rows.node.cache();
    let by_id = CacheKey::primary("tokens", token.id);
    let by_key = rows.tokens.cache_key(&["a"]).unwrap();

    let transaction = rows.node.store().begin().await.unwrap();
    let inside = transaction.dao::<Token>().unwrap();
    let changed = inside.update(token.id, |row| row.number = Some(2));
    changed.await.unwrap();
    let refused = inside.cached();
    assert!(matches!(
        refused,
        Err(CachedError::InTransaction { entity: "tokens" })
    ));
    let found = async |tokens: &Dao<Token>| {
        let (plain, id) = (GetOptions::default, token.id);
        let one = cache.get(&by_id, plain(), || tokens.load(id)).await;
        let other = cache
            .get(&by_key, plain(), || tokens.load_by("key", "a"))
            .await;
        [one.unwrap(), other.unwrap()].map(|row| row.map(|row| row.number))
    };
    assert_eq!(found(&inside).await, [Some(Some(2)); 2]);
    transaction.rollback().await;

    assert_eq!(found(&rows.tokens).await, [Some(Some(1)); 2]);
    assert_eq!(cache.len(), 2, "what was read outside is cached");
}

/// A worker's own level, warm with the old row, is as good as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_thread_serves_the_old_row_after_a_write_has_returned() {
    let rows = Rows::new().await;
    let mut token = rows.tokens.insert(rows.token("0")).await.unwrap();
    let by_id = rows.tokens.cached().unwrap().by("id").unwrap();
    for round in 1..200_i64 {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (by_id, id) = (by_id.clone(), token.id);
                tokio::spawn(async move { by_id.get(id).await.unwrap().unwrap().number })
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), token.number);
        }
        rows.tokens
            .update(token.id, move |row| row.number = Some(round))
            .await
            .unwrap();
        token.number = Some(round);
    }
    let report = rows.node.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean());
}
