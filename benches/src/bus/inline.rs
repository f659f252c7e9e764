//! Posts to inline handlers.

use std::{
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tidings_events::WorkerEvents;

use super::Change;
use crate::harness::{Bench, BenchError, Contestant, Sample};

const CALLS: usize = 1 << 18;

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    for handlers in [1, 8, 64] {
        let posts = (bench.settings().scaled(CALLS) / handlers).max(1) as u64;
        bench.subject(
            &format!("inline_{handlers}"),
            1,
            vec![
                Contestant::new("tidings", |_| ours(handlers, posts)),
                Contestant::new("boxed closures", |_| boxed(handlers, posts)),
            ],
        )?;
    }
    Ok(())
}

/// The work of a handler: it cannot be optimised away, and costs little.
fn handler(sum: &Arc<AtomicU64>) -> impl Fn(&Change) + Send + Sync + 'static {
    let sum = Arc::clone(sum);
    move |change| {
        let seen = sum.load(Ordering::Relaxed);
        sum.store(seen.wrapping_add(change.number), Ordering::Relaxed);
    }
}

fn ours(handlers: usize, posts: u64) -> impl FnMut(crate::harness::Turn) -> Sample {
    let bus = WorkerEvents::builder()
        .build()
        .expect("the defaults are valid");
    let channel = bus.declare::<Change>("bench", "change").expect("free");
    let sum = Arc::new(AtomicU64::new(0));
    for _ in 0..handlers {
        bus.register(handler(&sum), "bench", "change")
            .expect("declared")
            .keep();
    }
    move |_| {
        let _ = &bus;
        sum.store(0, Ordering::Relaxed);
        Sample::time(posts, || {
            for number in 0..posts {
                channel
                    .post(black_box(Change::new(number)))
                    .expect("the bus is open");
            }
            sum.load(Ordering::Relaxed)
        })
    }
}

type Boxed = Box<dyn Fn(&Change) + Send + Sync>;

fn boxed(handlers: usize, posts: u64) -> impl FnMut(crate::harness::Turn) -> Sample {
    let sum = Arc::new(AtomicU64::new(0));
    let closures: Vec<Boxed> = (0..handlers)
        .map(|_| Box::new(handler(&sum)) as Boxed)
        .collect();
    move |_| {
        sum.store(0, Ordering::Relaxed);
        Sample::time(posts, || {
            for number in 0..posts {
                let change = black_box(Change::new(number));
                for closure in &closures {
                    if catch_unwind(AssertUnwindSafe(|| closure(&change))).is_err() {
                        black_box(());
                    }
                }
            }
            sum.load(Ordering::Relaxed)
        })
    }
}
