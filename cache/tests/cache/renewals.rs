//! A renewal replaces: what it gave is what later callers see, or something that was read after it,
//! whatever other loads of the key were in progress beside it. Where the key was invalidated or set
//! meanwhile, that decides.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use tidings_cache::{
    Cache, CacheBuilder, CacheKey, Event, Fills, GetError, GetOptions, Loaded, ManualClock, Pass,
};
use tokio::task::JoinHandle;

use crate::kit::{Gate, Source, k, timed};

const SECOND: Duration = Duration::from_secs(1);

type Got = Result<Option<Arc<u8>>, GetError>;

/// A cache whose callers wait for two seconds.
fn patient(build: impl FnOnce(CacheBuilder) -> CacheBuilder) -> (Cache, ManualClock) {
    let (builder, clock) = timed();
    let cache = build(builder.deadline(2 * SECOND)).build().unwrap();
    (cache, clock)
}

/// Starts a renewal that has read `value`, and waits at the gate before it returns.
async fn renew(cache: &Cache, gate: &Gate, value: Loaded<u8>) -> JoinHandle<Got> {
    let (cache, load) = (cache.clone(), Source::default().behind(gate, value));
    let renewal = tokio::spawn(async move { cache.renew(k(), GetOptions::default(), load).await });
    gate.reached().await;
    renewal
}

/// The same for a plain caller.
async fn get(cache: &Cache, gate: &Gate, value: u8, options: GetOptions) -> JoinHandle<Got> {
    let (cache, load) = (cache.clone(), Source::default().behind(gate, Some(value)));
    let caller = tokio::spawn(async move { cache.get(k(), options, load).await });
    gate.reached().await;
    caller
}

/// Makes a caller join the renewal in progress. It comes later, so it has time left when the
/// renewal is late.
async fn join(cache: &Cache) -> JoinHandle<Got> {
    let (joined, source) = (cache.stats().joined, Source::default());
    let caller = {
        let (cache, load) = (cache.clone(), source.give(Some(0)));
        tokio::spawn(async move { cache.renew(k(), GetOptions::default(), load).await })
    };
    while cache.stats().joined == joined {
        tokio::task::yield_now().await;
    }
    caller
}

/// Makes a renewal that has read 2 late, and returns a caller of it who has a second left.
async fn late_renewal(cache: &Cache, clock: &ManualClock, gate: &Gate) -> JoinHandle<Got> {
    let first = renew(cache, gate, Loaded::new(2)).await;
    clock.advance(SECOND);
    let second = join(cache).await;
    clock.advance(SECOND);
    assert!(first.await.unwrap().is_err());
    second
}

/// Starts a renewal that has read 2, and then a caller for whom it is too old, whose load has read
/// 1.
async fn renewal_and_bounded(
    cache: &Cache,
    clock: &ManualClock,
    gates: [&Gate; 2],
) -> (JoinHandle<Got>, JoinHandle<Got>) {
    let renewal = renew(cache, gates[0], Loaded::new(2)).await;
    clock.advance(SECOND);
    let bounded = GetOptions::default().max_staleness(SECOND);
    (renewal, get(cache, gates[1], 1, bounded).await)
}

