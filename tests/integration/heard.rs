//! A node whose handlers write down what they receive, on a database that other programs write to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidings::{
    CrudEvent, Dao, Entity, GetOptions, Node, Ref, Store,
    clock::{Clock as _, SystemClock},
    store::{Logging, Selector},
};
use tidings_testkit::{Database, Server};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "owners")]
pub(crate) struct Owner {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    #[entity(unique)]
    pub(crate) name: String,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "things", cache_key("code"))]
pub(crate) struct Thing {
    #[entity(primary_key)]
    pub(crate) id: i64,
    #[entity(unique)]
    pub(crate) code: String,
    pub(crate) note: Option<String>,
    #[entity(foreign, on_delete = "cascade", on_update = "evict")]
    pub(crate) owner: Option<Ref<Owner>>,
}

pub(crate) fn thing(id: i64, note: &str) -> Thing {
    Thing {
        id,
        code: format!("t{id}"),
        note: Some(note.to_owned()),
        owner: None,
    }
}

pub(crate) fn by_id(id: i64) -> Selector {
    Selector::primary(id)
}

/// A node on a database, what its handlers received, and how often the cache loaded.
pub(crate) struct Heard<D> {
    pub(crate) database: D,
    pub(crate) node: Node,
    pub(crate) events: Arc<Mutex<Vec<String>>>,
    pub(crate) gaps: Arc<Mutex<Vec<String>>>,
    loads: Arc<AtomicUsize>,
}

impl<D: Sync> Heard<D> {
    /// Starts a node on a store.
    pub(crate) async fn with(database: D, store: Store) -> Self {
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let gaps: Arc<Mutex<Vec<String>>> = Arc::default();
        let (hook, gap) = (Arc::clone(&events), Arc::clone(&gaps));
        let node = Node::builder()
            .store(store)
            .entity::<Owner>()
            .entity::<Thing>()
            .log_poll(Duration::from_millis(20))
            .on_gap(move |told| gap.lock().expect("a list").push(told.to_string()))
            .init_worker(move |worker| {
                let (things, owners) = (Arc::clone(&hook), Arc::clone(&hook));
                let bus = worker.worker_events();
                let tell = move |change: &CrudEvent<Thing>| {
                    let (old, new) = (&change.old_entity, &change.entity);
                    let old = old.as_ref().and_then(|old| old.note.clone());
                    let text = format!("{} {} {old:?} {:?}", change.operation, new.id, new.note);
                    things.lock().expect("a list").push(text);
                };
                bus.register(tell, "crud", "things")?.keep();
                let tell = move |change: &CrudEvent<Owner>| {
                    let text = format!("{} {}", change.operation, change.entity.name);
                    owners.lock().expect("a list").push(text);
                };
                bus.register(tell, "crud", "owners")?.keep();
                Ok(())
            })
            .start()
            .await
            .expect("a node");
        Self {
            database,
            node,
            events,
            gaps,
            loads: Arc::default(),
        }
    }

    pub(crate) fn things(&self) -> Dao<Thing> {
        self.node.dao::<Thing>().expect("declared")
    }

    /// The note of a thing, through the cache.
    pub(crate) async fn note(&self, code: &str) -> Option<String> {
        let things = self.node.dao::<Thing>().expect("declared");
        let key = things.cache_key(&[code]).expect("one part");
        let (loads, code) = (Arc::clone(&self.loads), code.to_owned());
        let load = move || {
            loads.fetch_add(1, Ordering::SeqCst);
            things.select_by("code", code)
        };
        let found = self.node.cache().get(&key, GetOptions::default(), load);
        let found: Option<Arc<Thing>> = found.await.expect("a load");
        found.and_then(|thing| thing.note.clone())
    }

    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    /// Takes the events once there are at least this many.
    pub(crate) async fn events(&self, count: usize) -> Vec<String> {
        self.until(|heard| heard.events.lock().expect("a list").len() >= count)
            .await;
        std::mem::take(&mut *self.events.lock().expect("a list"))
    }

    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let late = || format!("{:?} {:?}", self.events, self.gaps);
        poll(late, async || holds(self)).await;
    }

    /// Waits until a cached note is this one.
    pub(crate) async fn until_note(&self, code: &str, note: Option<&str>) {
        let late = || format!("{code} is not {note:?}");
        poll(late, async || self.note(code).await.as_deref() == note).await;
    }

    /// Waits until the cache keeps the loads of a thing.
    pub(crate) async fn until_kept(&self, code: &str) {
        let late = || format!("{code} is loaded at every call");
        let is_kept = async || {
            let _ = self.note(code).await;
            let loads = self.loads();
            let _ = self.note(code).await;
            self.loads() == loads
        };
        poll(late, is_kept).await;
    }
}

/// Waits until a condition holds; fails with this text when it does not within 20 seconds.
async fn poll(late: impl Fn() -> String, holds: impl AsyncFn() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(Duration::from_secs(20));
    while !holds().await {
        assert!(clock.now() < deadline, "{}", late());
        clock.sleep(Duration::from_millis(2)).await;
    }
}

/// One node for each kind of database, and what must outlive them.
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<(&'static str, Heard<()>)>,
    pub(crate) outlives: (TempDir, Database),
}

impl Nodes {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
        let database = Server::shared().database().await;
        let logging = Store::options(file("log.db")).logging(Logging::On);
        let stores = [
            ("memory", Store::open("sqlite::memory:").await),
            ("file", Store::open(&file("plain.db")).await),
            ("file with a log", logging.open().await),
            ("postgres", Store::open(&database.url()).await),
        ];
        let mut nodes = Vec::new();
        for (name, store) in stores {
            nodes.push((name, Heard::with((), store.expect("a store")).await));
        }
        Self {
            nodes,
            outlives: (folder, database),
        }
    }
}
