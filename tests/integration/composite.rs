//! Entities whose primary key is several fields, on a node: what its own writes and those of other
//! programs evict and announce, on either database.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    CachedBy, CachedRows as _, CrudEvent, Dao, Entity, Node, Ref, Store,
    clock::{Clock as _, SystemClock},
    store::Logging,
};
use tidings_testkit::{Database, Server};
use uuid::Uuid;

use crate::other_programs::{Program, sqlite::File};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "tenants")]
struct Tenant {
    #[entity(primary_key)]
    id: Uuid,
    name: String,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "quotas", cache_key("label", "limit"))]
struct Quota {
    #[entity(primary_key, foreign, on_delete = "cascade", on_update = "evict")]
    tenant: Ref<Tenant>,
    #[entity(primary_key)]
    name: String,
    #[entity(unique)]
    label: Option<String>,
    limit: i64,
}

const ANN: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);

fn quota(tenant: Uuid, name: &str, limit: i64) -> Quota {
    Quota {
        tenant: Ref::new(tenant),
        name: name.to_owned(),
        label: None,
        limit,
    }
}

/// A node on a database that another program writes to.
struct Rows<D> {
    database: D,
    _node: Node,
    tenants: Dao<Tenant>,
    quotas: Dao<Quota>,
    by_key: CachedBy<Quota>,
    events: Arc<Mutex<Vec<String>>>,
}

