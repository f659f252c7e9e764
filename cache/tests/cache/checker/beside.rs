//! What the random checker seldom meets: a renewal, and a load of the same key beside it that is
//! late, or that a caller has started for whom the renewal is too old. What the renewal gives is
//! what is read from then on.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tidings_cache::{Attach, Cache, GetOptions, ManualClock};
use tokio::runtime::Runtime;

use super::Random;
use crate::kit::{Gate, k, timed};

const SECOND: Duration = Duration::from_secs(1);

/// The version that a source is at.
type Source = Arc<AtomicU64>;

/// Renewals beside other loads, and what is read once they have landed.
pub(super) fn round(runtime: &Runtime, random: &mut Random) -> Option<String> {
    let (builder, clock) = timed();
    let cache = builder
        .runtime(runtime.handle().clone())
        .attach(Attach::ByHand)
        .deadline(2 * SECOND)
        .build()
        .unwrap();
    let source = Source::default();
    (0..100).find_map(|_| {
        drop(cache.invalidate(k()));
        match random.below(2) {
            0 => runtime.block_on(too_old(&cache, &clock, &source, random)),
            _ => runtime.block_on(displaced(&cache, &clock, &source, random)),
        }
    })
}

/// A load that takes its time before and after it reads its source.
async fn slow(source: Source, (before, after): (u64, u64)) -> io::Result<Option<u64>> {
    turns(before).await;
    let version = source.load(Ordering::SeqCst);
    turns(after).await;
    Ok(Some(version))
}

/// A load that reads its source and then waits to say so.
async fn read_early(source: Source, gate: Gate) -> io::Result<Option<u64>> {
    let version = source.load(Ordering::SeqCst);
    gate.pass().await;
    Ok(Some(version))
}

/// A load that waits and then reads its source.
async fn read_late(source: Source, gate: Gate) -> io::Result<Option<u64>> {
    gate.pass().await;
    Ok(Some(source.load(Ordering::SeqCst)))
}

async fn turns(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// The other load begins because the renewal is too old for its caller.
async fn too_old(
    cache: &Cache,
    clock: &ManualClock,
    source: &Source,
    random: &mut Random,
) -> Option<String> {
    let mut load = || {
        let (own, time) = (Arc::clone(source), (random.below(64), random.below(64)));
        move || slow(own, time)
    };
    let mut renewal = Box::pin(cache.renew(k(), GetOptions::default(), load()));
    let early = (&mut renewal).now_or_never();
    clock.advance(SECOND);
    let bounded = GetOptions::default().max_staleness(SECOND);
    let mut beside = Box::pin(cache.get(k(), bounded, load()));
    let ended = (&mut beside).now_or_never().is_some();
    turns(random.below(128)).await;
    source.fetch_add(1, Ordering::SeqCst);

    let renewed = match early {
        Some(renewed) => renewed,
        None => renewal.await,
    };
    if !ended {
        drop(beside.await);
    }
    older(cache, *renewed.unwrap().unwrap())
}

/// The other load is late, and becomes so just as the late renewal lands.
async fn displaced(
    cache: &Cache,
    clock: &ManualClock,
    source: &Source,
    random: &mut Random,
) -> Option<String> {
    let (renewing, reading, last) = (Gate::new(), Gate::new(), Gate::new());
    let load = |gate: &Gate| {
        let (own, gate) = (Arc::clone(source), gate.clone());
        move || read_late(own, gate)
    };
    let options = GetOptions::default;
    drop(cache.renew(k(), options(), load(&renewing)).now_or_never());
    clock.advance(SECOND);
    let mut renewal = Box::pin(cache.renew(k(), options(), load(&last)));
    assert!((&mut renewal).now_or_never().is_none(), "it has joined");
    clock.advance(SECOND);

    let (own, gate) = (Arc::clone(source), reading.clone());
    let beside = cache.get(k(), options().deadline(SECOND / 2), move || {
        read_early(own, gate)
    });
    drop(beside.now_or_never());
    reading.reached().await;
    source.fetch_add(1, Ordering::SeqCst);

    renewing.open();
    turns(random.below(256)).await;
    clock.advance(SECOND / 2);
    let mut third = Box::pin(cache.get(k(), options(), load(&last)));
    let waits = (&mut third).now_or_never().is_none();
    reading.open();
    while cache.stats().in_flight > u64::from(waits) {
        tokio::task::yield_now().await;
    }

    let renewed = (&mut renewal).now_or_never();
    let found = renewed
        .as_ref()
        .and_then(|renewed| older(cache, *renewed.as_ref().ok()?.as_deref()?));
    // For the third, and for the renewal, which may ask again.
    last.open();
    last.open();
    if renewed.is_none() {
        drop(renewal.await);
    }
    if waits {
        drop(third.await);
    }
    found
}

/// Reports that the cache holds something older than a renewal has given.
fn older(cache: &Cache, renewed: u64) -> Option<String> {
    let found = cache.cached::<u64>(k()).unwrap()?;
    let seen = *found.value?;
    (seen < renewed).then(|| format!("read {seen} after a renewal had given {renewed}"))
}
