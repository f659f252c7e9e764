//! Slow handlers, seen from outside.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use tidings_core::clock::ManualClock;

use super::{Journal, Note, bus, notes};
use crate::{WorkerEvents, api::watchdog::SlowHandler};

#[test]
fn a_handler_that_runs_too_long_is_named_while_it_runs_and_once() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let (inside, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (entered, left) = (Arc::clone(&inside), Arc::clone(&leave));
    bus.on("jobs", "done")
        .named("stuck")
        .register(move |_: &Note| {
            entered.wait();
            left.wait();
        })
        .expect("declared")
        .keep();
    let mut watchdog = bus.watchdog(Duration::from_secs(1));
    thread::scope(|scope| {
        scope.spawn(|| channel.post(Note(1)).expect("open"));
        inside.wait();
        assert_eq!(watchdog.look(), [], "seen for the first time");
        clock.advance(Duration::from_millis(999));
        assert_eq!(watchdog.look(), []);
        clock.advance(Duration::from_millis(1));
        assert_eq!(
            watchdog.look(),
            [SlowHandler {
                handler: "stuck".to_owned(),
                listens_to: vec![r#"("jobs", "done")"#.to_owned()],
                worker: None,
                running_for: Duration::from_secs(1),
            }]
        );
        clock.advance(Duration::from_secs(9));
        assert_eq!(watchdog.look(), [], "once per call");
        leave.wait();
    });
}

#[test]
fn a_sample_of_the_dispatches_is_timed_and_runs_like_any_other() {
    let bus = bus(1);
    let channel = notes(&bus);
    let calls = Journal::<u64>::new();
    let long = |note: &Note, calls: &Journal<u64>| {
        // Until the clock has moved, so that there is a time to measure.
        let begun = Instant::now();
        while begun.elapsed().is_zero() {
            std::hint::spin_loop();
        }
        calls.write(note.0);
    };
    let inline = calls.clone();
    bus.on("jobs", "done")
        .named("inline")
        .register(move |note: &Note| long(note, &inline))
        .expect("declared")
        .keep();
    let worker = bus.attach_worker(0).expect("free");
    let local = calls.clone();
    worker
        .on("jobs", "done")
        .named("worker")
        .register(move |note: &Note| long(note, &local))
        .expect("declared")
        .keep();
    for number in 0..600 {
        channel.post(Note(number)).expect("open");
        worker.run_pending();
    }
    let both = (0..600).flat_map(|number| [number, number]);
    assert_eq!(calls.read(), both.collect::<Vec<_>>());
    let handlers = bus.stats().handlers;
    assert_eq!(handlers.len(), 2);
    for handler in handlers {
        // The first, and of those after it one in 256 on the average.
        assert!((1..=10).contains(&handler.sampled_calls), "{handler:?}");
        assert!(!handler.sampled_time.is_zero(), "{handler:?}");
    }
}
