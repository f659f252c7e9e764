//! Models of the bus: the production source under shuttle's schedulers, few threads, small
//! capacities.
//!
//! A model is a claim that must hold in every schedule. The last test breaks one step of the source
//! at a time and demands that the model which rests on it fails. Shuttle's atomics are sequentially
//! consistent, so a model finds a wrong order of steps and not a wrong `Ordering`.

mod ends;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use shuttle::{
    Config, FailurePersistence, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use tidings_core::{Cause, CrudEvent, Entity, Origin, clock::ManualClock};

use self::ends::{
    a_late_shutdown_ends_a_sleeping_worker, a_place_is_taken_again_while_others_post,
    a_sleeping_worker_is_woken_and_the_end_counts, the_last_handle_ends_a_reader_of_its_own_queue,
    the_last_handle_ends_a_reader_of_the_log,
};
use crate::{
    Channel, Overflow, SubscribeOptions, WorkerEvents,
    faults::{self, Step},
};

#[derive(Clone, Debug, Serialize)]
struct Note(u64);

#[derive(Entity, Clone, Debug, Serialize, serde::Deserialize)]
#[entity(name = "consumers")]
struct Consumer {
    #[entity(primary_key)]
    id: String,
}

/// Schedules of each model under each of the two schedulers; the environment may ask for more.
fn budget() -> usize {
    let asked = std::env::var("TIDINGS_SCHEDULES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(3_000)
}

/// Schedules within which a broken step must be found.
const FAULT_BUDGET: usize = 20_000;

fn bus(workers: usize, mailbox: usize) -> (WorkerEvents, Channel<Note>) {
    let bus = WorkerEvents::builder()
        .workers(workers)
        .mailbox_capacity(mailbox)
        .clock(Arc::new(ManualClock::new()))
        .build()
        .expect("in range");
    let channel = bus.declare("jobs", "done").expect("free");
    (bus, channel)
}

/// A handler receives every post that begins after its registration, and none that begins after its
/// guard is dropped.
fn registrations_are_seen_by_later_posts() {
    let (bus, channel) = bus(0, 1);
    let posting = channel.clone();
    let other = thread::spawn(move || {
        for _ in 0..2 {
            posting.post(Note(0)).expect("open");
        }
    });
    let calls = Arc::new(AtomicU64::new(0));
    let alive = Arc::new(AtomicBool::new(true));
    let (counted, seen) = (Arc::clone(&calls), Arc::clone(&alive));
    let guard = bus
        .register(
            move |note: &Note| {
                if note.0 == 1 {
                    assert!(
                        seen.load(Ordering::SeqCst),
                        "called by a post after the guard went"
                    );
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            },
            "jobs",
            "done",
        )
        .expect("declared");

    channel.post(Note(1)).expect("open");
    assert_eq!(
        calls.load(Ordering::SeqCst),
        1,
        "not called by a post after register"
    );
    drop(guard);
    alive.store(false, Ordering::SeqCst);
    channel.post(Note(1)).expect("open");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    other.join().expect("no panic");
}

/// Two posters, two workers with room for two: one order, and nothing lost in silence.
fn workers_see_one_order_and_count_what_they_miss() {
    let (bus, channel) = bus(2, 2);
    let seen: Vec<_> = (0..2).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
    let workers: Vec<_> = (0..2)
        .map(|index| {
            let worker = bus.attach_worker(index).expect("free");
            let (heard, missed) = (Arc::clone(&seen[index]), Arc::clone(&seen[index]));
            worker
                .register(move |note: &Note| push(&heard, (note.0, 0)), "jobs", "done")
                .expect("declared")
                .keep();
            worker.on_gap(move |gap| push(&missed, (u64::MAX, gap.missed)));
            worker
        })
        .collect();
    let posters: Vec<_> = (0..2)
        .map(|poster| {
            let channel = channel.clone();
            thread::spawn(move || {
                for number in 0..2 {
                    channel.post(Note(10 * poster + number)).expect("open");
                }
            })
        })
        .collect();

    // One worker reads in between, so that its mailbox has room again and again.
    workers[0].run_pending();
    workers[0].run_pending();
    for poster in posters {
        poster.join().expect("no panic");
    }

    let mut orders = Vec::new();
    for (worker, seen) in workers.iter().zip(&seen) {
        worker.run_pending();
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missed: u64 = seen.iter().map(|(_, missed)| missed).sum();
        let received: Vec<_> = seen.iter().filter(|(_, missed)| *missed == 0).collect();
        assert_eq!(
            received.len() as u64 + missed,
            4,
            "received and missed make posted"
        );
        orders.push(
            received
                .into_iter()
                .map(|(number, _)| *number)
                .collect::<Vec<_>>(),
        );
    }

    let common = |one: &[u64], other: &[u64]| -> Vec<u64> {
        one.iter()
            .copied()
            .filter(|number| other.contains(number))
            .collect()
    };
    assert_eq!(
        common(&orders[0], &orders[1]),
        common(&orders[1], &orders[0])
    );
}

fn push(list: &Mutex<Vec<(u64, u64)>>, entry: (u64, u64)) {
    list.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(entry);
}

/// Two writers: every change is dispatched, one at a time, in the order of enqueue, and both
/// writers learn that it was handled.
fn changes_are_dispatched_in_order_and_none_is_left() {
    let (bus, _) = bus(0, 1);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let inside = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicU64::new(0));
    let (busy, latest) = (Arc::clone(&inside), Arc::clone(&last));
    bus.register(
        move |_: &CrudEvent<Consumer>| {
            assert!(!busy.swap(true, Ordering::SeqCst), "one at a time");
            let number = Cause::current().map_or(0, |cause| cause.number);
            thread::yield_now();
            assert!(latest.swap(number, Ordering::SeqCst) < number, "in order");
            busy.store(false, Ordering::SeqCst);
        },
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();

    // The store's writer: the number and the place are taken together.
    let writer = Arc::new(shuttle::sync::Mutex::new(0));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (consumers, writer) = (consumers.clone(), Arc::clone(&writer));
            thread::spawn(move || {
                let ticket = {
                    let mut number = writer.lock().expect("no panic");
                    *number += 1;
                    let cause = Cause {
                        number: *number,
                        origin: Origin::Local,
                    };
                    let change = CrudEvent::created(Consumer { id: String::new() });
                    consumers.enqueue(change, cause)
                };
                let handled = block_on(ticket.dispatch().handled(Duration::from_secs(1)));
                assert!(handled.is_complete());
            })
        })
        .collect();
    for writer in writers {
        writer.join().expect("no panic");
    }

    assert_eq!(last.load(Ordering::SeqCst), 2);
}

/// A reader that sleeps is woken, and gets each event or a gap in its place.
fn a_reader_gets_or_misses_every_event(overflow: Overflow) {
    let (bus, channel) = bus(0, 1);
    let options = SubscribeOptions::new().capacity(2).overflow(overflow);
    let mut reader = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    let poster = thread::spawn(move || {
        for number in 0..4 {
            channel.post(Note(number)).expect("open");
        }
    });
    let mut place = 0;
    while place < 4 {
        match block_on(reader.recv())
            .expect("the bus is open")
            .into_result()
        {
            Ok(note) => {
                assert_eq!(note.0, place, "in its place");
                place += 1;
            }
            Err(gap) => place += gap.missed,
        }
    }

    poster.join().expect("no panic");
}

fn a_reader_of_the_log_gets_or_misses_every_event() {
    a_reader_gets_or_misses_every_event(Overflow::DropOldest);
}

fn a_reader_of_its_own_queue_gets_or_misses_every_event() {
    a_reader_gets_or_misses_every_event(Overflow::DropNewest);
}

/// A poster that waits for room gets it, and no event is lost or seen twice.
fn a_poster_waits_for_room() {
    let (bus, channel) = bus(0, 1);
    let options = SubscribeOptions::new().capacity(1).overflow(Overflow::Wait);
    let mut reader = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    let poster = thread::spawn(move || {
        for number in 0..3 {
            let posted = block_on(channel.post_async(Note(number), Duration::from_secs(1)));
            assert!(posted.is_ok(), "the clock does not move, so there is time");
        }
    });

    for number in 0..3 {
        let heard = block_on(reader.recv()).and_then(|heard| heard.into_result().ok());
        assert_eq!(heard.map(|note| note.0), Some(number));
    }

    poster.join().expect("no panic");
}

/// Posts write right into the log while a reader is the only listener. A handler that registers
/// still receives later posts, and the reader gets every event once.
fn a_lone_log_is_left_for_company() {
    let (bus, channel) = bus(0, 1);
    let options = SubscribeOptions::new().capacity(16);
    let mut reader = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    let posting = channel.clone();
    let other = thread::spawn(move || {
        for _ in 0..2 {
            posting.post(Note(0)).expect("open");
        }
    });
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let guard = bus
        .register(
            move |note: &Note| {
                counted.fetch_add(note.0, Ordering::SeqCst);
            },
            "jobs",
            "done",
        )
        .expect("declared");

    channel.post(Note(1)).expect("open");
    assert_eq!(calls.load(Ordering::SeqCst), 1, "heard after register");
    drop(guard);
    channel.post(Note(1)).expect("open");
    assert_eq!(
        calls.load(Ordering::SeqCst),
        1,
        "not heard after the guard went"
    );
    other.join().expect("no panic");

    let mut received = 0;
    while let Ok(heard) = reader.try_recv() {
        assert!(heard.into_result().is_ok(), "there is room for all");
        received += 1;
    }

    assert_eq!(received, 4);
    assert_eq!(bus.stats().channels[0].posted, 4);
}

/// Two posters, and a feed of all events: each channel's events come in their order, and none is
/// left behind.
fn the_live_feed_gets_every_event_in_order() {
    let (bus, channel) = bus(0, 1);
    let mut feed = bus.feed(16).expect("in range");
    let posters: Vec<_> = (0..2)
        .map(|poster| {
            let channel = channel.clone();
            thread::spawn(move || {
                for number in 0..2 {
                    channel.post(Note(10 * poster + number)).expect("open");
                }
            })
        })
        .collect();
    for poster in posters {
        poster.join().expect("no panic");
    }

    let mut last = [None; 2];
    for _ in 0..4 {
        let next = block_on(feed.recv()).expect("the bus is open");
        let event = next.into_result().expect("there is room for all");
        let number = event
            .read(|event| event.entity().as_u64())
            .expect("a number");
        let last = &mut last[usize::from(number >= 10)];
        assert!(*last < Some(number), "in its poster's order");
        *last = Some(number);
    }

    drop((bus, channel));
    assert!(block_on(feed.recv()).is_none());
}

type Model = (&'static str, fn());

const MODELS: [Model; 13] = [
    (
        "registrations_are_seen_by_later_posts",
        registrations_are_seen_by_later_posts,
    ),
    (
        "workers_see_one_order_and_count_what_they_miss",
        workers_see_one_order_and_count_what_they_miss,
    ),
    (
        "a_sleeping_worker_is_woken_and_the_end_counts",
        a_sleeping_worker_is_woken_and_the_end_counts,
    ),
    (
        "changes_are_dispatched_in_order_and_none_is_left",
        changes_are_dispatched_in_order_and_none_is_left,
    ),
    (
        "a_reader_of_the_log_gets_or_misses_every_event",
        a_reader_of_the_log_gets_or_misses_every_event,
    ),
    (
        "a_reader_of_its_own_queue_gets_or_misses_every_event",
        a_reader_of_its_own_queue_gets_or_misses_every_event,
    ),
    ("a_poster_waits_for_room", a_poster_waits_for_room),
    (
        "a_lone_log_is_left_for_company",
        a_lone_log_is_left_for_company,
    ),
    (
        "the_live_feed_gets_every_event_in_order",
        the_live_feed_gets_every_event_in_order,
    ),
    (
        "the_last_handle_ends_a_reader_of_the_log",
        the_last_handle_ends_a_reader_of_the_log,
    ),
    (
        "the_last_handle_ends_a_reader_of_its_own_queue",
        the_last_handle_ends_a_reader_of_its_own_queue,
    ),
    (
        "a_place_is_taken_again_while_others_post",
        a_place_is_taken_again_while_others_post,
    ),
    (
        "a_late_shutdown_ends_a_sleeping_worker",
        a_late_shutdown_ends_a_sleeping_worker,
    ),
];

fn config() -> Config {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config
}

fn check(model: fn(), schedules: usize) {
    Runner::new(
        RandomScheduler::new_from_seed(0x71D1_1165, schedules),
        config(),
    )
    .run(model);
    Runner::new(
        PctScheduler::new_from_seed(0x71D1_1165, 3, schedules),
        config(),
    )
    .run(model);
}

/// One test, because a removed step is removed for all models of the process.
#[test]
fn models_hold_and_each_removed_step_is_noticed() {
    for (name, model) in MODELS {
        check(model, budget());
        println!("{name}: {} schedules", 2 * budget());
    }

    let removed = [
        (Step::RouteFollowsMark, 0),
        (Step::RegistrationIsAnnounced, 0),
        (Step::BusyShardIsMarked, 0),
        (Step::PostsAreOrdered, 1),
        (Step::GapIsReported, 1),
        (Step::SleepHoldsLock, 2),
        (Step::ClosedRefuses, 2),
        (Step::OneDrainer, 3),
        (Step::DrainEndsUnderLock, 3),
        (Step::SleepHoldsLock, 3),
        (Step::GapIsReported, 4),
        (Step::SleepHoldsLock, 4),
        (Step::SleepHoldsLock, 5),
        (Step::RoomIsCheckedAgain, 6),
        (Step::LogAsksForCompany, 7),
        (Step::FeedEndsUnderLock, 8),
        (Step::LastHandleEndsQueues, 9),
        (Step::LastHandleEndsQueues, 10),
        (Step::EndWakesWorkers, 2),
        (Step::EndWakesWorkers, 12),
    ];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));

    let unnoticed: Vec<_> = removed
        .into_iter()
        .filter(|(step, model)| {
            faults::remove(Some(*step));
            let run = catch_unwind(AssertUnwindSafe(|| check(MODELS[*model].1, FAULT_BUDGET)));
            faults::remove(None);

            let noticed = run.is_err();
            println!(
                "{step:?} in {}: {}",
                MODELS[*model].0,
                if noticed { "noticed" } else { "NOT NOTICED" }
            );
            !noticed
        })
        .collect();
    std::panic::set_hook(hook);
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
