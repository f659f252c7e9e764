//! How things end: early, late, from the middle, or with the runtime that they were on.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tidings_core::{CrudEvent, clock::ManualClock};

use super::{Consumer, Hanging, Journal, Note, bus, cause, consumer, notes, queues, within};
use crate::{
    AsyncOptions, Handled, Lifecycle, Received, SubscribeOptions, TryRecvError, WorkerEvents,
};

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn timed_bus(workers: usize) -> (WorkerEvents, ManualClock) {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .workers(workers)
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    (bus, clock)
}

/// A handler of changes hangs, so the sequencer is never idle; workers must not wait for it.
#[test]
fn a_shutdown_ends_workers_though_a_handler_of_changes_hangs() {
    let (bus, clock) = timed_bus(1);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let handler = Hanging::register(&bus);
    let own = bus.clone();
    let (ready, started) = mpsc::channel();
    let worker = thread::spawn(move || {
        let worker = own.attach_worker(0).expect("free");
        ready.send(()).expect("the test waits");
        crate::thread::park::block_on(worker.run());
    });
    let writer = thread::spawn(move || {
        let ticket = consumers.enqueue(CrudEvent::created(consumer("1")), cause(1));
        drop(ticket.dispatch());
    });
    handler.entered();
    started.recv().expect("the worker runs");

    let mut shutdown = pin!(bus.shutdown(Duration::from_millis(50)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(shutdown.as_mut().poll(&mut context).is_pending());
    clock.advance(Duration::from_millis(50));
    let Poll::Ready(report) = shutdown.as_mut().poll(&mut context) else {
        panic!("the deadline has come");
    };
    assert!(!report.drained, "{report:?}");

    within(move || worker.join().expect("no panic"));
    drop(handler);
    writer.join().expect("no panic");
}

#[test]
fn a_shutdown_that_is_dropped_early_ends_the_queues_all_the_same() {
    let (bus, _clock) = timed_bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
    let mut queue = bus
        .subscribe::<Note>("jobs", "done", SubscribeOptions::new())
        .expect("declared");
    let mut turns = bus.lifecycle();
    channel.post(Note(1)).expect("open");

    assert!(poll(bus.shutdown(Duration::from_secs(60))).is_pending());

    assert!(queue.try_recv().is_ok(), "what was accepted is received");
    assert_eq!(queue.try_recv().err(), Some(TryRecvError::Closed));
    let ended = (0..100).any(|_| poll(worker.run()).is_ready()); // it lets other tasks run in between
    assert!(ended, "the worker ends");
    assert_eq!(bus.stats().mailboxes[0].handled, 1);
    let mut closed = false;
    while let Poll::Ready(Some(turn)) = poll(turns.recv()) {
        closed |= turn.into_result() == Ok(Lifecycle::Closed);
    }
    assert!(closed);
}

/// Events behind a busy key, and one that was just taken, belong to a registration that has ended.
#[tokio::test]
async fn no_call_begins_behind_a_busy_key_once_the_registration_was_dropped() {
    let bus = bus(0);
    let channel = notes(&bus);
    let calls = Arc::new(AtomicU64::new(0));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (counted, wait) = (Arc::clone(&calls), Arc::clone(&gate));
    let guard = bus
        .on("jobs", "done")
        .register_async(
            move |_: Received<Note>| {
                counted.fetch_add(1, Ordering::SeqCst);
                let wait = Arc::clone(&wait);
                async move { wait.acquire().await.expect("open").forget() }
            },
            AsyncOptions::new().concurrency(2).ordered_by(|_: &Note| 0),
        )
        .expect("in a runtime");
    for number in 0..3 {
        channel.post(Note(number)).expect("open");
    }
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await; // the others are taken and kept behind the first

    drop(guard);
    gate.add_permits(10);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn receivers_end_when_the_last_handle_of_the_bus_is_dropped() {
    let bus = bus(0);
    let channel = notes(&bus);
    let (mut log, mut own, mut plain) = queues(&bus);
    let mut feed = bus.feed(8).expect("in range");
    let mut turns = bus.lifecycle();
    channel.post(Note(1)).expect("open");
    assert_eq!(channel.receiver_count(), 4);

    drop(bus);
    channel
        .post(Note(2))
        .expect("a channel's handle keeps it open");
    drop(channel);

    for _ in 0..2 {
        assert!(log.try_recv().is_ok() && own.try_recv().is_ok() && plain.try_recv().is_ok());
        assert!(matches!(poll(feed.recv()), Poll::Ready(Some(_))));
    }
    assert_eq!(log.try_recv().err(), Some(TryRecvError::Closed));
    assert_eq!(own.try_recv().err(), Some(TryRecvError::Closed));
    assert_eq!(plain.try_recv().err(), Some(TryRecvError::Closed));
    assert!(matches!(poll(feed.recv()), Poll::Ready(None)));
    assert!(matches!(poll(turns.recv()), Poll::Ready(None)));
}

#[tokio::test]
async fn an_async_handler_is_freed_when_the_last_handle_of_the_bus_is_dropped() {
    let bus = bus(0);
    let channel = notes(&bus);
    let captured = Arc::new(());
    let held: Weak<()> = Arc::downgrade(&captured);
    bus.on("jobs", "done")
        .register_async(
            move |_: Received<Note>| {
                let _captured = &captured;
                async {}
            },
            AsyncOptions::new(),
        )
        .expect("in a runtime")
        .keep();
    channel.post(Note(1)).expect("open");
    tokio::task::yield_now().await;
    drop((bus, channel));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(held.upgrade().is_none());
}

#[test]
fn an_async_handler_whose_runtime_ended_is_no_longer_listed_and_its_events_are_counted() {
    let (bus, _clock) = timed_bus(0);
    let channel = notes(&bus);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("no driver is asked for");
    let inside = runtime.enter();
    bus.on("jobs", "done")
        .register_async(|_: Received<Note>| async {}, AsyncOptions::new())
        .expect("in a runtime")
        .keep();
    drop(inside);
    let delivery = poll(channel.post_async(Note(1), Duration::ZERO));
    let Poll::Ready(Ok(delivery)) = delivery else {
        panic!("posting does not wait");
    };

    drop(runtime);

    assert!(bus.stats().handlers.is_empty());
    assert_eq!(bus.stats().dropped, 1, "the event that waited is lost");
    let handled = poll(delivery.handled(Duration::from_secs(1)));
    assert_eq!(handled, Poll::Ready(Handled::Missed(1)));
    channel.post(Note(2)).expect("open");
    assert!(bus.stats().channels[0].subscribers.is_empty());
}

#[test]
fn a_place_can_be_taken_again_after_its_thread_died() {
    let bus = bus(1);
    let channel = notes(&bus);
    let own = bus.clone();
    let posting = channel.clone();
    let died = thread::spawn(move || {
        let worker = own.attach_worker(0).expect("free");
        worker
            .register(|_: &Note| (), "jobs", "done")
            .expect("declared")
            .keep();
        posting.post(Note(1)).expect("open");
        panic!("on purpose");
    });
    assert!(died.join().is_err());
    assert_eq!(bus.stats().mailboxes[0].dropped, 1);

    let worker = bus.attach_worker(0).expect("free again");
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    worker
        .register(move |note: &Note| heard.write(note.0), "jobs", "done")
        .expect("declared")
        .keep();
    channel.post(Note(2)).expect("open");
    assert_eq!(worker.run_pending(), 1);
    assert_eq!(journal.read(), [2]);
    let stats = &bus.stats().mailboxes[0];
    assert!(stats.attached && !stats.closed);
    assert_eq!((stats.depth, stats.handled, stats.dropped), (0, 1, 1));
}

#[test]
fn what_a_dead_worker_dropped_takes_no_room_from_the_next() {
    let bus = WorkerEvents::builder()
        .workers(1)
        .mailbox_capacity(2)
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let listen = |worker: &crate::LocalWorkerEvents| {
        worker
            .register(|_: &Note| (), "jobs", "done")
            .expect("declared")
            .keep();
    };
    let first = bus.attach_worker(0).expect("free");
    listen(&first);
    for number in 0..2 {
        channel.post(Note(number)).expect("open");
    }
    drop(first);

    let second = bus.attach_worker(0).expect("free again");
    listen(&second);
    for number in 0..2 {
        channel.post(Note(number)).expect("open");
    }
    assert_eq!(second.run_pending(), 2);
    assert_eq!(bus.stats().mailboxes[0].missed, 0);
}

/// A caller that waits for an event learns that a worker dropped it: at a shutdown, or with its
/// place.
#[test]
fn what_a_worker_dropped_was_not_handled_everywhere() {
    let end = |end: fn(&WorkerEvents, crate::LocalWorkerEvents)| {
        let (bus, _clock) = timed_bus(1);
        let channel = notes(&bus);
        let worker = bus.attach_worker(0).expect("free");
        worker
            .register(|_: &Note| (), "jobs", "done")
            .expect("declared")
            .keep();
        let Poll::Ready(Ok(delivery)) = poll(channel.post_async(Note(1), Duration::ZERO)) else {
            panic!("posting does not wait");
        };
        end(&bus, worker);
        poll(delivery.handled(Duration::from_secs(1)))
    };
    let by_shutdown = end(|bus, worker| {
        assert_eq!(bus.shutdown_blocking(Duration::ZERO).dropped, 1);
        drop(worker);
    });
    assert_eq!(by_shutdown, Poll::Ready(Handled::Missed(1)));
    let by_leaving = end(|_, worker| drop(worker));
    assert_eq!(by_leaving, Poll::Ready(Handled::Missed(1)));
}

#[test]
fn a_watchdog_ends_with_the_last_handle_and_takes_turns_whatever_its_limit() {
    within(|| {
        let (bus, clock) = timed_bus(0);
        let channel = notes(&bus);
        // It keeps what it has received last, and with it the channel.
        let mut reader = bus
            .subscribe::<Note>("jobs", "done", SubscribeOptions::new())
            .expect("declared");
        bus.register(|_: &Note| (), "jobs", "done")
            .expect("declared")
            .keep();
        channel.post(Note(1)).expect("open");
        assert!(reader.try_recv().is_ok());

        let mut watching = pin!(bus.watchdog(Duration::ZERO).watch());
        let mut context = Context::from_waker(Waker::noop());
        assert!(watching.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(watching.as_mut().poll(&mut context).is_pending());
        drop((bus, channel));
        clock.advance(Duration::from_secs(1));
        assert!(watching.as_mut().poll(&mut context).is_ready());
    });
}

#[test]
fn run_pending_comes_back_while_others_post() {
    within(|| {
        let (bus, _clock) = timed_bus(1);
        let channel = notes(&bus);
        let (ask, asked) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let posting = channel.clone();
        thread::spawn(move || {
            while asked.recv().is_ok() {
                posting.post(Note(2)).expect("open");
                if tell.send(()).is_err() {
                    return;
                }
            }
        });
        let worker = bus.attach_worker(0).expect("free");
        worker
            .register(
                move |_: &Note| {
                    ask.send(()).expect("the other thread posts");
                    told.recv().expect("it has posted");
                },
                "jobs",
                "done",
            )
            .expect("declared")
            .keep();
        channel.post(Note(1)).expect("open");
        assert!(worker.run_pending() >= 1);
    });
}
