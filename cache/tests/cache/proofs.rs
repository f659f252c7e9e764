//! The bound of a node whose freshness is proven from time to time: what is held counts from the
//! later of the last proof and its own load.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tidings_cache::{
    Cache, CacheBuilder, CacheKey, Clock, Fills, GetError, GetOptions, Loaded, ManualClock,
    Outcome, Pass, Proof, StalePolicy,
};

use crate::kit::{Failure, Gate, Source, k, key, timed};

const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_nanos(1);

/// Proves what a test says, and panics before it has said anything.
#[derive(Debug)]
struct Prover {
    proof: Mutex<Option<Proof>>,
    /// Nothing that is loaded may be kept.
    keeps_nothing: AtomicBool,
    is_given_up: AtomicBool,
}

impl Prover {
    fn say(&self, proof: Proof) {
        *self.proof.lock().unwrap() = Some(proof);
    }
}

impl Fills for Prover {
    fn begin(&self, _: &CacheKey) -> Option<Pass> {
        (!self.keeps_nothing.load(Ordering::SeqCst)).then_some(Pass(0))
    }

    fn holds(&self, _: Pass) -> bool {
        true
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::SeqCst)
    }

    fn proof(&self) -> Proof {
        let proof = *self.proof.lock().unwrap();
        proof.expect("a faulty prover")
    }
}

/// A node with a bound of ten seconds.
fn node(build: impl FnOnce(CacheBuilder) -> CacheBuilder) -> (Cache, ManualClock, Arc<Prover>) {
    let (builder, clock) = timed();
    let prover = Arc::new(Prover {
        proof: Mutex::new(Some(Proof::None)),
        keeps_nothing: AtomicBool::new(false),
        is_given_up: AtomicBool::new(false),
    });
    let builder = builder
        .staleness_ceiling(10 * SECOND)
        .fills(Arc::clone(&prover) as _);
    (build(builder).build().unwrap(), clock, prover)
}

fn down() -> impl Future<Output = Result<Option<u8>, Failure>> + Send + 'static {
    std::future::ready(Err(Failure::other("down")))
}

/// Returns whether a value, an absence and a view's value are served without a load.
async fn serves(cache: &Cache) -> [bool; 3] {
    let value = cache.get(k(), GetOptions::default(), down).await;
    let absence = cache.get(&key("absent"), GetOptions::default(), down).await;
    let view = cache.view::<u8>("views").unwrap().get("v", down).await;
    [value.is_ok(), absence.is_ok(), view.is_ok()]
}

async fn fill(cache: &Cache) {
    let (source, options) = (Source::default(), GetOptions::default);
    let view = cache.view::<u8>("views").unwrap();
    let loads = (source.give(Some(1_u8)), source.give(None::<u8>));
    cache.get(k(), options(), loads.0).await.unwrap();
    let absent = options().neg_ttl(1_000 * SECOND);
    cache.get(&key("absent"), absent, loads.1).await.unwrap();
    view.get("v", source.give(Some(1_u8))).await.unwrap();
}

/// G5: hits of a fresh node do not expire, and one that proves nothing serves nothing old.
#[tokio::test]
async fn an_entry_counts_from_the_later_of_the_last_proof_and_its_load() {
    for attached in [true, false] {
        let (cache, clock, prover) = node(|builder| builder);
        let _guard = attached.then(|| cache.attach_thread("worker"));
        fill(&cache).await;
        for _ in 0..20 {
            clock.advance(6 * SECOND);
            prover.say(Proof::At(clock.now()));
            assert_eq!(serves(&cache).await, [true; 3]);
            // L1 keeps no entry for longer than L2 knew when it gave it.
            clock.advance(3 * SECOND);
            assert_eq!(serves(&cache).await, [true; 3]);
        }
        clock.advance(7 * SECOND - INSTANT);
        assert_eq!(serves(&cache).await, [true; 3]);
        assert!(cache.probe::<u8>(k()).unwrap().is_some());

        clock.advance(INSTANT);
        assert_eq!(serves(&cache).await, [false; 3]);
        assert!(cache.probe::<u8>(k()).unwrap().is_none());
        assert!(cache.probe_json(k()).is_none());
        assert!(cache.cached::<u8>(k()).unwrap().is_none());
        assert!(cache.view::<u8>("views").unwrap().peek("v").is_none());

        // What is loaded without a proof counts from its load; with one, what was held is back.
        fill(&cache).await;
        clock.advance(10 * SECOND - INSTANT);
        assert_eq!(serves(&cache).await, [true; 3]);
        clock.advance(INSTANT);
        assert_eq!(serves(&cache).await, [false; 3]);
        prover.say(Proof::At(clock.now()));
        assert_eq!(serves(&cache).await, [true; 3]);
    }
}