async fn settle(cache: &Cache) {
    while cache.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

fn seen(cache: &Cache) -> Option<u8> {
    let found = cache.cached::<u8>(k()).unwrap()?;
    found.value.as_deref().copied()
}

fn value(got: Got) -> u8 {
    *got.unwrap().expect("only values are loaded")
}

#[tokio::test]
async fn a_late_load_does_not_fill_once_a_renewal_has_landed() {
    let (cache, clock) = patient(|builder| builder);
    let (slow, gate) = (Gate::new(), Gate::new());
    let caller = get(&cache, &slow, 1, GetOptions::default()).await;
    clock.advance(2 * SECOND);
    assert!(matches!(caller.await.unwrap(), Err(GetError::Deadline(_))));

    let renewal = renew(&cache, &gate, Loaded::new(2).ttl(SECOND)).await;
    gate.open();
    assert_eq!(value(renewal.await.unwrap()), 2);

    // What it filled has left L2 by the time the late load comes.
    clock.advance(SECOND);
    slow.open();
    settle(&cache).await;
    assert_eq!(seen(&cache), None, "older than what was renewed");
}

#[tokio::test]
async fn a_load_beside_a_late_renewal_does_not_fill_after_it() {
    let (cache, clock) = patient(|builder| builder);
    let (slow, gate) = (Gate::new(), Gate::new());
    let second = late_renewal(&cache, &clock, &slow).await;

    // It has read before the renewal does, which began earlier.
    let caller = get(&cache, &gate, 1, GetOptions::default()).await;
    slow.open();
    assert_eq!(value(second.await.unwrap()), 2);
    gate.open();
    assert_eq!(value(caller.await.unwrap()), 1);
    settle(&cache).await;
    assert_eq!(seen(&cache), Some(2));
}

#[tokio::test]
async fn a_late_renewal_is_not_undone_by_what_filled_before_it() {
    let (cache, clock) = patient(|builder| builder);
    let (slow, source) = (Gate::new(), Source::default());
    let second = late_renewal(&cache, &clock, &slow).await;

    let load = source.give(Some(1));
    let filled = cache.get(k(), GetOptions::default(), load).await;
    assert_eq!(value(filled), 1);
    slow.open();
    assert_eq!(value(second.await.unwrap()), 2);
    assert_eq!(seen(&cache), None, "which of the two is newer is not known");
}

#[tokio::test]
async fn of_two_renewals_at_once_neither_is_kept() {
    for later_first in [false, true] {
        let (cache, clock) = patient(|builder| builder);
        let (early, late) = (Gate::new(), Gate::new());
        let joined = late_renewal(&cache, &clock, &early).await;
        let second = renew(&cache, &late, Loaded::new(1)).await;

        let order = if later_first {
            [(&late, second, 1), (&early, joined, 2)]
        } else {
            [(&early, joined, 2), (&late, second, 1)]
        };
        for (gate, renewal, gave) in order {
            gate.open();
            assert_eq!(value(renewal.await.unwrap()), gave);
        }
        settle(&cache).await;
        assert_eq!(seen(&cache), None, "later one first: {later_first}");
    }
}

#[tokio::test]
async fn a_caller_with_a_bound_does_not_undo_a_renewal() {
    let (cache, clock) = patient(|builder| builder);
    let (slow, gate) = (Gate::new(), Gate::new());
    let (renewal, caller) = renewal_and_bounded(&cache, &clock, [&slow, &gate]).await;
    slow.open();
    assert_eq!(value(renewal.await.unwrap()), 2);
    gate.open();
    assert_eq!(value(caller.await.unwrap()), 1);
    settle(&cache).await;
    assert_eq!(seen(&cache), Some(2));
}

#[tokio::test]
async fn a_renewal_that_a_tag_keeps_out_takes_the_old_value_with_it() {
    let (cache, _clock) = patient(|builder| builder);
    let gate = Gate::new();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let renewal = renew(&cache, &gate, Loaded::new(2).tag("tag")).await;
    cache.invalidate_tag_local("tag");
    gate.open();
    assert_eq!(value(renewal.await.unwrap()), 2);
    assert_eq!(seen(&cache), None, "the old value had no such tag");
}

#[tokio::test]
async fn reloads_beside_each_other_each_give_what_they_read() {
    let (cache, _clock) = patient(|builder| builder);
    let gates = [Gate::new(), Gate::new(), Gate::new(), Gate::new()];
    let mut reloads = Vec::new();
    for (gate, value) in gates.iter().zip(1_u8..) {
        let (cache, load) = (cache.clone(), Source::default().behind(gate, Some(value)));
        reloads.push(tokio::spawn(async move {
            cache.reload(k(), GetOptions::default(), load).await
        }));
        gate.reached().await;
    }

    for (at, reload) in reloads.into_iter().enumerate() {
        gates[at].open();
        assert_eq!(usize::from(value(reload.await.unwrap())), at + 1);
    }
    settle(&cache).await;
    assert_eq!(seen(&cache), None, "which of them is newer is not known");
}

#[tokio::test]
async fn a_renewal_outlives_callers_with_bounds() {
    let (cache, clock) = patient(|builder| builder.deadline(10 * SECOND));
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let renewal = renew(&cache, &gates[0], Loaded::new(9)).await;
    let mut callers = Vec::new();
    for gate in &gates[1..] {
        clock.advance(SECOND);
        let bounded = GetOptions::default().max_staleness(SECOND);
        callers.push(get(&cache, gate, 1, bounded).await);
    }

    gates[0].open();
    assert_eq!(value(renewal.await.unwrap()), 9);
    for (gate, caller) in gates[1..].iter().zip(callers) {
        gate.open();
        assert_eq!(value(caller.await.unwrap()), 1);
    }
    settle(&cache).await;
    assert_eq!(seen(&cache), Some(9));
}

#[tokio::test]
async fn a_renewal_does_not_replace_what_a_bounded_caller_has_loaded_beside_it() {
    let (cache, clock) = patient(|builder| builder);
    let (slow, gate) = (Gate::new(), Gate::new());
    let (renewal, caller) = renewal_and_bounded(&cache, &clock, [&slow, &gate]).await;

    gate.open();
    assert_eq!(value(caller.await.unwrap()), 1);
    assert_eq!(seen(&cache), Some(1));
    slow.open();
    assert_eq!(value(renewal.await.unwrap()), 2);
    assert_eq!(seen(&cache), None, "which of the two is newer is not known");
}

#[tokio::test]
async fn an_explanation_counts_all_loads_that_an_invalidation_has_voided() {
    let (cache, clock) = patient(|builder| builder);
    let gates = [Gate::new(), Gate::new()];
    let calls = renewal_and_bounded(&cache, &clock, [&gates[0], &gates[1]]).await;
    cache.invalidate_local(k());
    let latest = cache.explain(k()).unwrap().history.remove(0).event;
    let (held, voided) = (false, 2);
    assert_eq!(latest, Event::Invalidated { held, voided });

    gates.iter().for_each(Gate::open);
    assert_eq!(value(calls.0.await.unwrap()), 2);
    assert_eq!(value(calls.1.await.unwrap()), 1);
}

#[tokio::test]
async fn a_caller_that_has_time_left_asks_again_when_its_late_load_is_ended() {
    let (cache, clock) = patient(|builder| builder);
    let slow = Gate::new();
    let second = late_renewal(&cache, &clock, &slow).await;
    while cache.stats().load_deadlines == 0 {
        tokio::task::yield_now().await;
    }

    cache.invalidate_local(k());
    assert_eq!(value(second.await.unwrap()), 0, "its own load");
}

#[tokio::test]
async fn a_caller_whose_time_is_over_starts_no_load_of_its_own() {
    let (cache, clock) = patient(|builder| builder.abandon_after(3 * SECOND));
    let (gate, source) = (Gate::new(), Source::default());
    let first = get(&cache, &gate, 1, GetOptions::default()).await;
    clock.advance(SECOND);
    let load = source.give(Some(2_u8));
    let mut joined = Box::pin(cache.get(k(), GetOptions::default(), load));
    assert!((&mut joined).now_or_never().is_none());
    clock.advance(SECOND);
    assert!(first.await.unwrap().is_err());

    // The load is abandoned at the moment at which the caller's own time is over.
    clock.advance(SECOND);
    while cache.stats().abandoned == 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(joined.await, Err(GetError::Deadline(_))));
    assert_eq!(source.loads(), 0);
}