impl<D: Program> Rows<D> {
    async fn over(database: D, store: Store) -> Self {
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&events);
        let node = Node::builder()
            .store(store)
            .workers(1)
            .entity::<Tenant>()
            .entity::<Quota>()
            .log_poll(Duration::from_millis(20))
            .init_worker(move |worker| {
                let heard = Arc::clone(&heard);
                let tell = move |change: &CrudEvent<Quota>| {
                    let (old, new) = (&change.old_entity, &change.entity);
                    let tenant = if new.tenant.id == ANN { "ann" } else { "bob" };
                    let old = old.as_ref().map(|old| old.limit);
                    let text = format!(
                        "{} {tenant}:{} {old:?} {}",
                        change.operation, new.name, new.limit
                    );
                    heard.lock().expect("a list").push(text);
                };
                worker
                    .worker_events()
                    .register(tell, "crud", "quotas")?
                    .keep();
                Ok(())
            })
            .start()
            .await
            .expect("a node");
        let quotas = node.dao::<Quota>().expect("declared");
        let cached = quotas.cached().expect("a cache");
        let rows = Self {
            database,
            tenants: node.dao().expect("declared"),
            by_key: cached.by_all(&["tenant", "name"]).expect("a lookup"),
            quotas,
            _node: node,
            events,
        };
        for (id, name) in [(ANN, "ann"), (BOB, "bob")] {
            let name = name.to_owned();
            rows.tenants
                .insert(Tenant { id, name })
                .await
                .expect("inserted");
        }
        rows
    }

    /// The limit of a quota, through the cache.
    async fn limit(&self, tenant: Uuid, name: &str) -> Option<i64> {
        let found = self.by_key.get((tenant, name)).await.expect("a load");
        found.map(|quota| quota.limit)
    }

    /// What this thread holds of a quota, without a load.
    fn held(&self, tenant: Uuid, name: &str) -> Option<Option<i64>> {
        let held = self.by_key.peek((tenant, name))?;
        Some(held.map(|quota| quota.limit))
    }

    /// Takes the events once there are as many, in order of their texts.
    async fn events(&self, count: usize) -> Vec<String> {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(Duration::from_secs(20));
        while self.events.lock().expect("a list").len() < count {
            assert!(clock.now() < deadline, "{:?}", self.events);
            clock.sleep(Duration::from_millis(2)).await;
        }
        let mut events = std::mem::take(&mut *self.events.lock().expect("a list"));
        events.sort();
        events
    }

    /// Waits for an event that begins so.
    async fn heard(&self, event: &str) {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(Duration::from_secs(20));
        let is_there = |events: &Vec<String>| events.iter().any(|told| told.starts_with(event));
        while !is_there(&self.events.lock().expect("a list")) {
            assert!(clock.now() < deadline, "{:?}", self.events);
            clock.sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn on_sqlite() -> Rows<File> {
    let file = File::new();
    let store = file.store(Logging::On).await;
    Rows::over(file, store).await
}

async fn on_postgres() -> Rows<Database> {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    Rows::over(database, store).await
}

async fn own_writes_evict_what_is_cached_by_the_whole_key(rows: Rows<impl Program>) {
    assert_eq!(rows.limit(ANN, "a").await, None, "an absence is cached");
    rows.quotas
        .insert(quota(ANN, "a", 1))
        .await
        .expect("inserted");
    rows.quotas
        .insert(quota(BOB, "a", 2))
        .await
        .expect("inserted");
    assert_eq!(rows.limit(ANN, "a").await, Some(1));
    assert_eq!(rows.limit(BOB, "a").await, Some(2));
    rows.events(2).await;

    // Nothing of the row that differs in one part is evicted.
    let id = quota(ANN, "a", 0).id();
    rows.quotas
        .update(id.clone(), |row| row.limit = 3)
        .await
        .expect("updated");
    assert_eq!(rows.held(BOB, "a"), Some(Some(2)));
    assert_eq!(rows.limit(ANN, "a").await, Some(3));
    assert_eq!(rows.events(1).await, ["update ann:a Some(1) 3"]);

    // A parent takes its own rows along, and no others.
    let renamed = |row: &mut Tenant| row.name = "anne".to_owned();
    rows.tenants.update(ANN, renamed).await.expect("updated");
    assert_eq!(rows.held(ANN, "a"), None);
    assert_eq!(rows.held(BOB, "a"), Some(Some(2)));

    rows.quotas.delete(id).await.expect("deleted");
    assert_eq!(rows.limit(ANN, "a").await, None);
    rows.tenants.delete(BOB).await.expect("deleted");
    assert_eq!(rows.limit(BOB, "a").await, None, "it went with its parent");
    let events = rows.events(2).await;
    assert_eq!(events, ["delete ann:a None 3", "delete bob:a None 2"]);
}

async fn writes_of_other_programs_evict_and_are_heard(rows: Rows<impl Program>) {
    assert_eq!(rows.limit(ANN, "a:b").await, None, "an absence is cached");
    assert_eq!(rows.limit(BOB, "a:b").await, None);
    rows.database.write(&format!(
        "insert into quotas (tenant, name, \"limit\") values ('{ANN}', 'a:b', 1), ('{BOB}', 'a:b', 2), ('{ANN}', 'c', 3)"
    ));
    let events = rows.events(3).await;
    assert_eq!(
        events,
        [
            "create ann:a:b None 1",
            "create ann:c None 3",
            "create bob:a:b None 2"
        ]
    );
    assert_eq!(rows.limit(ANN, "a:b").await, Some(1));
    assert_eq!(rows.limit(BOB, "a:b").await, Some(2));

    rows.database.write(&format!(
        "update quotas set \"limit\" = 7 where tenant = '{ANN}' and name = 'a:b'"
    ));
    assert_eq!(rows.events(1).await, ["update ann:a:b Some(1) 7"]);
    assert_eq!(rows.held(BOB, "a:b"), Some(Some(2)), "one part differs");
    assert_eq!(rows.limit(ANN, "a:b").await, Some(7));

    // A key that another program changes: the row is gone under the old one.
    rows.database.write(&format!(
        "update quotas set name = 'd' where tenant = '{BOB}'"
    ));
    let _ = rows.events(1).await;
    assert_eq!(rows.limit(BOB, "a:b").await, None);
    assert_eq!(rows.limit(BOB, "d").await, Some(2));

    // A parent that another program changes takes its rows along.
    assert_eq!(rows.limit(ANN, "c").await, Some(3));
    rows.database
        .write(&format!("update tenants set name = 'x' where id = '{ANN}'"));
    rows.database.write(&format!(
        "delete from quotas where tenant = '{ANN}' and name = 'a:b'"
    ));
    // A key that changes may be two events, and one of them may come late.
    rows.heard("delete ann:a:b").await;
    assert_eq!(rows.limit(ANN, "a:b").await, None);
    assert_eq!(rows.held(ANN, "c"), None, "its record was applied before");
    assert_eq!(rows.limit(ANN, "c").await, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_evict_what_is_cached_by_the_whole_key_on_sqlite() {
    own_writes_evict_what_is_cached_by_the_whole_key(on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_evict_what_is_cached_by_the_whole_key_on_postgres() {
    own_writes_evict_what_is_cached_by_the_whole_key(on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_sqlite3_evict_and_are_heard() {
    writes_of_other_programs_evict_and_are_heard(on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_psql_evict_and_are_heard() {
    writes_of_other_programs_evict_and_are_heard(on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_needs_every_part_in_the_order_of_the_schema() {
    let rows = on_sqlite().await;
    let cached = rows.quotas.cached().expect("a cache");
    let refused = cached.by("tenant").expect_err("no lookup").to_string();
    assert_eq!(
        refused,
        "rows of quotas have no lookup by tenant; expected label and limit, tenant and name, label"
    );
    assert!(cached.by_all(&["name", "tenant"]).is_err());
    let key = rows
        .quotas
        .lookup_key(&["tenant", "name"], [ANN.to_string(), "a:b".to_owned()]);
    assert_eq!(key.expect("a key").as_str(), format!("quotas@:{ANN}:a%3Ab"));
}
