//! Nodes on one database: cache, protocol and a log each, as a node has them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tidings_cache::{Cache, GetOptions};
use tidings_cluster::{ClusterSettings, Intake, Parts, Protocol};
use tidings_core::{
    CacheKey, Field, Schema,
    clock::SystemClock,
    entropy::SystemEntropy,
    log::{Log as _, Mark},
    spawn::TokioSpawn,
};
use tidings_store::postgres::log::{InstallOptions, PgLog, PgLogSettings, PgMembers, install};
use tidings_testkit::{Database, Server};

use crate::watched::Watched;
pub(crate) use crate::watched::until;

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
        check_capture_every: Duration::from_secs(1),
    }
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
            facts: None,
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