/// It counts as older than the last change of anything that shares its slot, or of any tag.
#[tokio::test]
async fn a_renewal_that_its_position_keeps_out_takes_the_old_value_with_it() {
    let (cache, _clock) = patient(|builder| builder);
    let gate = Gate::new();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let lagging = Loaded::new(2).read_at(cache.number());
    let renewal = renew(&cache, &gate, lagging).await;
    cache.invalidate_tag_local("other");
    gate.open();
    assert_eq!(value(renewal.await.unwrap()), 2);
    assert_eq!(seen(&cache), None, "older than what the renewal gave");
}

#[tokio::test]
async fn a_set_at_a_position_is_refused_beside_a_renewal_and_not_beside_a_get() {
    for renews in [false, true] {
        let (cache, _clock) = patient(|builder| builder);
        let gate = Gate::new();
        let caller = match renews {
            true => renew(&cache, &gate, Loaded::new(1)).await,
            false => get(&cache, &gate, 1, GetOptions::default()).await,
        };
        let read = Loaded::new(2_u8).read_at(cache.number());
        let set = cache.set(k(), read, GetOptions::default());
        assert_eq!(set.is_err(), renews);

        gate.open();
        assert_eq!(value(caller.await.unwrap()), 1);
        assert_eq!(seen(&cache), Some(if renews { 1 } else { 2 }));
    }
}

