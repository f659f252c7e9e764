//! Handlers on workers: order, gaps, life and death of a worker.

use std::{
    cell::{Cell, RefCell},
    future::Future as _,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use futures_util::FutureExt as _;
use tidings_core::{Cause, CrudEvent};

use super::{Consumer, Journal, Note, bus, cause, consumer, notes};
use crate::{AttachError, DynamicEvent, Handled, SubscribeOptions, Subscriber, WorkerEvents};

#[test]
fn a_place_is_taken_once_and_only_if_it_exists() {
    let bus = bus(1);
    let _worker = bus.attach_worker(0).expect("free");
    assert_eq!(
        bus.attach_worker(0).expect_err("taken"),
        AttachError::Taken { index: 0 }
    );
    assert_eq!(
        bus.attach_worker(1).expect_err("no such"),
        AttachError::NoSuchWorker {
            index: 1,
            workers: 1
        }
    );
}

// WE2
#[test]
fn all_workers_hear_a_post_the_posters_own_too() {
    let bus = bus(3);
    let channel = notes(&bus);
    let journal = Journal::<String>::new();
    let workers: Vec<_> = (0..3)
        .map(|index| {
            let worker = bus.attach_worker(index).expect("free");
            let heard = journal.clone();
            worker
                .register(
                    move |note: &Note| heard.write(format!("{index} {}", note.0)),
                    "jobs",
                    "done",
                )
                .expect("declared")
                .keep();
            worker
        })
        .collect();
    channel.post(Note(7)).expect("open");
    assert!(
        journal.read().is_empty(),
        "a worker's handler runs in its own loop"
    );
    for worker in &workers {
        assert_eq!(worker.run_pending(), 1);
    }
    assert_eq!(journal.read(), ["0 7", "1 7", "2 7"]);
}

// WE3
#[test]
fn every_worker_handles_concurrent_posts_in_one_order_and_each_posters_in_its_own() {
    const POSTS: u64 = 500;
    let bus = bus(2);
    let channel = notes(&bus);
    let seen: Vec<_> = (0..2)
        .map(|index| {
            let worker = bus.attach_worker(index).expect("free");
            let seen = Rc::new(RefCell::new(Vec::new()));
            let heard = Rc::clone(&seen);
            worker
                .register(
                    move |note: &Note| heard.borrow_mut().push(note.0),
                    "jobs",
                    "done",
                )
                .expect("declared")
                .keep();
            (worker, seen)
        })
        .collect();
    thread::scope(|scope| {
        for poster in 0..2 {
            let channel = &channel;
            scope.spawn(move || {
                for number in 0..POSTS {
                    channel.post(Note(poster * POSTS + number)).expect("open");
                }
            });
        }
    });
    for (worker, _) in &seen {
        assert_eq!(worker.run_pending(), 2 * POSTS as usize);
    }
    let [first, second] = [seen[0].1.borrow(), seen[1].1.borrow()];
    assert_eq!(*first, *second);
    for poster in 0..2 {
        let own: Vec<_> = first.iter().filter(|n| *n / POSTS == poster).collect();
        assert!(own.is_sorted());
    }
}

#[test]
fn a_workers_handlers_may_be_bound_to_its_thread_and_are_removed_by_their_guard() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    let sum = Rc::new(Cell::new(0));
    let own = Rc::clone(&sum);
    let guard = worker
        .register(
            move |note: &Note| own.set(own.get() + note.0),
            "jobs",
            "done",
        )
        .expect("declared");
    channel.post(Note(3)).expect("open");
    worker.run_pending();
    channel.post(Note(4)).expect("open");
    drop(guard);
    worker.run_pending();
    channel.post(Note(5)).expect("open");
    assert_eq!(worker.run_pending(), 0, "no one listens here any more");
    assert_eq!(sum.get(), 3);
    assert_eq!(Rc::strong_count(&sum), 1);
}

#[test]
fn a_workers_handler_may_drop_its_own_guard() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    let guard = Rc::new(RefCell::new(None));
    let calls = Rc::new(Cell::new(0));
    let (own, counted) = (Rc::clone(&guard), Rc::clone(&calls));
    let registration = worker
        .register(
            move |_: &Note| {
                counted.set(counted.get() + 1);
                own.borrow_mut().take();
            },
            "jobs",
            "done",
        )
        .expect("declared");
    *guard.borrow_mut() = Some(registration);
    for number in 0..2 {
        channel.post(Note(number)).expect("open");
    }
    worker.run_pending();
    assert_eq!(calls.get(), 1);
}

