//! [`History`]: what was written, read and handled, and which of it must not have happened.
//!
//! For each key there is the list of its values in commit order. A read is impossible if its value
//! had been replaced before the earliest state that the read may show: that of the node's own
//! writes that had returned, of confirmed receipts, of tokens, and of the node's bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    CacheKey, Operation,
    log::{Mark, MemberId},
};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    entity::{Item, Key, rows},
    world::{Moment, World},
};
use crate::{
    announce::{Observe, Trace},
    kit::model::{Durability, ModelStore, TransactionId},
    node::confirm::Confirmed,
};

/// How many lines of a history are kept for the report of a violation.
const LINES: usize = 4_000;

/// What a run keeps of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Every line.
    History,
    /// Only the violations, which is faster.
    Violations,
}

/// Something that the protocol rules out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A read returned a value that had been replaced.
    StaleRead(String),
    /// A handler received a row's changes out of order, or missed one without a gap.
    BrokenHistory(String),
    /// A value that was loaded while the node did not follow the log was served from its cache.
    KeptUnheard(String),
    /// A node that refuses asked the store while nothing was proven.
    LoadedUnproven(String),
    /// One change evicted a key twice.
    EvictedTwice(String),
    /// A receipt was confirmed before the handlers had run.
    HandlersMissing(String),
    /// At the end, with everything mended, a node did not come to rest.
    Stuck(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = match self {
            Self::StaleRead(text) => ("stale read", text),
            Self::BrokenHistory(text) => ("broken history", text),
            Self::KeptUnheard(text) => ("kept unheard", text),
            Self::LoadedUnproven(text) => ("loaded unproven", text),
            Self::EvictedTwice(text) => ("evicted twice", text),
            Self::HandlersMissing(text) => ("handlers missing", text),
            Self::Stuck(text) => ("stuck", text),
        };
        write!(f, "{what}: {text}")
    }
}

/// Names one life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LifeId(usize);

/// For each of the keys, an index into its states.
pub(super) type Floors = [usize; Key::ALL.len()];

/// The states that a commit made: for each key that it touched, the index.
pub(super) type Made = Vec<(Key, usize)>;

#[derive(Debug)]
pub(super) struct History {
    world: Arc<World>,
    /// Whether lines are written.
    verbosity: Verbosity,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: [Vec<Value>; Key::ALL.len()],
    /// No read that begins now may show an earlier state.
    floors: Floors,
    lives: Vec<Life>,
    commits: BTreeMap<CommitId, Commit>,
    violations: Vec<Violation>,
    lines: Vec<String>,
    reads: usize,
}

/// What a key's value was, and since when.
#[derive(Debug)]
struct Value {
    version: Option<i64>,
    since: Moment,
}

#[derive(Debug)]
struct Commit {
    at: Moment,
    /// The versions that handlers receive: of each row as it is after the commit, or as it was
    /// before its deletion.
    heard: Vec<i64>,
}

#[derive(Debug, Default)]
struct Life {
    name: String,
    floors: Floors,
    /// On the world's clock.
    bound: Option<Duration>,
    member: Option<MemberId>,
    purged: Moment,
    purges: Arc<Notify>,
    /// When its handlers last received a gap.
    gap: Moment,
    /// The version after the last event of each row.
    chain: BTreeMap<i64, Option<i64>>,
    heard: BTreeSet<i64>,
    evicted: BTreeSet<(CommitId, String)>,
}

