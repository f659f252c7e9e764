//! What the random checker without a bound cannot see: a node that proves its freshness now and
//! then must not take what it still holds for proven by a proof of what has replaced it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_cache::{Cache, CacheKey, Clock as _, Fills, GetOptions, ManualClock, Pass, Proof};
use tokio::runtime::Runtime;

use super::Random;
use crate::kit::k;

const BOUND: Duration = Duration::from_millis(50);
/// How many versions a round writes.
const VERSIONS: u64 = 64;

/// Keeps everything, and proves what it has been asked to.
#[derive(Debug)]
struct Prover {
    clock: ManualClock,
    /// Nanoseconds on that clock.
    proven: AtomicU64,
}

impl Prover {
    /// Proves what is held by now.
    fn prove(&self) {
        self.proven.store(self.clock.now().0, Ordering::SeqCst);
    }
}

impl Fills for Prover {
    fn begin(&self, _: &CacheKey) -> Option<Pass> {
        Some(Pass(0))
    }

    fn holds(&self, _: Pass) -> bool {
        true
    }

    fn proof(&self) -> Proof {
        Proof::At(tidings_core::clock::Tick(
            self.proven.load(Ordering::SeqCst),
        ))
    }
}

/// One key whose source changes while the node hears of nothing, until no proof holds; then the
/// node catches up: it evicts, and proves. Returns a read of a version that was replaced for longer
/// than the bound when the read began, if there is one.
pub(super) fn round(runtime: &Runtime, random: &mut Random) -> Option<String> {
    let clock = ManualClock::new();
    let prover = Arc::new(Prover {
        clock: clock.clone(),
        proven: AtomicU64::new(clock.now().0),
    });
    let cache = Cache::builder()
        .runtime(runtime.handle().clone())
        .clock(Arc::new(clock.clone()))
        .staleness_ceiling(BOUND)
        .fills(Arc::clone(&prover) as _)
        .build()
        .unwrap();
    let (version, promised) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let over = AtomicBool::new(false);

    let read = || {
        let promised = promised.load(Ordering::SeqCst);
        let source = Arc::clone(&version);
        let load = || async move { Ok::<_, io::Error>(Some(source.load(Ordering::SeqCst))) };
        let options = GetOptions::default().no_deadline();
        let got = runtime.handle().block_on(cache.get(k(), options, load));
        let got = *got.unwrap().unwrap();
        (got < promised).then(|| format!("unproven: read {got} after {promised} was promised"))
    };
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut impossible = None;
                while impossible.is_none() && !over.load(Ordering::SeqCst) {
                    impossible = read();
                }
                impossible
            })
        });
        for next in 1..=VERSIONS {
            version.store(next, Ordering::SeqCst);
            clock.advance(BOUND);
            promised.store(next, Ordering::SeqCst);
            (0..random.below(64)).for_each(|_| std::hint::spin_loop());
            cache.apply_change(std::slice::from_ref(k()), &[]);
            prover.prove();
            (0..random.below(256)).for_each(|_| std::hint::spin_loop());
        }
        over.store(true, Ordering::SeqCst);
        readers
            .into_iter()
            .find_map(|reader| reader.join().unwrap())
    })
}