// WE7
#[test]
fn a_workers_handler_vanishes_with_its_owner() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    let owner = Rc::new(());
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    worker
        .on("jobs", "done")
        .owned_by(&owner)
        .register(move |_: &Note| counted.set(counted.get() + 1))
        .expect("declared")
        .keep();
    channel.post(Note(1)).expect("open");
    worker.run_pending();
    drop(owner);
    channel.post(Note(2)).expect("open");
    worker.run_pending();
    assert_eq!(calls.get(), 1);
    assert!(bus.stats().handlers.is_empty());
}

#[test]
fn a_worker_is_sent_only_the_operations_that_it_listens_to() {
    let bus = bus(2);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let (narrow, wide) = (
        bus.attach_worker(0).expect("free"),
        bus.attach_worker(1).expect("free"),
    );
    for (worker, event) in [(&narrow, "consumers:update"), (&wide, "consumers")] {
        worker
            .register(|_: &CrudEvent<Consumer>| (), "crud", event)
            .expect("declared")
            .keep();
    }
    drop(consumers.enqueue(CrudEvent::created(consumer("1")), cause(1)));
    drop(consumers.enqueue(CrudEvent::updated(consumer("1"), consumer("1")), cause(2)));
    drop(consumers.enqueue(CrudEvent::deleted(consumer("1")), cause(3)));
    let accepted: Vec<_> = (bus.stats().mailboxes.iter())
        .map(|mailbox| mailbox.accepted)
        .collect();
    assert_eq!(accepted, [1, 3]);
    assert_eq!((narrow.run_pending(), wide.run_pending()), (1, 3));
}

/// The cause of a plain post goes with it to every thread that receives it.
#[test]
fn a_listener_of_a_post_handles_it_under_its_cause() {
    let bus = bus(1);
    let channel = notes(&bus);
    let mut alone = bus
        .subscribe::<Note>("jobs", "done", SubscribeOptions::new())
        .expect("declared");
    let cause = cause(7);
    let post = |number| {
        let _cause = cause.enter();
        channel.post(Note(number)).expect("open");
    };
    let causes = |queue: &mut Subscriber<Note>| -> Vec<_> {
        std::iter::from_fn(|| queue.try_recv().ok())
            .filter_map(|heard| heard.into_result().ok())
            .map(|note| (note.0, note.cause()))
            .collect()
    };
    // By the route, then right into the log.
    post(1);
    post(2);
    channel.post(Note(3)).expect("open");
    let heard = causes(&mut alone);
    assert_eq!(heard, [(1, Some(cause)), (2, Some(cause)), (3, None)]);
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<(u64, Option<Cause>)>::new();
    let seen = journal.clone();
    worker
        .register(
            move |note: &Note| seen.write((note.0, Cause::current())),
            "jobs",
            "done",
        )
        .expect("declared")
        .keep();
    post(4);
    channel.post(Note(5)).expect("open");
    worker.run_pending();
    assert_eq!(journal.read(), [(4, Some(cause)), (5, None)]);
    assert_eq!(causes(&mut alone), journal.read());
    assert_eq!(bus.stats().channels[0].posted, 5);
}

// WE8
#[test]
fn a_workers_handler_that_panics_or_fails_harms_nobody() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register(|_: &Note| -> () { panic!("on purpose") }, "jobs", "done")
        .expect("declared")
        .keep();
    worker
        .register(|_: &Note| Err::<(), _>("on purpose"), "jobs", "done")
        .expect("declared")
        .keep();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    worker
        .register_dynamic(
            move |_: &DynamicEvent| counted.set(counted.get() + 1),
            "*",
            "*",
        )
        .expect("wildcard")
        .keep();
    channel.post(Note(1)).expect("open");
    channel.post(Note(2)).expect("open");
    assert_eq!(worker.run_pending(), 2);
    assert_eq!(calls.get(), 2);
    let handlers = bus.stats().handlers;
    assert_eq!((handlers[0].panics, handlers[1].errors), (2, 2));
    assert_eq!(handlers[0].worker, Some(0));
}