/// No caller has seen what it gave.
#[tokio::test]
async fn a_refresh_that_its_position_keeps_out_leaves_the_old_value() {
    let (cache, clock) = patient(|builder| builder.ttl(10 * SECOND).refresh_early(0.5));
    let gate = Gate::new();
    cache.set(k(), Some(1_u8), GetOptions::default()).unwrap();
    let lagging = Loaded::new(2).read_at(cache.number());
    clock.advance(9 * SECOND);
    let load = Source::default().behind(&gate, lagging);
    let got = cache.get(k(), GetOptions::default(), load).await;
    assert_eq!(value(got), 1);

    gate.reached().await;
    cache.invalidate_tag_local("other");
    gate.open();
    settle(&cache).await;
    assert_eq!(cache.stats().refused_position, 1);
    assert_eq!(seen(&cache), Some(1));
}

#[tokio::test]
async fn of_two_renewals_at_once_neither_is_kept_whatever_their_positions() {
    let (cache, _clock) = patient(|builder| builder);
    let (one, two) = (Gate::new(), Gate::new());
    let first = renew(&cache, &one, Loaded::new(1)).await;
    let load = Source::default().behind(&two, Loaded::new(2).read_at(cache.number()));
    let reloading = cache.clone();
    let second =
        tokio::spawn(async move { reloading.reload(k(), GetOptions::default(), load).await });
    two.reached().await;

    one.open();
    assert_eq!(value(first.await.unwrap()), 1);
    two.open();
    assert_eq!(value(second.await.unwrap()), 2);
    assert_eq!(seen(&cache), None, "older than what the reload gave");
}

type Action = Box<dyn FnOnce() + Send>;

/// Does something once, after a load has ended and before its result lands.
#[derive(Clone, Default)]
struct Between(Arc<Mutex<Option<Action>>>);

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Between").finish_non_exhaustive()
    }
}

impl Fills for Between {
    fn begin(&self, _: &CacheKey) -> Option<Pass> {
        Some(Pass(0))
    }

    fn holds(&self, _: Pass) -> bool {
        let action = self.0.lock().unwrap().take();
        action.into_iter().for_each(|action| action());
        true
    }
}

#[tokio::test]
async fn a_renewal_that_is_displaced_as_it_lands_gives_nothing() {
    let between = Between::default();
    let (cache, clock) = patient(|builder| builder.fills(Arc::new(between.clone())));
    let (slow, beside, last) = (Gate::new(), Gate::new(), Gate::new());
    let second = late_renewal(&cache, &clock, &slow).await;

    // It has read before the renewal does, which began earlier, and is late before that lands.
    let brief = GetOptions::default().deadline(SECOND / 2);
    let caller = get(&cache, &beside, 1, brief).await;
    *between.0.lock().unwrap() = Some(Box::new({
        let (cache, clock, last) = (cache.clone(), clock.clone(), last.clone());
        move || {
            clock.advance(SECOND / 2);
            let load = Source::default().behind(&last, Some(3_u8));
            let third = cache.get(k(), GetOptions::default(), load).now_or_never();
            assert!(third.is_none(), "it has a load of its own");
        }
    }));
    slow.open();
    last.reached().await;

    beside.open();
    while cache.stats().in_flight > 1 {
        tokio::task::yield_now().await;
    }
    assert!(caller.await.unwrap().is_err());
    assert_eq!(seen(&cache), Some(1), "the late load fills");
    last.open();
    assert_eq!(
        value(second.await.unwrap()),
        3,
        "2 was read, and is not what others see"
    );
}
