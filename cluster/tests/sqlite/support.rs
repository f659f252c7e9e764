//! Nodes on one file: a store, cache, protocol and log each, as a node has them.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tidings_cache::{Cache, GetOptions};
use tidings_cluster::{ClusterSettings, Intake, Parts, Protocol};
use tidings_core::{
    CacheKey, Field, Row, Schema, Value,
    clock::SystemClock,
    entropy::SystemEntropy,
    log::{CommitName, Log, LogFuture, Mark, Members},
    spawn::TokioSpawn,
};
use tidings_store::{
    Attachment, ChangeSet, ChangeSink, KeptLog, LogNeeds, Sharing, Store, WriteOptions,
};

use crate::watched::{Watched, until};

pub(crate) fn schemas() -> Vec<&'static Schema> {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        Schema::builder("consumers")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<String>("name").unique())
            .cache_key(&["name"])
            .build()
    });
    vec![schema]
}

/// A file in a directory of its own.
pub(crate) struct File(tempfile::TempDir);

impl File {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.db")
    }

    pub(crate) async fn store(&self) -> Store {
        let url = format!("sqlite://{}", self.path().display());
        let store = Store::options(url).sharing(Sharing::Cluster).open().await;
        store.expect("a store")
    }

    /// Runs SQL in Debian's `sqlite3`. Returns its output.
    pub(crate) fn sqlite3(&self, sql: &str) -> String {
        let done = Command::new("sqlite3")
            .args(["-bail", "-cmd", ".timeout 5000"])
            .arg(self.path())
            .arg(sql)
            .output()
            .expect("scripts/prepare installs it");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(error.is_empty(), "{error}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

pub(crate) fn needs(name: &str) -> LogNeeds {
    LogNeeds {
        node: name.into(),
        schemas: schemas(),
        recorded: Vec::new(),
        check_capture_every: Duration::from_secs(1),
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(TokioSpawn::current().expect("a runtime")),
    }
}

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new("consumers", &[name])
}

/// Keeps the name of the last commit.
#[derive(Default)]
pub(crate) struct Last(Mutex<Option<CommitName>>);

impl ChangeSink for Last {
    fn committed(&self, changes: ChangeSet) -> LogFuture<'static, ()> {
        *self.0.lock().expect("a commit") = changes.commit;
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}

/// A node as the tests drive it.
pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) protocol: Protocol,
    pub(crate) watched: Arc<Watched>,
    log: Arc<dyn KeptLog>,
    store: Store,
    last: Arc<Last>,
}

impl Node {
    /// Starts a node and waits until it follows the log.
    pub(crate) async fn start(file: &File, name: &str, bound: Option<Duration>) -> Self {
        let store = file.store().await;
        let needs = needs(name);
        let last = Arc::new(Last::default());
        let attached = store.attach(Attachment {
            schemas: schemas(),
            sink: Arc::clone(&last) as _,
            clock: Arc::clone(&needs.clock),
            runtime: tokio::runtime::Handle::current(),
        });
        attached.await.expect("attached");
        let members: Arc<dyn Members> = store.members(&needs).expect("a shared file");
        let log = store.log(needs.clone()).expect("a log");
        let settings = ClusterSettings::new().max_staleness(bound);
        let read = Arc::clone(&log) as Arc<dyn Log>;
        let intake = Intake::new(read, Arc::clone(&needs.clock), &settings);
        let cache = Cache::builder().fills(Arc::clone(&intake) as _).build();
        let cache = cache.expect("a cache");
        let watched = Arc::new(Watched::default());
        let protocol = Protocol::assemble(Parts {
            node: name.into(),
            intake,
            members: Some(members),
            facts: None,
            carrier: None,
            cache: cache.clone(),
            schemas: schemas(),
            announce: Arc::clone(&watched) as _,
            observe: Arc::clone(&watched) as _,
            clock: needs.clock,
            spawn: needs.spawn,
            entropy: Arc::new(SystemEntropy),
            settings,
        })
        .expect("a node");
        let node = Self {
            cache,
            protocol,
            watched,
            log,
            store,
            last,
        };
        node.watched.until(|seen| seen.purges > 0).await;
        until(|| node.protocol.gate().is_open()).await;
        node
    }

    /// Puts a value under a key, as a load would.
    pub(crate) async fn fill(&self, name: &str, value: &str) {
        let value = value.to_owned();
        let load = || async { Ok::<_, std::io::Error>(Some(value)) };
        let key = key(name);
        let filled = self.cache.get(&key, GetOptions::default(), load);
        filled.await.expect("a value");
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        let cached = self.cache.cached::<String>(&key(name));
        cached.expect("text").is_some()
    }

    /// Writes a row through the store. Returns its mark.
    pub(crate) async fn write(&self, id: i64, name: &str) -> Mark {
        let table = self.store.table("consumers").expect("attached");
        let row = Row(vec![Value::Integer(id), Value::from(name.to_owned())]);
        let written = table.insert(row, WriteOptions::default()).await;
        written.expect("written");
        let commit = self.last.0.lock().expect("a commit").take();
        self.log.mark(commit.expect("a commit")).expect("a mark")
    }
}
