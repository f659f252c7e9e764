//! Subject group `conformance`: is a value that was read before a change served to a `get` begun
//! after it?
//!
//! One key, one load that has read version 1 and has not returned yet. Then the source goes to
//! version 2 and the cache is notified, in one of four ways ([`Change`]). Everything from here on
//! begins after the change, so version 1 as an answer is stale. The cells vary
//!
//! - who asks: the caller of the old load, once that has ended; or a caller that comes while it
//!   still runs, and must not join it;
//! - whether the first caller lives until its load ends, or is cancelled after the change;
//! - whether the old load ends with version 1 or with an error.
//!
//! Each cell ends with one more `get` after all loads, which finds what they left behind. All of it
//! runs on a current-thread runtime, step by step, so that the order is the same in every run.
//!
//! A peer is driven by the single-load call that its documentation names, and notified of the
//! change by the call that its documentation has for it; if there is none, the cell says so.

// Our cache behind the one face of all contestants.
mod ours;
// The peers behind that face.
mod peers;
// The findings as a table and as JSON; knows no contestant.
mod report;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    runtime,
    sync::{Notify, oneshot},
    task::{self, JoinHandle},
    time::timeout,
};

pub use self::report::Conformance;

/// How the cache learns that the source has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key is invalidated.
    InvalidateKey,
    /// Everything with the value's tag is invalidated.
    InvalidateTag,
    /// Everything is invalidated.
    Purge,
    /// The new value is set.
    Set,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidateKey => "invalidate key",
            Self::InvalidateTag => "invalidate tag",
            Self::Purge => "purge",
            Self::Set => "set",
        })
    }
}

/// One set of circumstances.
#[derive(Clone, Copy, Debug)]
struct Cell {
    change: Change,
    /// Someone asks while the old load still runs; otherwise the first to ask is its own caller,
    /// afterwards.
    late_caller: bool,
    /// The caller of the old load goes away after the change.
    cancelled: bool,
    /// The old load ends with an error.
    fails: bool,
}

impl Cell {
    fn all() -> impl Iterator<Item = Self> {
        let changes = [
            Change::InvalidateKey,
            Change::InvalidateTag,
            Change::Purge,
            Change::Set,
        ];
        changes.into_iter().flat_map(|change| {
            (0..8).map(move |bits| Self {
                change,
                late_caller: bits & 4 != 0,
                cancelled: bits & 2 != 0,
                fails: bits & 1 != 0,
            })
        })
    }

    fn names(self) -> [String; 4] {
        let choose = |is, yes: &str, no: &str| String::from(if is { yes } else { no });
        [
            self.change.to_string(),
            choose(self.late_caller, "late caller", "old caller"),
            choose(self.cancelled, "cancelled", "lives"),
            choose(self.fails, "fails", "succeeds"),
        ]
    }
}

/// The answer of the source: a version number, or that it cannot be reached.
type Answer = Result<u64, SourceDown>;
/// Reads the source.
type Load = BoxFuture<'static, Answer>;

/// Why a load failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceDown;

impl fmt::Display for SourceDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source is down")
    }
}

impl std::error::Error for SourceDown {}

/// A cache with one key in it.
trait Adapter: Send + Sync + 'static {
    /// Gets the key's value through the cache's single-load call; `None` when the call failed.
    fn get(&self, load: Load) -> impl Future<Output = Option<u64>> + Send;

    /// Announces the change to `version`; `false` when it offers no call for that.
    fn change(&self, change: Change, version: u64) -> impl Future<Output = bool> + Send;
}

/// The result of one contestant in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// The cache has no such call.
    NotOffered,
    /// A caller waited without an end.
    Hung,
    /// Everything ended.
    Ended {
        /// Version 1 was served to a `get` begun after the change.
        stale: bool,
        /// A `get` begun after the change got the old load's error.
        error: bool,
        /// How many loads ran, the old one included.
        loads: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered => f.write_str("not offered"),
            Self::Hung => f.write_str("HUNG"),
            Self::Ended {
                stale,
                error,
                loads,
            } => {
                f.write_str(if *stale { "STALE" } else { "ok" })?;
                f.write_str(if *error { " error" } else { "" })?;
                write!(f, " {loads}")
            }
        }
    }
}

/// The source of truth, its loads counted.
#[derive(Debug, Default)]
struct Source {
    version: AtomicU64,
    loads: AtomicU64,
}

impl Source {
    /// A load that answers at once with what the source says when it runs.
    fn read(self: &Arc<Self>) -> Load {
        let source = Arc::clone(self);
        Box::pin(async move {
            source.loads.fetch_add(1, Ordering::SeqCst);
            Ok(source.version.load(Ordering::SeqCst))
        })
    }

    /// A load that reads the source, says so, and ends when the test lets it.
    fn read_slowly(self: &Arc<Self>, fails: bool) -> (Load, Arc<Notify>, oneshot::Sender<()>) {
        let source = Arc::clone(self);
        let has_read = Arc::new(Notify::new());
        let (end, ended) = oneshot::channel();
        let tell = Arc::clone(&has_read);
        let load = Box::pin(async move {
            source.loads.fetch_add(1, Ordering::SeqCst);
            let version = source.version.load(Ordering::SeqCst);
            tell.notify_one();
            // Without a sender the cell is over, and so may the load be.
            ended.await.unwrap_or_default();
            if fails { Err(SourceDown) } else { Ok(version) }
        });
        (load, has_read, end)
    }
}

