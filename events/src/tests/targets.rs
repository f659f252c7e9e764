//! Posts to one worker, batches, and workers that post to each other.

use std::{cell::Cell, rc::Rc, sync::Arc, thread, time::Duration};

use tidings_core::{CrudEvent, clock::ManualClock};

use super::{Consumer, Journal, Note, bus, consumer, notes};
use crate::{LocalWorkerEvents, Overflow, Refusal, SubscribeOptions, UniquePost, WorkerEvents};

fn workers(bus: &WorkerEvents, journal: &Journal<String>) -> Vec<LocalWorkerEvents> {
    (0..bus.workers())
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
        .collect()
}

// WE2
#[test]
fn a_post_to_the_current_worker_reaches_that_one_alone() {
    let bus = bus(2);
    let channel = notes(&bus);
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register(move |_: &Note| heard.write("inline"), "jobs", "done")
        .expect("declared")
        .keep();
    assert_eq!(
        channel
            .post_to_current(Note(0))
            .expect_err("no worker")
            .refusal,
        Refusal::NotAWorker
    );
    let first = thread::scope(|scope| {
        scope
            .spawn(|| {
                let worker = bus.attach_worker(1).expect("free");
                let heard = journal.clone();
                worker
                    .register(
                        move |note: &Note| heard.write(format!("1 {}", note.0)),
                        "jobs",
                        "done",
                    )
                    .expect("declared")
                    .keep();
                channel.post_to_current(Note(7)).expect("a worker");
                worker.run_pending()
            })
            .join()
    });
    assert_eq!(first.expect("no panic"), 1);
    assert_eq!(journal.read(), ["1 7"]);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let _worker = bus.attach_worker(0).expect("free");
    let refused = consumers
        .channel()
        .post_to_current(CrudEvent::created(consumer("1")))
        .expect_err("concerns all");
    assert_eq!(refused.refusal, Refusal::CrudTarget);
}

// WE5
#[test]
fn a_unique_post_runs_on_one_worker_and_once_within_its_window() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .workers(3)
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let journal = Journal::new();
    let workers = workers(&bus, &journal);
    let window = Duration::from_secs(10);
    let run = || {
        workers
            .iter()
            .map(LocalWorkerEvents::run_pending)
            .sum::<usize>()
    };
    let UniquePost::Posted { worker } = channel.post_unique(Note(1), "k", window).expect("workers")
    else {
        panic!("the key is free");
    };
    assert_eq!(
        channel.post_unique(Note(2), "k", window).expect("open"),
        UniquePost::Duplicate
    );
    assert_eq!(run(), 1);
    clock.advance(Duration::from_secs(9));
    assert_eq!(
        channel.post_unique(Note(3), "k", window).expect("open"),
        UniquePost::Duplicate
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        channel.post_unique(Note(4), "k", window).expect("open"),
        UniquePost::Posted { worker },
        "the same key goes to the same worker"
    );
    assert_eq!(run(), 1);
    assert_eq!(
        journal.read(),
        [format!("{worker} 1"), format!("{worker} 4")]
    );
}

#[test]
fn another_worker_takes_over_from_one_that_died() {
    let bus = bus(2);
    let channel = notes(&bus);
    let journal = Journal::new();
    let mut workers = workers(&bus, &journal);
    let UniquePost::Posted { worker } = channel
        .post_unique(Note(1), "k", Duration::from_secs(10))
        .expect("workers")
    else {
        panic!("the key is free");
    };
    let dead = workers.remove(worker);
    drop(dead);
    let survivor = workers.pop().expect("two minus one");
    assert_eq!(survivor.run_pending(), 1);
    assert_eq!(journal.read(), [format!("{} 1", survivor.worker())]);
    drop(survivor);
    let refused = channel
        .post_unique(Note(2), "other", Duration::from_secs(10))
        .expect_err("no one left");
    assert_eq!(
        (refused.payload, refused.refusal),
        (Note(2), Refusal::NoWorker)
    );
}

#[test]
fn a_unique_post_that_nobody_had_room_for_may_be_tried_again() {
    let bus = WorkerEvents::builder()
        .workers(1)
        .mailbox_capacity(1)
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let journal = Journal::new();
    let workers = workers(&bus, &journal);
    channel.post(Note(0)).expect("open");
    let window = Duration::from_secs(10);
    let refused = channel.post_unique(Note(1), "k", window).expect_err("full");
    assert!(matches!(refused.refusal, Refusal::Full { .. }));
    workers[0].run_pending();
    let posted = channel
        .post_unique(refused.payload, "k", window)
        .expect("room");
    assert_eq!(posted, UniquePost::Posted { worker: 0 });
    assert_eq!(workers[0].run_pending(), 1);
    assert_eq!(bus.stats().mailboxes[0].missed, 0, "a refusal is no gap");
}

#[test]
fn a_batch_is_heard_in_order_and_stops_where_it_is_refused() {
    let bus = bus(1);
    let channel = notes(&bus);
    let journal = Journal::new();
    let workers = workers(&bus, &journal);
    let inline = Journal::<u64>::new();
    let heard = inline.clone();
    bus.register(move |note: &Note| heard.write(note.0), "jobs", "done")
        .expect("declared")
        .keep();
    channel
        .post_batch((0..3).map(Note).collect())
        .expect("open");
    assert_eq!(inline.take(), [0, 1, 2]);
    workers[0].run_pending();
    assert_eq!(journal.take(), ["0 0", "0 1", "0 2"]);
    let _strict = bus
        .subscribe::<Note>(
            "jobs",
            "done",
            SubscribeOptions::new()
                .capacity(2)
                .overflow(Overflow::Error),
        )
        .expect("declared");
    let refused = channel
        .post_batch((0..4).map(Note).collect())
        .expect_err("full");
    assert_eq!(refused.payload, [Note(2), Note(3)]);
    assert_eq!(inline.take(), [0, 1]);
}

#[test]
fn two_workers_that_post_to_each_others_full_mailboxes_do_not_lock_up() {
    let bus = WorkerEvents::builder()
        .workers(2)
        .mailbox_capacity(1)
        .max_depth(50)
        .build()
        .expect("in range");
    let channels = ["a", "b"].map(|name| bus.declare::<Note>("jobs", name).expect("free"));
    let workers: Vec<_> = (0..2)
        .map(|index| {
            let worker = bus.attach_worker(index).expect("free");
            let other = channels[1 - index].clone();
            worker
                .register(
                    move |note: &Note| {
                        for _ in 0..3 {
                            // Refused once the two have gone too deep.
                            let _refused = other.post(Note(note.0 + 1));
                        }
                    },
                    "jobs",
                    ["a", "b"][index],
                )
                .expect("declared")
                .keep();
            worker
        })
        .collect();
    channels[0].post(Note(0)).expect("open");
    channels[1].post(Note(0)).expect("open");
    let idle = Rc::new(Cell::new(0));
    while idle.get() < 2 {
        let handled: usize = workers.iter().map(LocalWorkerEvents::run_pending).sum();
        idle.set(if handled == 0 { idle.get() + 1 } else { 0 });
    }
    for mailbox in bus.stats().mailboxes {
        assert_eq!((mailbox.depth, mailbox.accepted), (0, mailbox.handled));
        assert!(mailbox.missed > 0);
    }
}
