//! Slow handlers, seen from outside.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use tidings_core::clock::ManualClock;

use super::Note;
use crate::{WorkerEvents, watchdog::SlowHandler};

#[test]
fn a_handler_that_runs_too_long_is_named_while_it_runs_and_once() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let channel = bus.declare::<Note>("jobs", "done").expect("free");
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