#[tokio::test]
async fn a_proof_loosens_no_ttl_and_no_bound_of_a_cache_or_a_call() {
    let (cache, clock, prover) = node(|builder| builder.max_staleness(4 * SECOND));
    let _guard = cache.attach_thread("worker");
    let source = Source::default();
    let ask = |options| cache.get_entry(k(), options, source.give(Some(1_u8)));
    ask(GetOptions::default()).await.unwrap();
    clock.advance(2 * SECOND);
    prover.say(Proof::At(clock.now()));
    let call = GetOptions::default().max_staleness(2 * SECOND);
    assert_eq!(ask(call).await.unwrap().outcome, Outcome::Loaded);
    clock.advance(4 * SECOND);
    prover.say(Proof::At(clock.now()));
    let entry = ask(GetOptions::default()).await.unwrap();
    assert_eq!(entry.outcome, Outcome::Loaded);
}

#[tokio::test]
async fn an_expired_value_is_served_after_a_failure_as_long_as_it_is_proven() {
    let (cache, clock, prover) = node(|builder| builder.ttl(SECOND).resurrect_ttl(100 * SECOND));
    fill(&cache).await;
    let ask = || cache.get_entry(k(), GetOptions::default(), down);
    clock.advance(30 * SECOND);
    ask().await.expect_err("older than the bound");
    prover.say(Proof::At(clock.now()));
    assert_eq!(ask().await.unwrap().outcome, Outcome::Stale);
    clock.advance(10 * SECOND);
    ask().await.expect_err("older than the bound again");
}

#[tokio::test]
async fn the_age_of_a_value_that_was_read_at_a_position_counts_from_the_proof_alone() {
    let (cache, clock, prover) = node(|builder| builder);
    let _guard = cache.attach_thread("worker");
    clock.advance(60 * SECOND);
    let source = Source::default();
    let ask = || {
        let value = Loaded::new(1_u8).read_at(cache.number());
        cache.get_entry(k(), GetOptions::default(), source.give(value))
    };
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap().outcome, Outcome::Loaded);
    }
    prover.say(Proof::At(clock.now()));
    clock.advance(10 * SECOND - INSTANT);
    for outcome in [Outcome::L2, Outcome::L1] {
        assert_eq!(ask().await.unwrap().outcome, outcome);
    }
    clock.advance(INSTANT);
    assert_eq!(ask().await.unwrap().outcome, Outcome::Loaded);
}

#[tokio::test]
async fn a_node_whose_proof_is_withheld_serves_nothing_that_it_holds() {
    for faulty in [false, true] {
        let (cache, clock, prover) = node(|builder| builder);
        let _guard = cache.attach_thread("worker");
        fill(&cache).await;
        let (gate, source) = (Gate::new(), Source::default());
        let slow_key = key("slow");
        let slow = cache.get(
            &slow_key,
            GetOptions::default(),
            source.behind(&gate, Some(1_u8)),
        );
        let others = async {
            gate.reached().await;
            if faulty {
                *prover.proof.lock().unwrap() = None;
            } else {
                prover.say(Proof::Withheld);
            }
            cache.recheck_node();
            assert_eq!(serves(&cache).await, [false; 3]);
            assert!(cache.cached::<u8>(k()).unwrap().is_none());
            assert!(cache.view::<u8>("views").unwrap().peek("v").is_none());
            assert!(cache.probe::<u8>(k()).unwrap().is_none());
            let own = cache.get_entry(&slow_key, GetOptions::default(), source.give(Some(2_u8)));
            assert_eq!(own.await.unwrap().outcome, Outcome::Loaded);
            gate.open();
        };
        let (slow, ()) = tokio::join!(slow, others);
        assert_eq!(slow.unwrap().as_deref(), Some(&1));

        prover.proof.clear_poison();
        prover.say(Proof::At(clock.now()));
        assert_eq!(serves(&cache).await, [true; 3], "nothing was evicted");
    }
}

