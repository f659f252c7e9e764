//! How the cost of a post grows: per handler, per subscriber, and not at all with other channels.

use std::hint::black_box;

use tidings_events::{SubscribeOptions, WorkerEvents};

use super::Change;
use crate::harness::{Bench, BenchError, Contestant, Sample};

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    let calls = bench.settings().scaled(1 << 18);
    for handlers in [1, 10, 100, 1_000, 10_000] {
        let posts = (calls / handlers).max(8) as u64;
        let subject = format!("curve_post_to_{handlers}_handlers");
        one(bench, &subject, posts, |bus| {
            for _ in 0..handlers {
                bus.register(
                    |change: &Change| {
                        black_box(change.number);
                    },
                    "bench",
                    "change",
                )
                .expect("declared")
                .keep();
            }
        })?;
    }
    for subscribers in [1, 10, 100, 1_000] {
        let posts = (calls / 8).max(8) as u64;
        let subject = format!("curve_post_to_{subscribers}_idle_subscribers");
        one(bench, &subject, posts, |bus| {
            let options = SubscribeOptions::new();
            let queues: Vec<_> = (0..subscribers)
                .map(|_| {
                    bus.subscribe::<Change>("bench", "change", options.clone())
                        .expect("declared")
                })
                .collect();
            // For as long as the process lives: they are not drained.
            Box::leak(queues.into_boxed_slice());
        })?;
    }
    for channels in [1, 1_000, 100_000] {
        let posts = (calls / 8).max(8) as u64;
        let subject = format!("curve_post_beside_{channels}_channels");
        one(bench, &subject, posts, |bus| {
            for other in 0..channels {
                let name = format!("other_{other}");
                bus.declare::<Change>("bench", &name).expect("free");
            }
            bus.register(
                |change: &Change| {
                    black_box(change.number);
                },
                "bench",
                "change",
            )
            .expect("declared")
            .keep();
        })?;
    }
    Ok(())
}

fn one(
    bench: &mut Bench,
    subject: &str,
    posts: u64,
    prepare: impl Fn(&WorkerEvents) + Sync,
) -> Result<(), BenchError> {
    let contestant = Contestant::new("tidings", |_| {
        let bus = WorkerEvents::builder()
            .build()
            .expect("the defaults are valid");
        let channel = bus.declare::<Change>("bench", "change").expect("free");
        prepare(&bus);
        move |_| {
            let _ = &bus;
            Sample::time(posts, || {
                for number in 0..posts {
                    channel
                        .post(black_box(Change::new(number)))
                        .expect("the bus is open");
                }
                posts
            })
        }
    });
    bench.subject(subject, 1, vec![contestant])
}
