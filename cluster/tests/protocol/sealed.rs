//! Wake-ups that name keys: what they evict at once, and which of them are trusted. On a clock that
//! the tests drive, so that nothing is read but what a wake-up asks for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_cluster::{
    ClusterSettings,
    kit::{Form, MemoryLog, ModelStore},
};
use tidings_core::{
    CacheKey,
    clock::ManualClock,
    log::{Log as _, Wake, WakeUps},
    spawn::CurrentRuntime,
};

use crate::rigged::{Node, Rigged, Surroundings, soon, write};

const KEY: [u8; 32] = [1; 32];
const POLL: Duration = Duration::from_secs(60);

/// Two nodes, and a third party that receives and sends the same wake-ups.
struct Pair {
    store: ModelStore,
    stranger: MemoryLog,
    clock: ManualClock,
    one: Node,
    other: Node,
    /// The other one's.
    log: Arc<Rigged>,
}

impl Pair {
    async fn of(keys: [&[u8; 32]; 2], form: Form) -> Self {
        let store = ModelStore::new(form, 1);
        let stranger = MemoryLog::new(store.clone());
        let clock = ManualClock::new();
        let logs = [(); 2].map(|()| Rigged::on(stranger.beside()));
        let begin = |at: usize, name: &str| {
            let around = Surroundings {
                clock: Arc::new(clock.clone()),
                spawn: Arc::new(CurrentRuntime),
                settings: ClusterSettings::new().poll(POLL),
            };
            Node::begin_sealed(around, &logs[at], name, keys[at])
        };
        let (one, other) = (begin(0, "one"), begin(1, "other"));
        one.until_open().await;
        other.until_open().await;
        let [_, log] = logs;
        let pair = Self {
            store,
            stranger,
            clock,
            one,
            other,
            log,
        };
        assert!(pair.other.load(&alice(), "t").await);
        pair
    }

    /// Commits a change of the key on the first node, while the second one's log does not answer.
    async fn commit(&self) {
        self.log.down.store(true, Ordering::SeqCst);
        let mark = write(&self.store, 1, "alice");
        let alice = alice();
        let keys = std::slice::from_ref(&alice);
        self.one.protocol.committed(mark, keys, &[]).await;
    }

    async fn until_woken(&self, times: u64) {
        soon(async {
            while self.other.protocol.stats().wakes < times {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn on_sight(&self) -> u64 {
        self.other.protocol.stats().evicted_on_sight
    }
}

fn alice() -> CacheKey {
    CacheKey::new("consumers", &["alice"])
}

async fn next(wakes: &mut dyn WakeUps) -> Wake {
    soon(wakes.next()).await.expect("a wake-up")
}

#[tokio::test]
async fn keys_that_a_wake_up_names_are_evicted_before_the_log_is_read() {
    for form in [Form::Counted, Form::Snapshot] {
        let pair = Pair::of([&KEY; 2], form).await;
        pair.commit().await;
        pair.until_woken(1).await;
        assert!(!pair.other.holds(&alice()), "{form:?}");
        assert_eq!(pair.on_sight(), 1);
    }
}

#[tokio::test]
async fn no_digest_is_made_of_a_commit_that_is_too_large_to_be_named() {
    let store = ModelStore::new(Form::Counted, 1);
    let log = Rigged::on(MemoryLog::new(store.clone()));
    let node = Node::begin(&log, "one");
    node.until_open().await;

    let keys: Vec<_> = (0..=Wake::MOST_KEYS)
        .map(|number| CacheKey::new("consumers", &[number.to_string()]))
        .collect();
    for (number, made) in [(Wake::MOST_KEYS, Wake::MOST_KEYS), (keys.len(), 0)] {
        let before = log.digests.load(Ordering::SeqCst);
        let mark = write(&store, 1, "alice");
        node.protocol.committed(mark, &keys[..number], &[]).await;
        assert_eq!(
            log.digests.load(Ordering::SeqCst) - before,
            made,
            "{number}"
        );
    }
}

#[tokio::test]
async fn a_wake_up_that_is_repeated_evicts_nothing_that_was_loaded_since() {
    let pair = Pair::of([&KEY; 2], Form::Counted).await;
    let mut heard = pair.stranger.listen().await.expect("a listener");
    pair.commit().await;
    pair.until_woken(1).await;
    assert!(pair.other.load(&alice(), "t").await);

    let captured = next(&mut *heard).await;
    assert!(matches!(captured, Wake::Sealed(_)), "{captured:?}");
    pair.stranger.wake(captured.clone());
    pair.until_woken(2).await;
    assert!(pair.other.holds(&alice()), "before its record is read");

    pair.log.down.store(false, Ordering::SeqCst);
    let mark = write(&pair.store, 2, "bob");
    pair.clock.advance(POLL);
    pair.other.until_applied(mark).await;
    let woken = pair.other.protocol.stats().wakes;
    pair.stranger.wake(captured);
    pair.until_woken(woken + 1).await;
    assert!(pair.other.holds(&alice()), "after its record was read");
    assert_eq!(pair.on_sight(), 1);
}

#[tokio::test]
async fn a_wake_up_of_another_cluster_evicts_nothing_and_makes_its_reader_look() {
    let pair = Pair::of([&KEY, &[2; 32]], Form::Counted).await;
    let before = pair.log.reads.load(Ordering::SeqCst);
    pair.commit().await;
    soon(async {
        while pair.log.reads.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(pair.other.holds(&alice()));
    assert_eq!(pair.on_sight(), 0);
}
