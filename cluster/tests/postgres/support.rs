//! Nodes on one database: cache, protocol and a log each, as a node has them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tidings_cache::{Cache, GetOptions};
use tidings_cluster::{
    Announce, Change, ClusterSettings, Handling, Intake, Observe, Parts, Protocol, Trace,
};
use tidings_core::{
    CacheKey, Cause, Field, Schema,
    clock::SystemClock,
    entropy::SystemEntropy,
    log::{Gap, Log as _, Mark, Posted},
    spawn::TokioSpawn,
};
use tidings_store::postgres::log::{InstallOptions, PgLog, PgLogSettings, PgMembers, install};
use tidings_testkit::{Database, Server};
use tokio::sync::watch;

/// Longer than anything here takes, and shorter than a test run that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

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

pub(crate) async fn captured(server: &Server) -> Database {
    let database = server.database().await;
    database.psql("create table consumers (id bigint primary key, name text unique)");
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(installed.expect("captured").changed.len(), 1);
    database
}

pub(crate) fn settings_of(database: &Database) -> PgLogSettings {
    PgLogSettings {
        options: database.options(),
        schemas: schemas(),
        recorded: Vec::new(),
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(TokioSpawn::current().expect("a runtime")),
        retire: None,
        look: Duration::from_secs(1),
    }
}

/// Waits for a condition, but not without end.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, met).await;
    waited.expect("it comes within a minute");
}

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new("consumers", &[name])
}

/// A node as the tests drive it.
pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) protocol: Protocol,
    pub(crate) log: Arc<PgLog>,
    pub(crate) watched: Arc<Watched>,
}

impl Node {
    /// Starts a node and waits until it follows the log.
    pub(crate) async fn start(database: &Database, name: &str, bound: Option<Duration>) -> Self {
        let node = Self::begin(database, name, bound);
        node.watched.until(|seen| seen.purges > 0).await;
        until(|| node.protocol.gate().is_open()).await;
        node
    }

    /// Starts a node.
    pub(crate) fn begin(database: &Database, name: &str, bound: Option<Duration>) -> Self {
        let settings = settings_of(database);
        let log = Arc::new(PgLog::new(settings.clone()));
        let own = ClusterSettings::new().max_staleness(bound);
        let clock = Arc::clone(&settings.clock);
        let intake = Intake::new(Arc::clone(&log) as _, clock, &own);
        let cache = Cache::builder().fills(Arc::clone(&intake) as _).build();
        let cache = cache.expect("a cache");
        let watched = Arc::new(Watched::default());
        let protocol = Protocol::assemble(Parts {
            node: name.into(),
            intake,
            members: Some(Arc::new(PgMembers::new(&settings))),
            carrier: None,
            cache: cache.clone(),
            schemas: schemas(),
            announce: Arc::clone(&watched) as _,
            observe: Arc::clone(&watched) as _,
            clock: settings.clock,
            spawn: settings.spawn,
            entropy: Arc::new(SystemEntropy),
            settings: own,
        })
        .expect("a node");
        Self {
            cache,
            protocol,
            log,
            watched,
        }
    }

    /// Puts a value under a key, as a load would.
    pub(crate) async fn fill(&self, name: &str, value: &str) {
        let value = value.to_owned();
        self.cache
            .get(&key(name), GetOptions::default(), || async {
                Ok::<_, std::io::Error>(Some(value))
            })
            .await
            .expect("a value");
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        self.cache
            .cached::<String>(&key(name))
            .expect("text")
            .is_some()
    }

    /// Writes a row in a transaction of its own, as a DAO would. Returns its mark.
    pub(crate) async fn write(&self, database: &Database, id: i64, name: &str) -> Mark {
        let head = self.log.head(None).await.expect("a head");
        let xid = database.psql(&format!(
            "with row as (insert into consumers values ({id}, '{name}') \
             on conflict (id) do update set name = excluded.name returning id) \
             select pg_current_xact_id() from row"
        ));
        let number = xid.trim().parse().expect("a transaction's id");
        Mark::new(head.cursor.epoch(), number)
    }
}

/// What the protocol and the handlers of a node have done.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    seen: watch::Sender<Seen>,
    /// Whether handlers wait.
    held: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) purges: usize,
    pub(crate) evicted: Vec<String>,
    pub(crate) changes: Vec<String>,
    pub(crate) gaps: Vec<Gap>,
}

impl Watched {
    /// Waits for a condition.
    pub(crate) async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| condition(seen))).await;
        match waited {
            Ok(met) => drop(met.expect("the watched node is there")),
            Err(_) => panic!("it never came: {:?}", self.now()),
        }
    }

    pub(crate) fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Makes handlers wait, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

impl Observe for Watched {
    fn trace(&self, trace: &Trace<'_>) {
        self.seen.send_modify(|seen| match trace {
            Trace::Evicted { key, .. } => seen.evicted.push(key.to_string()),
            Trace::Purged => seen.purges += 1,
        });
    }
}

impl Announce for Watched {
    fn announce(&self, change: Change) -> Handling {
        let row = change.row.to_json(change.schema);
        let text = format!("{} {} {}", change.operation, row["id"], row["name"]);
        let (seen, mut held) = (self.seen.clone(), self.held.subscribe());
        Box::pin(async move {
            let free = held.wait_for(|held| !held).await;
            drop(free);
            seen.send_modify(|seen| seen.changes.push(text));
        })
    }

    fn event(&self, posted: &Posted, _: Cause) -> Handling {
        let text = format!("{} {} {}", posted.source, posted.event, posted.payload);
        self.seen.send_modify(|seen| seen.changes.push(text));
        Box::pin(std::future::ready(()))
    }

    fn gap(&self, gap: &Gap) {
        self.seen.send_modify(|seen| seen.gaps.push(gap.clone()));
    }

    fn listens(&self, _: &str) -> bool {
        true
    }
}
