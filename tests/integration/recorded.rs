//! Entities without a table of their own: their changes are those that an application's own SQL
//! records in its transactions.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, to_bytes};
use http::Request;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tidings::{
    CacheKey, CrudEvent, Entity, GetOptions, Node, Ref, Store,
    store::{Logging, Sharing, outbox},
};
use tidings_admin::AdminOptions;
use tidings_testkit::Server;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::{heard::Owner, other_programs::sqlite::File};

/// A row put together from several tables.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "prices", cache_key("product"))]
struct Price {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    product: String,
    cents: i64,
}

/// A row whose key is masked in lists.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "vouchers", cache_key("code"))]
struct Voucher {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique, secret)]
    code: String,
}

/// A row without a table that refers to one with a table.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "quotes", cache_key("id"))]
struct Quote {
    #[entity(primary_key)]
    id: i64,
    #[entity(foreign, on_update = "evict")]
    owner: Ref<Owner>,
}

/// A row with a table that refers to one without.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "offers")]
struct Offer {
    #[entity(primary_key)]
    id: i64,
    #[entity(foreign)]
    price: Ref<Price>,
}

fn price(cents: i64) -> Price {
    Price {
        id: 7,
        product: "tea".to_owned(),
        cents,
    }
}

enum End {
    Commit,
    Rollback,
}

/// A node that reports the changes it receives, and caches the price of tea.
struct Shop {
    node: Node,
    hears: mpsc::UnboundedReceiver<String>,
}

impl Shop {
    async fn open(store: Store) -> Self {
        let node = Node::builder()
            .store(store)
            .recorded_entity::<Price>()
            .log_poll(Duration::from_millis(20))
            .start()
            .await
            .expect("a node");
        let (heard, hears) = mpsc::unbounded_channel();
        let tell = move |change: &CrudEvent<Price>| {
            let old = change.old_entity.as_ref().map(|price| price.cents);
            let text = format!("{} {old:?} {}", change.operation, change.entity.cents);
            let _ = heard.send(text);
        };
        let registered = node.worker_events().register(tell, "crud", "prices");
        registered.expect("declared").keep();
        Self { node, hears }
    }

    /// The price, through the cache; `there` is what a load would find.
    async fn cents(&self, there: i64) -> i64 {
        let key = CacheKey::new(Price::NAME, &["tea"]);
        let load = move || async move { Ok::<_, std::io::Error>(Some(price(there))) };
        let found = self.node.cache().get(&key, GetOptions::default(), load);
        let found: Option<Arc<Price>> = found.await.expect("a load");
        found.expect("a price").cents
    }

    async fn runs(mut self, mut record: impl AsyncFnMut(&CrudEvent<Price>, End)) {
        record(&CrudEvent::created(price(400)), End::Commit).await;
        assert_eq!(self.hears.recv().await.as_deref(), Some("create None 400"));
        assert_eq!(self.cents(400).await, 400);
        assert_eq!(self.cents(1).await, 400, "it is cached");

        let update = |cents| CrudEvent::updated(price(400), price(cents));
        record(&update(1), End::Rollback).await;
        record(&update(320), End::Commit).await;
        let told = self.hears.recv().await;
        assert_eq!(told.as_deref(), Some("update Some(400) 320"));
        assert_eq!(self.cents(320).await, 320, "the update has evicted it");

        record(&CrudEvent::deleted(price(320)), End::Commit).await;
        assert_eq!(self.hears.recv().await.as_deref(), Some("delete None 320"));
        assert_eq!(self.cents(2).await, 2, "the delete has evicted it");

        let refused = self.node.dao::<Price>().expect_err("it has no table");
        assert!(refused.to_string().contains("prices"), "{refused}");
        assert!(self.node.schemas().is_empty(), "nothing offers its rows");
        let schema = self.node.schema(Price::NAME).expect("its keys are known");
        assert_eq!(schema, Price::schema());
        let ended = self.node.shutdown(Duration::from_secs(5)).await;
        assert!(ended.is_clean());
    }
}

