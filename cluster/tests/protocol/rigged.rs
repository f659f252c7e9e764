//! A log in memory that is out of reach, without capture, or has children, as a test says; and a
//! node on it.

#![expect(
    clippy::disallowed_types,
    reason = "these tests run on tokio, and repeat nothing from a seed"
)]

mod heard;
mod members;
mod surroundings;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_cache::{Cache, GetOptions, Loaded};
use tidings_cluster::{
    Carrier, Intake, Parts, Protocol, SealedWakes,
    kit::{MemoryLog, ModelStore, Writing},
};
use tidings_core::{
    CacheKey, Field, Foreign, OnDelete, OnUpdate, PrimaryKey, Row, Schema, Value,
    clock::ManualClock,
    entropy::SystemEntropy,
    log::{
        Appended, Body, Capture, Cursor, Digest, Gap, GapReason, Group, Head, Log, LogError,
        LogFuture, Mark, MemberId, Read, RowOf, Wake, WakeUps,
    },
};
use tokio::sync::watch;

use self::heard::{Deaf, Handlers};
pub(crate) use self::{
    heard::{Heard, Panics},
    surroundings::{CountingSpawn, Surroundings},
};

/// Consumers, and credentials that go with a changed consumer.
pub(crate) fn schemas() -> [&'static Schema; 2] {
    static SCHEMAS: OnceLock<[Schema; 2]> = OnceLock::new();
    let [consumers, credentials] = SCHEMAS.get_or_init(|| {
        let consumers = Schema::builder("consumers")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<String>("name").unique())
            .cache_key(&["name"])
            .build();
        let consumer = Foreign {
            entity: "consumers".to_owned(),
            key: "id".to_owned(),
            on_delete: OnDelete::Cascade,
            on_update: OnUpdate::Evict,
        };
        let credentials = Schema::builder("credentials")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<i64>>("consumer").refers_to(consumer))
            .build();
        [consumers, credentials]
    });
    [consumers, credentials]
}

/// Waits for something, but not without end.
pub(crate) async fn soon<T>(awaited: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), awaited).await;
    waited.expect("it comes within a minute")
}