// WE9
#[test]
fn a_worker_whose_mailbox_was_full_learns_of_the_gap_before_the_next_event() {
    let bus = WorkerEvents::builder()
        .workers(1)
        .mailbox_capacity(2)
        .build()
        .expect("in range");
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    worker
        .register(
            move |change: &CrudEvent<Consumer>| heard.write(change.entity.id.clone()),
            "crud",
            "consumers",
        )
        .expect("declared")
        .keep();
    let heard = journal.clone();
    worker
        .on_gap(move |gap| heard.write(format!("gap {}/{} {}", gap.source, gap.event, gap.missed)));
    let post = |id: &str| {
        consumers
            .enqueue(CrudEvent::created(consumer(id)), cause(1))
            .dispatch()
    };
    let _ = post("1");
    let _ = post("2");
    let missed = post("3");
    let _ = post("4");
    let handled = missed.handled(Duration::ZERO).now_or_never();
    assert_eq!(
        handled,
        Some(Handled::Missed(1)),
        "no one waits for a worker that missed it, nor is told that it heard"
    );
    worker.run_pending();
    assert_eq!(journal.take(), ["1", "2", "gap crud/consumers 2"]);
    for id in ["5", "6", "7"] {
        let _ = post(id);
    }
    assert_eq!(worker.run_pending(), 2);
    let _ = post("8");
    worker.run_pending();
    assert_eq!(journal.take(), ["5", "6", "gap crud/consumers 1", "8"]);
    let mailbox = &bus.stats().mailboxes[0];
    assert_eq!(
        (mailbox.accepted, mailbox.missed, mailbox.handled),
        (5, 3, 5)
    );
}

#[test]
fn a_gap_stands_between_what_came_before_and_after_it() {
    let bus = WorkerEvents::builder()
        .workers(1)
        .mailbox_capacity(1)
        .build()
        .expect("in range");
    let first = bus.declare::<Note>("jobs", "a").expect("free");
    let second = bus.declare::<Note>("jobs", "b").expect("free");
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    let poster = second.clone();
    worker
        .register(
            move |note: &Note| {
                heard.write(format!("a{}", note.0));
                if note.0 == 1 {
                    // This event still has the only place: these two are missed.
                    poster.post(Note(7)).expect("open");
                }
            },
            "jobs",
            "a",
        )
        .expect("declared")
        .keep();
    let heard = journal.clone();
    worker
        .register(
            move |note: &Note| heard.write(format!("b{}", note.0)),
            "jobs",
            "b",
        )
        .expect("declared")
        .keep();
    let heard = journal.clone();
    worker.on_gap(move |gap| heard.write(format!("gap {} {}", gap.event, gap.missed)));
    first.post(Note(1)).expect("open");
    second.post(Note(2)).expect("open");
    worker.run_pending();
    assert_eq!(journal.read(), ["a1", "gap b 1", "b7"]);
}

#[test]
fn a_worker_runs_under_the_cause_of_the_change() {
    let bus = bus(1);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let worker = bus.attach_worker(0).expect("free");
    let seen = Rc::new(Cell::new(None));
    let own = Rc::clone(&seen);
    worker
        .register(
            move |_: &CrudEvent<Consumer>| own.set(Cause::current()),
            "crud",
            "consumers",
        )
        .expect("declared")
        .keep();
    let _ = consumers
        .enqueue(CrudEvent::created(consumer("1")), cause(42))
        .dispatch();
    worker.run_pending();
    assert_eq!(seen.get(), Some(cause(42)));
    assert_eq!(Cause::current(), None);
}

#[test]
fn a_place_is_given_up_when_its_thread_ends_even_if_a_handler_holds_the_worker() {
    let bus = bus(1);
    let channel = notes(&bus);
    let held = Arc::new(());
    let captured = Arc::clone(&held);
    let ended = thread::scope(|scope| {
        scope
            .spawn(|| {
                let worker = bus.attach_worker(0).expect("free");
                let own = worker.clone();
                worker
                    .register(
                        move |_: &Note| {
                            let _ = (&own, &captured);
                        },
                        "jobs",
                        "done",
                    )
                    .expect("declared")
                    .keep();
                channel.post(Note(1)).expect("open");
                panic!("the worker dies with an event in its mailbox");
            })
            .join()
    });
    assert!(ended.is_err());
    let mailbox = &bus.stats().mailboxes[0];
    assert!(mailbox.closed);
    assert_eq!((mailbox.dropped, mailbox.depth), (1, 0));
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(bus.stats().handlers.is_empty());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let ended = std::pin::pin!(bus.shutdown(Duration::from_secs(60))).poll(&mut context);
    let std::task::Poll::Ready(report) = ended else {
        unreachable!("a shutdown does not wait for a worker that is gone");
    };
    assert_eq!((report.dropped, report.late.len()), (1, 0), "{report:?}");
}
