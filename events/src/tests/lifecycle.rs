//! Before the start and after the end.

use std::{sync::Arc, thread, time::Duration};

use tidings_core::{CrudEvent, clock::ManualClock};

use super::{Consumer, Hanging, Journal, Note, bus, cause, consumer, notes};
use crate::{AttachError, Handled, Refusal, RegisterError, WorkerEvents};

// WE16
#[tokio::test]
async fn after_a_shutdown_everything_is_refused() {
    let bus = bus(1);
    let channel = notes(&bus);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let report = bus.shutdown(Duration::from_secs(1)).await;
    assert!(report.drained, "{report:?}");
    let refused = channel.post(Note(1)).expect_err("closed");
    assert_eq!(
        (refused.payload, refused.refusal),
        (Note(1), Refusal::Closed)
    );
    assert!(matches!(
        bus.register(|_: &Note| (), "jobs", "done"),
        Err(RegisterError::Closed { .. })
    ));
    assert_eq!(
        bus.attach_worker(0).expect_err("closed"),
        AttachError::Closed { index: 0 }
    );
    let delivery = consumers
        .enqueue(CrudEvent::created(consumer("1")), cause(1))
        .dispatch();
    let handled = delivery.handled(Duration::from_secs(60)).await;
    assert_eq!(handled, Handled::Refused(Refusal::Closed));
    assert_eq!(bus.stats().dropped, 1);
}

// WE16
#[tokio::test]
async fn accepted_events_are_delivered_before_the_end() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    worker
        .register(move |note: &Note| heard.write(note.0), "jobs", "done")
        .expect("declared")
        .keep();
    for number in 0..100 {
        channel.post(Note(number)).expect("open");
    }
    let (report, ()) = tokio::join!(bus.shutdown(Duration::from_secs(60)), worker.run());
    assert!(report.drained && report.dropped == 0, "{report:?}");
    assert_eq!(journal.read(), (0..100).collect::<Vec<_>>());
}

// WE16
#[tokio::test]
async fn what_a_stuck_worker_did_not_handle_is_counted_and_nobody_waits_for_it() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .workers(2)
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let stuck = bus.attach_worker(1).expect("free");
    stuck
        .register(|_: &CrudEvent<Consumer>| (), "crud", "consumers")
        .expect("declared")
        .keep();
    let delivery = consumers
        .enqueue(CrudEvent::created(consumer("1")), cause(1))
        .dispatch();
    let late = async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(5));
    };
    let (report, ()) = tokio::join!(bus.shutdown(Duration::from_secs(5)), late);
    assert_eq!(
        (report.drained, report.dropped, &report.late[..]),
        (false, 1, &[1][..])
    );
    let handled = delivery.handled(Duration::from_secs(60)).await;
    assert_eq!(handled, Handled::Missed(1));
}

#[test]
fn changes_that_were_not_dispatched_by_the_end_are_counted_and_their_callers_are_told() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let handler = Hanging::register(&bus);

    let posting = consumers.clone();
    let slow = thread::spawn(move || {
        let first = CrudEvent::created(consumer("1"));
        drop(posting.enqueue(first, cause(1)).dispatch());
    });
    handler.entered();
    let second = CrudEvent::created(consumer("2"));
    let delivery = consumers.enqueue(second, cause(2)).dispatch();

    let report = bus.shutdown_blocking(Duration::ZERO);
    assert_eq!((report.drained, report.dropped), (false, 1), "{report:?}");
    let handled = crate::thread::park::block_on(delivery.handled(Duration::from_secs(60)));
    assert_eq!(handled, Handled::Refused(Refusal::Closed));
    drop(handler);
    slow.join().expect("no panic");
}