impl History {
    pub(super) fn new(world: Arc<World>, verbosity: Verbosity) -> Arc<Self> {
        let mut state = State::default();
        for key in &mut state.keys {
            key.push(Value {
                version: None,
                since: Moment(0),
            });
        }

        Arc::new(Self {
            world,
            verbosity,
            state: Mutex::new(state),
        })
    }

    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        if self.verbosity == Verbosity::History {
            let now = self.world.now().0 / 1_000;
            let mut state = self.state.lock();
            if state.lines.len() < LINES {
                let line = format!("{:>6}.{:03} ms  {}", now / 1_000, now % 1_000, line());
                state.lines.push(line);
            }
        }
    }

    fn violated(&self, violation: Violation) {
        self.say(|| format!("!! {violation}"));
        self.state.lock().violations.push(violation);
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.state.lock().violations.is_empty()
    }

    pub(super) fn take(&self) -> (Vec<Violation>, Vec<String>, usize) {
        let mut state = self.state.lock();
        let reads = state.reads;
        (
            std::mem::take(&mut state.violations),
            std::mem::take(&mut state.lines),
            reads,
        )
    }

    pub(super) fn begin_life(&self, name: String, bound: Option<Duration>) -> LifeId {
        let mut state = self.state.lock();
        state.lives.push(Life {
            name,
            bound,
            ..Life::default()
        });
        LifeId(state.lives.len() - 1)
    }

    /// Notes the state of the store right after it has changed. Returns the states that this made.
    pub(super) fn store_is(&self, rows: &[Item]) -> Made {
        self.store_is_since(rows, self.world.now())
    }

    /// Notes the state of the store right after it has changed, of which no node learns before a
    /// moment.
    pub(super) fn store_is_since(&self, rows: &[Item], since: Moment) -> Made {
        let mut state = self.state.lock();
        let made = Key::ALL.into_iter().filter_map(|key| {
            let version = key.version_in(rows);
            let states = &mut state.keys[key.index()];
            if states.last().is_some_and(|last| last.version == version) {
                return None;
            }
            states.push(Value { version, since });
            Some((key, states.len() - 1))
        });
        made.collect()
    }

    /// Commits a transaction, and notes what it made, in one step.
    pub(super) fn commit(
        &self,
        store: &ModelStore,
        id: TransactionId,
        durability: Durability,
    ) -> Option<(Mark, Made)> {
        let before = rows(store);
        let mark = store.commit(id, durability).ok()?;
        let after = rows(store);
        let made = self.store_is(&after);

        // Of each row that differs: its version as it is, or as it was if it is gone.
        let version = |rows: &[Item], id: i64| {
            let row = rows.iter().find(|row| row.id == id);
            row.map(|row| row.version)
        };
        let ids = before.iter().chain(&after).map(|row| row.id);
        let changed = ids.filter_map(|id| {
            let (old, new) = (version(&before, id), version(&after, id));
            (old != new).then(|| new.or(old)).flatten()
        });
        self.committed(mark, changed.collect());
        self.say(|| format!("{} is committed ({durability:?})", mark.number()));

        Some((mark, made))
    }

    /// Notes the versions of a commit that handlers must receive.
    fn committed(&self, mark: Mark, heard: Vec<i64>) {
        let at = self.world.now();
        let commit = Commit { at, heard };
        let mut state = self.state.lock();
        state.commits.insert(commit_id(mark), commit);
    }

    /// Notes that no read anywhere, or on one node, that begins from now on may show what was
    /// before some states.
    pub(super) fn raise(&self, life: Option<LifeId>, made: &[(Key, usize)]) {
        let mut state = self.state.lock();
        let floors = match life {
            Some(life) => &mut state.lives[life.0].floors,
            None => &mut state.floors,
        };
        for (key, index) in made {
            let floor = &mut floors[key.index()];
            *floor = (*floor).max(*index);
        }
    }

    /// Returns the earliest states that a read that begins now may show.
    pub(super) fn begin_read(&self, life: LifeId) -> Floors {
        let now = self.world.now();
        let state = self.state.lock();
        let life = &state.lives[life.0];
        Key::ALL.map(|key| {
            let index = key.index();
            let floor = state.floors[index].max(life.floors[index]);
            let Some(bound) = life.bound else {
                return floor;
            };
            // A state may be shown until the bound has run out since it was replaced.
            let served = |next: &&Value| next.since.plus(bound) < now;
            let replaced = state.keys[index].iter().skip(1).take_while(served).count();
            floor.max(replaced)
        })
    }

    /// Checks a read that ends now.
    pub(super) fn end_read(
        &self,
        life: LifeId,
        key: Key,
        floors: &Floors,
        version: Option<i64>,
        what: &str,
    ) {
        let mut state = self.state.lock();
        state.reads += 1;
        let states = &state.keys[key.index()];
        let floor = floors[key.index()];
        let possible = states[floor..].iter().any(|state| state.version == version);
        let (name, expected) = (state.lives[life.0].name.clone(), states[floor].version);
        drop(state);
        self.say(|| format!("{name} reads {key:?} = {version:?} ({what})"));

        if !possible {
            self.violated(Violation::StaleRead(format!(
                "{name} read {key:?} = {version:?} ({what}); since before the read began it was {expected:?} or later"
            )));
        }
    }

    /// Checks a read at the end, when nothing changes any more.
    pub(super) fn check_end(&self, life: LifeId, key: Key, version: Option<i64>) {
        let state = self.state.lock();
        let is = state.keys[key.index()].last().and_then(|last| last.version);
        let name = state.lives[life.0].name.clone();
        drop(state);
        if is != version {
            self.violated(Violation::StaleRead(format!(
                "at the end {name} read {key:?} = {version:?}, and the store has {is:?}"
            )));
        }
    }

    /// Checks at the end that a node's handlers have received each row's last change.
    pub(super) fn check_chains(&self, life: LifeId, rows: &[Item]) {
        let state = self.state.lock();
        let life = &state.lives[life.0];
        let behind = life.chain.iter().find(|(id, last)| {
            let row = rows.iter().find(|row| row.id == **id);
            row.map(|row| row.version) != **last
        });
        let behind =
            behind.map(|(id, last)| format!("{}: row {id}, last heard {last:?}", life.name));
        drop(state);

        if let Some(behind) = behind {
            self.violated(Violation::BrokenHistory(format!(
                "at the end a handler had missed a change; {behind}"
            )));
        }
    }

    pub(super) fn kept_unheard(&self, life: LifeId, key: Key) {
        let name = self.state.lock().lives[life.0].name.clone();
        self.violated(Violation::KeptUnheard(format!(
            "{name} has {key:?} cached from when it did not follow the log"
        )));
    }

    pub(super) fn loaded_unproven(&self, life: LifeId, key: Key) {
        let name = self.state.lock().lives[life.0].name.clone();
        self.violated(Violation::LoadedUnproven(format!(
            "{name} has asked the store for {key:?}, and nothing was proven"
        )));
    }

    pub(super) fn stuck(&self, text: String) {
        self.violated(Violation::Stuck(text));
    }

    /// Notes that a handler received a change.
    pub(super) fn heard(
        &self,
        life: LifeId,
        operation: Operation,
        item: &Item,
        old: Option<&Item>,
    ) {
        let mut state = self.state.lock();
        let life = &mut state.lives[life.0];
        let (before, after) = match operation {
            Operation::Create => (None, Some(item.version)),
            Operation::Update => (old.map(|old| old.version), Some(item.version)),
            Operation::Delete => (Some(item.version), None),
        };
        life.heard.insert(item.version);

        let last = life.chain.insert(item.id, after);
        let name = life.name.clone();

        drop(state);
        self.say(|| {
            format!(
                "{name} hears {operation} of row {}: {before:?} -> {after:?}",
                item.id
            )
        });

        if last.is_some_and(|last| last != before) {
            self.violated(Violation::BrokenHistory(format!(
                "{name} heard {operation} of row {}: {before:?} -> {after:?}, after it was {:?}",
                item.id,
                last.flatten()
            )));
        }
    }

    /// Notes that a handler received a gap: what comes next may follow anything.
    pub(super) fn heard_gap(&self, life: LifeId, reason: &dyn fmt::Display) {
        let now = self.world.now();
        let mut state = self.state.lock();
        let life = &mut state.lives[life.0];
        life.chain.clear();
        life.gap = now;
        let name = life.name.clone();
        drop(state);
        self.say(|| format!("{name} hears {reason}"));
    }

    /// Waits for a node's next purge.
    pub(super) async fn purged_again(&self, life: LifeId) {
        let purges = Arc::clone(&self.state.lock().lives[life.0].purges);
        purges.notified().await;
    }

    pub(super) fn joined(&self, life: LifeId, member: Option<MemberId>) {
        self.state.lock().lives[life.0].member = member;
    }

    /// Checks that the handlers had run on every node that has confirmed.
    pub(super) fn confirmed(&self, mark: Mark, confirmed: &Confirmed) {
        let mut missing = Vec::new();
        let state = self.state.lock();
        if let Some(commit) = state.commits.get(&commit_id(mark)) {
            let members = confirmed.applied.iter();
            let lives = members.filter_map(|id| {
                let mut lives = state.lives.iter();
                lives.find(|life| life.member.as_ref() == Some(id))
            });

            // A node that took its cursor after the commit does not receive it, and a gap may be in
            // its place.
            for life in lives.filter(|life| life.purged.max(life.gap) < commit.at) {
                let mut versions = commit.heard.iter();
                if let Some(version) = versions.find(|version| !life.heard.contains(version)) {
                    missing.push(format!("{} had not heard of version {version}", life.name));
                }
            }
        }

        drop(state);
        for text in missing {
            self.violated(Violation::HandlersMissing(text));
        }
    }

    /// Watches one life of a node.
    pub(super) fn observer(self: &Arc<Self>, life: LifeId) -> Arc<dyn Observe> {
        Arc::new(Observer {
            history: Arc::clone(self),
            life,
        })
    }

    fn evicted(&self, life: LifeId, mark: Mark, key: &CacheKey) {
        let number = mark.number();
        let mut state = self.state.lock();
        let life = &mut state.lives[life.0];
        let first = life.evicted.insert((commit_id(mark), key.to_string()));
        let name = life.name.clone();
        drop(state);
        self.say(|| format!("{name} evicts {key} for {number}"));

        if !first {
            self.violated(Violation::EvictedTwice(format!(
                "{name}, {key} for {number}"
            )));
        }
    }

    fn purged(&self, life: LifeId) {
        let now = self.world.now();
        let mut state = self.state.lock();
        let life = &mut state.lives[life.0];
        life.purged = now;
        life.evicted.clear();
        life.purges.notify_one();
        let name = life.name.clone();
        drop(state);
        self.say(|| format!("{name} purges"));
    }
}

/// Names a commit by epoch, number and id.
type CommitId = (u64, u64, Option<Uuid>);

fn commit_id(mark: Mark) -> CommitId {
    (mark.epoch().number, mark.number(), mark.id())
}

#[derive(Debug)]
struct Observer {
    history: Arc<History>,
    life: LifeId,
}

impl Observe for Observer {
    fn trace(&self, trace: &Trace<'_>) {
        match trace {
            Trace::Evicted { mark, key } => self.history.evicted(self.life, *mark, key),
            Trace::Purged => self.history.purged(self.life),
        }
    }
}