/// Lets time pass, in steps that every task of a node takes part in.
pub(crate) async fn pass(clock: &ManualClock, time: Duration) {
    let step = Duration::from_millis(20);
    let mut left = time;
    while left > Duration::ZERO {
        clock.advance(step.min(left));
        left = left.saturating_sub(step);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// Writes a consumer in a transaction of its own.
pub(crate) fn write(store: &ModelStore, id: i64, name: &str) -> Mark {
    write_all(store, [(id, name.to_owned())])
}

/// Writes consumers in one transaction.
pub(crate) fn write_all(
    store: &ModelStore,
    consumers: impl IntoIterator<Item = (i64, String)>,
) -> Mark {
    let transaction = store.begin();
    for (id, name) in consumers {
        let row = Row(vec![id.into(), name.into()]);
        store
            .put(transaction, schemas()[0], row, &Writing::default())
            .expect("no one else writes");
    }
    store
        .commit(transaction, tidings_cluster::kit::Durability::Synchronous)
        .expect("a commit")
}

#[derive(Debug)]
pub(crate) struct Rigged {
    inner: MemoryLog,
    pub(crate) down: AtomicBool,
    pub(crate) uncaptured: AtomicBool,
    pub(crate) children: Mutex<Vec<CacheKey>>,
    /// Questions for children are refused.
    pub(crate) childless: AtomicBool,
    /// How many digests were asked for.
    pub(crate) digests: AtomicUsize,
    /// How many records of rows were returned to those that asked for them.
    pub(crate) told: AtomicUsize,
    /// How often the records of rows were asked for, and whether that is answered.
    pub(crate) groups: AtomicUsize,
    pub(crate) answers: watch::Sender<bool>,
    /// The records of no row are found.
    pub(crate) forgets: AtomicBool,
    /// For how many rows the records are returned at a time; more are refused.
    pub(crate) at_most: AtomicUsize,
    /// The next join is followed by a gap, at which no cursor is given out.
    pub(crate) loses: AtomicBool,
    pub(crate) lost: AtomicBool,
    /// How often a cursor was asked for.
    pub(crate) heads: AtomicUsize,
    /// The next read panics.
    pub(crate) panics: AtomicBool,
    /// What is written is of entities that the node does not declare.
    pub(crate) undeclared: AtomicBool,
    /// The node cannot read the records that come.
    pub(crate) unreadable: AtomicBool,
    /// Joins are refused.
    pub(crate) full: AtomicBool,
    /// Whether joins are done, which goes on without those that asked; how many were asked for, and
    /// done.
    pub(crate) joins: watch::Sender<bool>,
    pub(crate) joining: AtomicUsize,
    pub(crate) joined: Arc<AtomicUsize>,
    /// Whether what is appended is taken, and whether connections are closed.
    pub(crate) takes: watch::Sender<bool>,
    pub(crate) closes: watch::Sender<bool>,
    /// Heads that were taken, and connections that were to be closed, in order.
    pub(crate) steps: Mutex<Vec<&'static str>>,
    /// A link for wake-ups is gone as soon as it is there.
    pub(crate) deaf: AtomicBool,
    /// How often listening has begun.
    pub(crate) listened: AtomicUsize,
    /// How often the members were listed.
    pub(crate) lists: AtomicUsize,
    /// How often the log was read, and how often as no member.
    pub(crate) reads: AtomicUsize,
    pub(crate) asides: AtomicUsize,
}

impl Rigged {
    pub(crate) fn on(inner: MemoryLog) -> Arc<Self> {
        Arc::new(Self {
            inner,
            down: AtomicBool::new(false),
            uncaptured: AtomicBool::new(false),
            children: Mutex::default(),
            childless: AtomicBool::new(false),
            digests: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            groups: AtomicUsize::new(0),
            answers: watch::Sender::new(true),
            forgets: AtomicBool::new(false),
            at_most: AtomicUsize::new(usize::MAX),
            loses: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            heads: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            undeclared: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
            full: AtomicBool::new(false),
            joins: watch::Sender::new(true),
            joining: AtomicUsize::new(0),
            joined: Arc::default(),
            takes: watch::Sender::new(true),
            closes: watch::Sender::new(true),
            steps: Mutex::default(),
            deaf: AtomicBool::new(false),
            listened: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            asides: AtomicUsize::new(0),
        })
    }

    /// Refuses what is asked of too many rows.
    fn told(&self, rows: usize) -> Result<(), LogError> {
        if rows > self.at_most.load(Ordering::SeqCst) {
            let refused = std::io::Error::other("these rows are not told");
            return Err(LogError::Unreachable(refused.into()));
        }
        Ok(())
    }

    fn reached(&self) -> Result<(), LogError> {
        if self.down.load(Ordering::SeqCst) {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            return Err(LogError::Unreachable(refused.into()));
        }
        Ok(())
    }

    fn step(&self, step: &'static str) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(step);
    }

    /// The steps since they were asked for last.
    pub(crate) fn steps(&self) -> Vec<&'static str> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *steps)
    }

    fn capture(&self) -> Capture {
        if self.uncaptured.load(Ordering::SeqCst) {
            let faults = vec!["consumers is not captured".to_owned()];
            return Capture::Missing { faults };
        }
        Capture::InPlace
    }
}

impl Log for Rigged {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        self.heads.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.reached()?;
            if self.lost.load(Ordering::SeqCst) {
                let refused = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Err(LogError::Unreachable(refused.into()));
            }
            let mut head = self.inner.head(member).await?;
            head.sight.capture = self.capture();
            self.step("head");
            Ok(head)
        })
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if member.is_none() {
            self.asides.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async move {
            let panics = self.panics.swap(false, Ordering::SeqCst);
            assert!(!panics, "as the test says");
            self.reached()?;
            if self.lost.load(Ordering::SeqCst) {
                return Ok(Read::Gap(Gap::of_all(GapReason::Trimmed)));
            }
            let mut read = self.inner.read(from, limit, member).await?;
            if let Read::Batch(batch) = &mut read {
                batch.sight.capture = self.capture();
                if self.undeclared.load(Ordering::SeqCst) {
                    batch.passed_over += batch.records.drain(..).count();
                }
                if self.unreadable.load(Ordering::SeqCst) {
                    for record in &mut batch.records {
                        if let Body::Row(row) = &record.body {
                            let entity = (row.entity.len() > 9).then(|| Arc::clone(&row.entity));
                            record.body = Body::Unreadable { entity };
                        }
                    }
                }
            }
            Ok(read)
        })
    }

    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        self.groups.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            until(&self.answers).await;
            self.told(1)?;
            if self.forgets.load(Ordering::SeqCst) {
                return Ok(None);
            }
            self.inner.group(mark, entity, key).await
        })
    }

    fn groups<'a>(
        &'a self,
        rows: &'a [RowOf],
    ) -> LogFuture<'a, Result<Vec<Option<Group>>, LogError>> {
        self.groups.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            until(&self.answers).await;
            self.told(rows.len())?;
            if self.forgets.load(Ordering::SeqCst) {
                return Ok(vec![None; rows.len()]);
            }
            let groups = self.inner.groups(rows).await?;
            let told = groups.iter().flatten().map(|group| group.rows.len()).sum();
            self.told.fetch_add(told, Ordering::SeqCst);
            Ok(groups)
        })
    }

    fn children<'a>(
        &'a self,
        _: &'a str,
        _: Vec<Value>,
    ) -> LogFuture<'a, Result<Vec<CacheKey>, LogError>> {
        Box::pin(async {
            self.reached()?;
            if self.childless.load(Ordering::SeqCst) {
                let refused = std::io::Error::other("no such table: credentials");
                return Err(LogError::Unreachable(refused.into()));
            }
            let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(children.clone())
        })
    }

    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async { self.reached() })
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        Box::pin(async move {
            until(&self.takes).await;
            self.inner.append(entry).await
        })
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            self.step("close");
            until(&self.closes).await;
            self.inner.retire_connections().await
        })
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        self.listened.fetch_add(1, Ordering::SeqCst);
        if self.deaf.load(Ordering::SeqCst) {
            return Box::pin(async { Ok(Box::new(Deaf) as Box<dyn WakeUps>) });
        }
        self.inner.listen()
    }

    fn wake(&self, wake: Wake) {
        self.inner.wake(wake);
    }

    fn digest(&self, key: &CacheKey) -> Option<Digest> {
        self.digests.fetch_add(1, Ordering::SeqCst);
        self.inner.digest(key)
    }
}