/// If nodes differ in whether an entity has a table, one of the programs is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_table_is_told_from_one_that_hears_of_records() {
    let database = Server::shared().database().await;
    let mut digests = Vec::new();
    for name in ["a", "b", "c"] {
        let store = Store::options(database.url()).sharing(Sharing::Cluster);
        let node = Node::builder()
            .store(store.open().await.expect("a store"))
            .node_id(name)
            .entity::<Owner>();
        let node = match name {
            "a" => node.entity::<Price>(),
            _ => node.recorded_entity::<Price>(),
        };
        let node = node.start().await.expect("a node");
        let view = node.cluster().expect("a member").view(Duration::ZERO).await;
        let own = view.members.iter().find(|member| &*member.node == name);
        let facts = own.and_then(|member| member.facts.clone());
        let told = facts.expect("it says something of itself").schemas;
        digests.push(told);
        assert!(node.shutdown(Duration::from_secs(5)).await.is_clean());
    }
    assert_eq!(digests[1], digests[2]);
    assert_ne!(digests[0], digests[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_on_postgres_evicts_and_is_heard() {
    let database = Server::shared().database().await;
    let shop = Shop::open(Store::open(&database.url()).await.expect("a store")).await;
    let mut connection = database.connect().await;
    let record = async |event: &CrudEvent<Price>, end| {
        let mut transaction = connection.begin().await.expect("a transaction");
        let recorded = outbox::record(&mut transaction, event).await;
        recorded.expect("recorded");
        let ended = match end {
            End::Commit => transaction.commit().await,
            End::Rollback => transaction.rollback().await,
        };
        ended.expect("an end");
    };
    shop.runs(record).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_on_sqlite_evicts_and_is_heard() {
    let file = File::new();
    let shop = Shop::open(file.store(Logging::On).await).await;
    let mut connection = SqliteConnection::connect(&file.url()).await.expect("it");
    let patience = connection.execute("pragma busy_timeout = 5000").await;
    patience.expect("a time-out");
    let record = async |event: &CrudEvent<Price>, end| {
        let begun = connection.begin_with("begin immediate").await;
        let mut transaction = begun.expect("a transaction");
        let recorded = outbox::record(&mut transaction, event).await;
        recorded.expect("recorded");
        let ended = match end {
            End::Commit => transaction.commit().await,
            End::Rollback => transaction.rollback().await,
        };
        ended.expect("an end");
    };
    shop.runs(record).await;
}

/// A node for vouchers, whose codes are secret.
async fn of_vouchers(file: &File) -> Node {
    Node::builder()
        .store(file.store(Logging::On).await)
        .recorded_entity::<Voucher>()
        .start()
        .await
        .expect("a node")
}

/// A secret field of a recorded entity is secret in its cache keys too.
#[tokio::test]
async fn the_secret_keys_of_a_recorded_entity_are_masked_where_they_are_listed() {
    let file = File::new();
    let node = of_vouchers(&file).await;
    let key = CacheKey::new(Voucher::NAME, &["top-secret"]);
    let set = node.cache().set(&key, Some(1_u8), GetOptions::default());
    set.expect("it is kept");

    let router = tidings_admin::router(node.clone(), AdminOptions::default());
    let request = Request::get("/cache").header("host", "localhost");
    let request = request.body(Body::empty()).expect("a request");
    let answer = router.oneshot(request).await.expect("an answer");
    let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(text.contains("vouchers:***"), "{text}");
    assert!(!text.contains("top-secret"), "{text}");
}

/// Errors are logged, also by those who have only an error.
#[tokio::test]
async fn errors_of_the_cache_show_no_secret_of_a_key() {
    let file = File::new();
    let node = of_vouchers(&file).await;
    let key = CacheKey::new(Voucher::NAME, &["top-secret"]);
    let fails = || async { Err::<Option<u8>, _>(std::io::Error::other("down")) };
    let failed = node.cache().get(&key, GetOptions::default(), fails).await;
    let panics = || async { panic!("{}", "no") as std::io::Result<Option<u8>> };
    let panicked = node.cache().get(&key, GetOptions::default(), panics).await;
    let refused = GetOptions::default().ttl(std::time::Duration::MAX);
    let refused = node.cache().set(&key, Some(1_u8), refused);
    for text in [
        format!("{:?}", failed.as_ref().expect_err("down")),
        failed.expect_err("down").to_string(),
        panicked.expect_err("it panicked").to_string(),
        refused.expect_err("too long").to_string(),
    ] {
        assert!(text.contains("vouchers:***"), "{text}");
        assert!(!text.contains("top-secret"), "{text}");
    }
}

#[tokio::test]
async fn an_entity_that_is_recorded_says_so_when_it_is_asked_for_a_dao() {
    let file = File::new();
    let builder = Node::builder().store(file.store(Logging::On).await);
    let node = builder.recorded_entity::<Price>().start().await;
    let node = node.expect("a node");
    let refused = [
        node.dao::<Price>().expect_err("no table").to_string(),
        node.table("prices").expect_err("no table").to_string(),
    ];
    for said in refused {
        assert!(said.contains("prices is recorded"), "{said}");
    }
    let unknown = node.dao::<Offer>().expect_err("not declared").to_string();
    assert!(!unknown.contains("recorded"), "{unknown}");
    let _ = node.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_start_refuses_recorded_entities_that_cannot_be_heard_of_or_are_declared_twice() {
    let refused = async |logging, set: fn(tidings::NodeBuilder) -> tidings::NodeBuilder| {
        let file = File::new();
        let builder = Node::builder().store(file.store(logging).await);
        let refused = set(builder).start().await.expect_err("refused");
        tidings::core::Chain(&refused).to_string()
    };
    let silent = refused(Logging::Off, |node| node.recorded_entity::<Price>()).await;
    assert!(silent.contains("Logging::On"), "{silent}");
    let twice = |node: tidings::NodeBuilder| node.entity::<Price>().recorded_entity::<Price>();
    let twice = refused(Logging::On, twice).await;
    assert!(twice.contains("prices"), "{twice}");
    let referred = |node: tidings::NodeBuilder| node.entity::<Offer>().recorded_entity::<Price>();
    let referred = refused(Logging::On, referred).await;
    assert!(referred.contains("prices"), "{referred}");
    let goes_along = |node: tidings::NodeBuilder| {
        let node = node.entity::<Owner>();
        node.recorded_entity::<Quote>()
    };
    let goes_along = refused(Logging::On, goes_along).await;
    assert!(goes_along.contains("owner"), "{goes_along}");
}