/// Lets everything that can go on go on until it waits for something: the runtime has one thread
/// and every step of the caches takes far fewer turns than this.
async fn settle() {
    for _ in 0..200 {
        task::yield_now().await;
    }
}

fn ask<A: Adapter>(cache: &Arc<A>, load: Load) -> JoinHandle<Option<u64>> {
    let cache = Arc::clone(cache);
    task::spawn(async move { cache.get(load).await })
}

/// Plays one cell on an empty cache. A step that never ends makes this future never end.
async fn play<A: Adapter>(cell: Cell, cache: A) -> Finding {
    let cache = Arc::new(cache);
    let source = Arc::new(Source::default());
    source.version.store(1, Ordering::SeqCst);

    let (load, has_read, end) = source.read_slowly(cell.fails);
    let first = ask(&cache, load);
    has_read.notified().await;

    source.version.store(2, Ordering::SeqCst);
    if !cache.change(cell.change, 2).await {
        return Finding::NotOffered;
    }

    let late = cell.late_caller.then(|| ask(&cache, source.read()));
    settle().await;
    if cell.cancelled {
        first.abort();
    }
    settle().await;
    // A load that was cancelled with its caller does not listen any more.
    end.send(()).unwrap_or_default();
    settle().await;
    // What the first caller gets is its own affair: it asked before the change. A cancelled one is
    // an error here.
    drop(first.await);

    let mut answers = Vec::new();
    if let Some(late) = late {
        answers.push(late.await.ok().flatten());
    }
    for _ in 0..2 {
        answers.push(cache.get(source.read()).await);
        settle().await;
    }
    Finding::Ended {
        stale: answers.contains(&Some(1)),
        error: answers.contains(&None),
        loads: source.loads.load(Ordering::SeqCst),
    }
}

/// Plays all cells with fresh caches.
fn play_all<A: Adapter>(make: impl Fn() -> A) -> Vec<Finding> {
    Cell::all()
        .map(|cell| {
            runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime needs a timer only, which the system does not refuse")
                .block_on(async {
                    // Real time: it passes only when a caller waits without an end.
                    timeout(Duration::from_secs(5), play(cell, make()))
                        .await
                        .unwrap_or(Finding::Hung)
                })
        })
        .collect()
}

/// Plays every cell with every contestant.
#[must_use]
pub fn run() -> Conformance {
    Conformance {
        columns: vec![
            ("tidings", play_all(|| ours::Tidings::new(true))),
            ("tidings (L2 alone)", play_all(|| ours::Tidings::new(false))),
            ("moka", play_all(peers::Moka::new)),
            ("quick_cache", play_all(peers::QuickCache::new)),
            ("foyer-memory", play_all(peers::Foyer::new)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// No cache at all: clean in every cell, and a load for every get.
    struct Nothing;

    impl Adapter for Nothing {
        async fn get(&self, load: Load) -> Option<u64> {
            load.await.ok()
        }

        async fn change(&self, _: Change, _: u64) -> bool {
            true
        }
    }

    /// Reads through without a fence: what was loaded last is served indefinitely.
    #[derive(Default)]
    struct Careless(Mutex<Option<u64>>);

    impl Careless {
        fn slot(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
            self.0.lock().expect("no thread panics with it")
        }
    }

    impl Adapter for Careless {
        async fn get(&self, load: Load) -> Option<u64> {
            let cached = *self.slot();
            match cached {
                Some(version) => Some(version),
                None => {
                    let loaded = load.await.ok()?;
                    *self.slot() = Some(loaded);
                    Some(loaded)
                }
            }
        }

        async fn change(&self, change: Change, version: u64) -> bool {
            *self.slot() = (change == Change::Set).then_some(version);
            change != Change::InvalidateTag
        }
    }

    #[test]
    fn a_cell_is_clean_without_a_cache() {
        for finding in play_all(|| Nothing) {
            assert!(
                matches!(
                    finding,
                    Finding::Ended {
                        stale: false,
                        error: false,
                        loads: 3 | 4
                    }
                ),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn a_cache_without_a_fence_is_caught() {
        for (cell, finding) in Cell::all().zip(play_all(Careless::default)) {
            match finding {
                Finding::NotOffered => assert_eq!(cell.change, Change::InvalidateTag),
                Finding::Ended { stale, .. } => {
                    assert_eq!(stale, !cell.fails && !cell.cancelled, "{cell:?}: {finding}");
                }
                Finding::Hung => panic!("{cell:?} hung"),
            }
        }
    }

    /// G1, G11, ML25, ML26
    #[test]
    fn ours_serves_nothing_stale_and_loads_no_more_than_it_must() {
        let conformance = run();
        assert_eq!(conformance.faults("tidings"), Vec::<String>::new());
        let ours = conformance.columns.iter().take(2);
        for (cell, finding) in ours.flat_map(|(_, findings)| Cell::all().zip(findings)) {
            // The old load, and one more unless the new value was set.
            let expected = if cell.change == Change::Set { 1 } else { 2 };
            assert!(
                matches!(finding, Finding::Ended { loads, .. } if *loads == expected),
                "{cell:?}: {finding}"
            );
        }
    }

    #[test]
    fn faults_name_the_cell() {
        let conformance = Conformance {
            columns: vec![("careless", play_all(Careless::default))],
        };
        let faults = conformance.faults("careless");
        assert!(
            faults.contains(&"purge, late caller, lives, succeeds: STALE 2".to_owned()),
            "{faults:#?}"
        );
        assert!(conformance.table().contains("not offered"));
    }
}