/// Returns the value of an answer; `None` also for a refusal.
fn served(got: Result<Option<Arc<u8>>, GetError>) -> Option<u8> {
    match got {
        Ok(value) => value.as_deref().copied(),
        Err(GetError::Unproven(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_node_that_refuses_begins_no_load_until_it_is_proven() {
    let (cache, clock, prover) = node(|builder| builder.stale_policy(StalePolicy::Refuse));
    let _guard = cache.attach_thread("worker");
    let (source, options) = (Source::default(), GetOptions::default);
    let ask = || cache.get(k(), options(), source.give(Some(1_u8)));
    let error = ask().await.expect_err("nothing is proven");
    assert!(error.to_string().contains("10s"), "{error}");

    prover.say(Proof::At(clock.now()));
    assert_eq!(served(ask().await), Some(1));
    clock.advance(9 * SECOND);
    let late = key("late");
    let load = source.give(Some(1_u8));
    cache.get(&late, options(), load).await.unwrap();

    // The bound has run out since the proof: what is younger is served, and nothing is loaded.
    clock.advance(SECOND);
    let loads = source.loads();
    assert_eq!(served(ask().await), None);
    assert_eq!(
        served(cache.renew(&late, options(), source.give(Some(2_u8))).await),
        None
    );
    assert_eq!(
        served(cache.get(&late, options(), source.give(Some(2_u8))).await),
        Some(1)
    );
    let many = |keys: Vec<CacheKey>| async move {
        let found = keys.into_iter().map(|key| (key, Some(3_u8))).collect();
        Ok::<Vec<_>, Failure>(found)
    };
    let both = [late.clone(), key("another")];
    let refused = cache.get_bulk(&both, options(), many).await;
    assert!(matches!(refused, Err(GetError::Unproven(_))));
    let held = cache.get_bulk(&both[..1], options(), many).await.unwrap();
    assert_eq!(held[0].as_deref(), Some(&1));
    let view = cache.view::<u8>("views").unwrap();
    assert_eq!(served(view.get("v", source.give(Some(1_u8))).await), None);
    assert_eq!((source.loads(), cache.stats().refused_unproven), (loads, 5));

    prover.say(Proof::At(clock.now()));
    assert_eq!(served(ask().await), Some(1));
}

#[tokio::test]
async fn a_node_that_refuses_serves_what_asks_to_be_refreshed_and_joins_what_runs() {
    let (cache, clock, prover) =
        node(|builder| builder.stale_policy(StalePolicy::Refuse).ttl(20 * SECOND));
    let (gate, source) = (Gate::new(), Source::default());
    let slow_key = key("slow");
    let early = GetOptions::default().refresh_early(0.1);
    prover.say(Proof::At(clock.now()));
    clock.advance(9 * SECOND);
    let load = source.give(Some(1_u8));
    cache.get(k(), early.clone(), load).await.unwrap();
    let slow = cache.get(
        &slow_key,
        GetOptions::default(),
        source.behind(&gate, Some(7_u8)),
    );
    let others = async {
        gate.reached().await;
        clock.advance(3 * SECOND);
        let loads = source.loads();
        for _ in 0..2 {
            let load = source.give(Some(2_u8));
            assert_eq!(served(cache.get(k(), early.clone(), load).await), Some(1));
        }
        let many = |keys: Vec<CacheKey>| async move {
            let found = keys.into_iter().map(|key| (key, Some(3_u8))).collect();
            Ok::<Vec<_>, Failure>(found)
        };
        let held = cache.get_bulk(&[k().clone()], early.clone(), many).await;
        assert_eq!(held.unwrap()[0].as_deref(), Some(&1));
        let joins = cache.get(&slow_key, GetOptions::default(), source.give(Some(8_u8)));
        let joins = async { tokio::join!(joins, async { gate.open() }).0 };
        assert_eq!(served(joins.await), Some(7));
        assert_eq!(source.loads(), loads);
    };
    tokio::join!(slow, others).0.unwrap();
}

/// G6: nothing voids a load of a node that others may have given up, so a call that comes after a
/// receipt was resolved makes a load of its own. G11: a node that merely keeps nothing, for example
/// because changes are not recorded, loads once for all of its callers.
#[tokio::test]
async fn a_load_that_is_not_kept_is_joined_unless_the_node_was_given_up() {
    for (is_proven, is_given_up) in [(true, false), (false, false), (true, true), (false, true)] {
        let (cache, clock, prover) = node(|builder| builder);
        prover.keeps_nothing.store(true, Ordering::SeqCst);
        prover.is_given_up.store(is_given_up, Ordering::SeqCst);
        clock.advance(20 * SECOND);
        prover.say(match is_proven {
            true => Proof::At(clock.now()),
            false => Proof::None,
        });

        let (gate, before, after) = (Gate::new(), Source::default(), Source::default());
        let early = cache.get(k(), GetOptions::default(), before.behind(&gate, Some(1_u8)));
        let late = async {
            gate.reached().await;
            let late = cache.get(k(), GetOptions::default(), after.give(Some(2_u8)));
            let opens = async {
                tokio::task::yield_now().await;
                gate.open();
            };
            tokio::join!(late, opens).0
        };
        let (early, late) = tokio::join!(early, late);
        let expected = if is_given_up { (2, 1) } else { (1, 0) };
        assert_eq!(*early.unwrap().unwrap(), 1);
        let late = *late.unwrap().unwrap();
        let case = format!("proven: {is_proven}, given up: {is_given_up}");
        assert_eq!((late, after.loads()), expected, "{case}");
    }
}

/// G6, G11: a load of its own for each of them would be a stampede.
#[tokio::test]
async fn callers_that_may_not_join_a_load_wait_for_it_and_share_the_next() {
    let (cache, _clock, prover) = node(|builder| builder);
    prover.keeps_nothing.store(true, Ordering::SeqCst);
    prover.is_given_up.store(true, Ordering::SeqCst);
    let (gate, before, after) = (Gate::new(), Source::default(), Source::default());
    let early = cache.get(k(), GetOptions::default(), before.behind(&gate, Some(1_u8)));
    let late = async {
        gate.reached().await;
        let options = GetOptions::default;
        let calls = (0..64).map(|_| cache.get(k(), options(), after.give(Some(2_u8))));
        let calls = futures_util::future::join_all(calls);
        let keys = [k().clone(), key("other")];
        let load = |missing: Vec<CacheKey>| {
            let found: Vec<_> = missing.into_iter().map(|key| (key, Some(3_u8))).collect();
            async move { Ok::<_, Failure>(found) }
        };
        let bulk = cache.get_bulk(&keys, options(), load);
        let opens = async {
            tokio::task::yield_now().await;
            assert_eq!(after.loads(), 0, "one load at a time");
            gate.open();
        };
        tokio::join!(calls, bulk, opens)
    };
    let (early, (calls, bulk, ())) = tokio::join!(early, late);
    assert_eq!(early.unwrap().as_deref(), Some(&1));
    for got in calls {
        assert_eq!(got.unwrap().as_deref(), Some(&2));
    }
    let bulk = bulk.unwrap();
    let bulk: Vec<_> = bulk.iter().map(|it| it.as_deref().copied()).collect();
    assert!(matches!(bulk[..], [Some(2 | 3), Some(3)]), "{bulk:?}");
    assert_eq!(after.loads(), 1);
}

/// Nor do they wait once it is overdue.
#[tokio::test]
async fn callers_that_wait_for_a_load_that_is_overdue_begin_one() {
    let (cache, clock, prover) = node(|builder| builder.deadline(4 * SECOND));
    prover.keeps_nothing.store(true, Ordering::SeqCst);
    prover.is_given_up.store(true, Ordering::SeqCst);
    let (gate, before, after) = (Gate::new(), Source::default(), Source::default());
    let early = cache.get(k(), GetOptions::default(), before.behind(&gate, Some(1_u8)));
    let late = async {
        gate.reached().await;
        clock.advance(3 * SECOND);
        let calls = (0..10).map(|_| cache.get(k(), GetOptions::default(), after.give(Some(2_u8))));
        let calls = futures_util::future::join_all(calls);
        let time = async {
            tokio::task::yield_now().await;
            assert_eq!(after.loads(), 0);
            clock.advance(SECOND);
        };
        tokio::join!(calls, time).0
    };
    let (early, calls) = tokio::join!(early, late);
    early.expect_err("its deadline has passed");
    for got in calls {
        assert_eq!(got.unwrap().as_deref(), Some(&2));
    }
    assert_eq!(after.loads(), 1);
    gate.open();
}

/// The load got more time while it was waited for, so it is still there when the wait is over.
#[tokio::test]
async fn a_caller_that_has_waited_joins_no_load_that_began_before_its_call() {
    let (cache, clock, prover) = node(|builder| builder.deadline(4 * SECOND));
    prover.keeps_nothing.store(true, Ordering::SeqCst);
    prover.is_given_up.store(true, Ordering::SeqCst);
    let (gate, before, after) = (Gate::new(), Source::default(), Source::default());
    let options = GetOptions::default;
    let mut early = Box::pin(cache.get(k(), options(), before.behind(&gate, Some(1_u8))));
    assert!((&mut early).now_or_never().is_none());
    gate.reached().await;
    clock.advance(SECOND);
    let mut late = Box::pin(cache.get(k(), options(), after.give(Some(2_u8))));
    assert!((&mut late).now_or_never().is_none(), "it waits");

    prover.is_given_up.store(false, Ordering::SeqCst);
    let patient = options().deadline(100 * SECOND);
    let mut joined = Box::pin(cache.get(k(), patient, after.give(Some(3_u8))));
    assert!((&mut joined).now_or_never().is_none(), "it has joined");
    prover.is_given_up.store(true, Ordering::SeqCst);
    clock.advance(3 * SECOND);
    let late_got = (&mut late).now_or_never();
    gate.open();
    assert_eq!(joined.await.unwrap().as_deref(), Some(&1));
    let late = match late_got {
        Some(got) => got,
        None => late.await,
    };
    assert_eq!(late.unwrap().as_deref(), Some(&2));
}
