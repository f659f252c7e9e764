//! Models of ends: of workers, readers, handles, and the bus itself.

use std::{sync::Arc, time::Duration};

use shuttle::{
    future::block_on,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use tidings_core::{Cause, CrudEvent, Origin};

use super::{Consumer, Note, bus};
use crate::{Overflow, SubscribeOptions, WorkerEvents};

/// A worker that sleeps is woken by a post and by the end, and the end counts what was accepted.
pub(super) fn a_sleeping_worker_is_woken_and_the_end_counts() {
    let (bus, channel) = bus(1, 2);
    let accepted = Arc::new(AtomicU64::new(0));
    let handled = Arc::new(AtomicU64::new(0));
    let (finish, finished) = shuttle::sync::mpsc::channel::<()>();
    let worker = {
        let (bus, handled) = (bus.clone(), Arc::clone(&handled));
        let (ready, started) = shuttle::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let worker = bus.attach_worker(0).expect("free");
            worker
                .register(
                    move |_: &Note| {
                        handled.fetch_add(1, Ordering::SeqCst);
                    },
                    "jobs",
                    "done",
                )
                .expect("declared")
                .keep();
            ready.send(()).expect("the model waits");
            block_on(worker.run());

            // The worker keeps its place until the posters are through: one that left is not posted
            // to.
            let _over = finished.recv();
        });
        started.recv().expect("the worker starts");

        thread
    };
    let poster = {
        let accepted = Arc::clone(&accepted);
        thread::spawn(move || {
            for number in 0..2 {
                if channel.post(Note(number)).is_ok() {
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    };
    let _report = block_on(bus.shutdown(Duration::from_secs(1)));
    poster.join().expect("no panic");
    drop(finish);
    worker.join().expect("no panic");

    let mailbox = &bus.stats().mailboxes[0];
    assert_eq!(mailbox.depth, 0, "nothing is left behind: {mailbox:?}");
    assert_eq!(mailbox.accepted, handled.load(Ordering::SeqCst));

    // A post may have been accepted just before the end, and found the mailbox closed.
    let dropped = bus.stats().dropped;
    assert_eq!(mailbox.accepted + dropped, accepted.load(Ordering::SeqCst));
}

/// A reader that sleeps when the last handle goes gets what was posted, and then the end.
fn the_last_handle_ends_a_reader(overflow: Overflow) {
    let (bus, channel) = bus(0, 1);
    let options = SubscribeOptions::new().capacity(4).overflow(overflow);
    let mut reader = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    let poster = thread::spawn(move || {
        channel.post(Note(0)).expect("open");
        drop(channel);
    });
    let other = thread::spawn(move || drop(bus));
    let mut received = 0;
    while let Some(heard) = block_on(reader.recv()) {
        assert!(heard.into_result().is_ok(), "there is room");
        received += 1;
    }

    assert_eq!(received, 1);
    poster.join().expect("no panic");
    other.join().expect("no panic");
}

pub(super) fn the_last_handle_ends_a_reader_of_the_log() {
    the_last_handle_ends_a_reader(Overflow::DropOldest);
}

pub(super) fn the_last_handle_ends_a_reader_of_its_own_queue() {
    the_last_handle_ends_a_reader(Overflow::DropNewest);
}

/// A worker gives its place up while others post, and another thread takes it: every event is
/// handled or counted.
pub(super) fn a_place_is_taken_again_while_others_post() {
    let (bus, channel) = bus(1, 2);
    let handled = Arc::new(AtomicU64::new(0));
    let listen = |bus: &WorkerEvents, handled: &Arc<AtomicU64>| {
        let worker = bus.attach_worker(0).expect("free");
        let counted = Arc::clone(handled);
        worker
            .register(
                move |_: &Note| {
                    counted.fetch_add(1, Ordering::SeqCst);
                },
                "jobs",
                "done",
            )
            .expect("declared")
            .keep();

        worker
    };
    let poster = thread::spawn(move || {
        for number in 0..3 {
            channel.post(Note(number)).expect("open");
        }
    });
    let first = {
        let (bus, handled) = (bus.clone(), Arc::clone(&handled));
        thread::spawn(move || {
            listen(&bus, &handled).run_pending();
        })
    };
    first.join().expect("no panic");

    let second = listen(&bus, &handled);
    second.run_pending();
    poster.join().expect("no panic");
    second.run_pending();

    let mailbox = &bus.stats().mailboxes[0];
    assert_eq!(mailbox.handled, handled.load(Ordering::SeqCst));
    assert_eq!(
        mailbox.accepted,
        mailbox.handled + mailbox.dropped,
        "{mailbox:?}"
    );
    assert_eq!(mailbox.depth, 0);
}

/// The deadline of a shutdown passes while a change is being handled: a worker that sleeps ends all
/// the same.
pub(super) fn a_late_shutdown_ends_a_sleeping_worker() {
    let (bus, _) = bus(1, 2);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let own = bus.clone();
    let (ready, started) = shuttle::sync::mpsc::channel();
    let worker = thread::spawn(move || {
        let worker = own.attach_worker(0).expect("free");
        ready.send(()).expect("the model waits");
        block_on(worker.run());
    });
    started.recv().expect("the worker starts");

    let ending = bus.clone();
    bus.register(
        move |_: &CrudEvent<Consumer>| {
            // From inside the handler: the sequencer is not idle, and the deadline has come.
            let _report = block_on(ending.shutdown(Duration::ZERO));
        },
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();

    let cause = Cause {
        number: 1,
        origin: Origin::Local,
    };
    let change = CrudEvent::created(Consumer { id: String::new() });
    drop(consumers.enqueue(change, cause).dispatch());
    worker.join().expect("no panic");
}