/// Waits until something that is held up goes on.
async fn until(goes_on: &watch::Sender<bool>) {
    let mut goes_on = goes_on.subscribe();
    drop(goes_on.wait_for(|goes_on| *goes_on).await);
}

/// A node on a rigged log.
pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) protocol: Protocol,
    pub(crate) heard: Arc<Heard>,
}

impl Node {
    pub(crate) fn begin(log: &Arc<Rigged>, name: &str) -> Self {
        Self::begin_in(Surroundings::ordinary(), log, name)
    }

    pub(crate) fn begin_in(around: Surroundings, log: &Arc<Rigged>, name: &str) -> Self {
        Self::on(around, Arc::clone(log) as _, log, name)
    }

    /// Begins a node whose wake-ups are sealed with a cluster's key.
    pub(crate) fn begin_sealed(
        around: Surroundings,
        log: &Arc<Rigged>,
        name: &str,
        key: &[u8; 32],
    ) -> Self {
        let sealed = SealedWakes::new(Arc::clone(log) as _, None);
        sealed.key(key);
        Self::on(around, Arc::new(sealed), log, name)
    }

    fn on(around: Surroundings, read: Arc<dyn Log>, log: &Arc<Rigged>, name: &str) -> Self {
        let Surroundings {
            clock,
            spawn,
            settings,
        } = around;
        let intake = Intake::new(read, Arc::clone(&clock), &settings);
        let carrier = Carrier::new(name.into());
        let mut cache = Cache::builder()
            .fills(Arc::clone(&intake) as _)
            .clock(Arc::clone(&clock))
            .propagate(Arc::clone(&carrier) as _);
        if let Some(bound) = settings.bound() {
            cache = cache.staleness_ceiling(bound);
        }
        let cache = cache.build().expect("a cache");
        let heard = Arc::new(Heard::default());
        let protocol = Protocol::assemble(Parts {
            node: name.into(),
            intake,
            members: Some(Arc::clone(log) as _),
            facts: None,
            carrier: Some(carrier),
            cache: cache.clone(),
            schemas: schemas().into(),
            announce: Arc::new(Handlers(Arc::clone(&heard))),
            observe: Arc::clone(&heard) as _,
            clock,
            spawn,
            entropy: Arc::new(SystemEntropy),
            settings,
        })
        .expect("a node");
        Self {
            cache,
            protocol,
            heard,
        }
    }

    /// Starts a node and waits until it follows the log.
    pub(crate) async fn start(log: &Arc<Rigged>, name: &str) -> Self {
        let node = Self::begin(log, name);
        node.until_open().await;
        node
    }

    pub(crate) async fn until_open(&self) {
        soon(async {
            while !self.protocol.gate().is_open() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) async fn until_applied(&self, mark: Mark) {
        soon(self.protocol.until_applied(mark)).await;
    }

    /// Loads a key as the cache of a node does. Returns whether it is kept.
    pub(crate) async fn load(&self, key: &CacheKey, tag: &str) -> bool {
        let loaded = Loaded::new("value".to_owned()).tag(tag.to_owned());
        let load = || async move { Ok::<_, std::io::Error>(loaded) };
        let value = self.cache.get(key, GetOptions::default(), load).await;
        assert!(value.expect("a value").is_some());
        self.holds(key)
    }

    pub(crate) fn holds(&self, key: &CacheKey) -> bool {
        let held = self.cache.cached::<String>(key);
        held.expect("text").is_some()
    }
}
