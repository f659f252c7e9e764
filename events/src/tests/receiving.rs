//! What a queue delivers: a wake-up for a sleeping reader, and events that name their channel.

use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use tidings_core::{CrudEvent, Operation};

use super::{Consumer, Note, bus, cause, consumer, notes};
use crate::{Overflow, SubscribeOptions, Subscriber};

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn everybody_who_sleeps_is_woken_once_by_a_post_or_a_batch_or_the_end() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Error] {
        let bus = bus(0);
        let channel = notes(&bus);
        let mut sleepers: Vec<_> = (0..2)
            .map(|_| {
                let queue = bus.subscribe::<Note>(
                    "jobs",
                    "done",
                    SubscribeOptions::new().capacity(8).overflow(overflow),
                );
                (queue.expect("declared"), Arc::new(Bell::default()))
            })
            .collect();
        let sleep = |sleepers: &mut Vec<(Subscriber<Note>, Arc<Bell>)>| {
            for (queue, bell) in sleepers {
                let waker = Waker::from(Arc::clone(bell));
                let mut context = Context::from_waker(&waker);
                while queue.poll_recv(&mut context).is_ready() {}
            }
        };
        let rung = |sleepers: &[(Subscriber<Note>, Arc<Bell>)]| -> Vec<_> {
            let bells = sleepers.iter().map(|(_, bell)| bell);
            bells.map(|bell| bell.0.load(Ordering::SeqCst)).collect()
        };
        sleep(&mut sleepers);
        // The first by the route, the others right into the log where there is one.
        for round in 1..=3 {
            channel.post(Note(1)).expect("room");
            channel.post(Note(2)).expect("room");
            assert_eq!(rung(&sleepers), [round, round], "{overflow:?}");
            sleep(&mut sleepers);
        }
        channel
            .post_batch(vec![Note(1), Note(2), Note(3)])
            .expect("room");
        assert_eq!(rung(&sleepers), [4, 4], "{overflow:?}");
        sleep(&mut sleepers);
        // A reader that leaves takes no other along.
        drop(sleepers.remove(0));
        channel.post(Note(1)).expect("room");
        assert_eq!(rung(&sleepers), [5], "{overflow:?}");
        sleep(&mut sleepers);
        let mut context = Context::from_waker(Waker::noop());
        let end = pin!(bus.shutdown(Duration::ZERO)).poll(&mut context);
        assert!(end.is_ready());
        assert_eq!(rung(&sleepers), [6], "{overflow:?}");
    }
}

/// In a place of the log, and shared with others.
#[test]
fn a_received_event_tells_its_channel_and_reads_as_json() {
    let bus = bus(0);
    let channel = notes(&bus);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let options = SubscribeOptions::new();
    let mut notes = bus
        .subscribe::<Note>("jobs", "done", options.clone())
        .expect("declared");
    let mut changes = bus
        .subscribe::<CrudEvent<Consumer>>("crud", "consumers", options)
        .expect("declared");
    for number in [1, 2] {
        channel.post(Note(number)).expect("open");
        let note = notes
            .try_recv()
            .expect("one")
            .into_result()
            .expect("no gap");
        let copy = note.clone();
        assert_eq!((copy.source(), copy.event()), ("jobs", "done"));
        assert_eq!((copy.operation(), copy.cause()), (None, None));
        assert!(copy.span().is_none());
        let json = copy.read_dynamic(|event| event.payload().expect("serializes").clone());
        assert_eq!((json, copy.0), (number.into(), number));
    }
    drop(consumers.enqueue(CrudEvent::updated(consumer("1"), consumer("2")), cause(7)));
    let change = changes
        .try_recv()
        .expect("one")
        .into_result()
        .expect("no gap");
    assert_eq!((change.source(), change.event()), ("crud", "consumers"));
    assert_eq!(change.operation(), Some(Operation::Update));
    assert_eq!(change.cause(), Some(cause(7)));
    change.read_dynamic(|event| {
        assert_eq!((event.source(), event.event()), ("crud", "consumers"));
        assert_eq!(event.old_entity()["id"], "1");
        assert_eq!(event.entity()["id"], "2");
    });
}

fn numbers(queue: &mut Subscriber<Note>) -> Vec<String> {
    std::iter::from_fn(|| queue.try_recv().ok())
        .map(|heard| match heard.into_result() {
            Ok(note) => note.0.to_string(),
            Err(gap) => format!("gap {}", gap.missed),
        })
        .collect()
}

fn range(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// At the beginning, the middle and the end of what the log holds together.
#[test]
fn a_reader_may_come_and_go_at_any_time() {
    let bus = bus(0);
    let channel = notes(&bus);
    let subscribe = || {
        let queue = bus.subscribe::<Note>("jobs", "done", SubscribeOptions::new());
        queue.expect("declared")
    };
    for posts in [1, 5, 31, 32, 33, 64, 100] {
        let post = |numbers: std::ops::Range<u64>| {
            for number in numbers {
                channel.post(Note(number)).expect("open");
            }
        };
        let mut first = subscribe();
        post(0..posts);
        let mut second = subscribe();
        post(posts..200);
        assert_eq!(numbers(&mut first), range(0..200));
        drop(first);
        post(200..200 + posts);
        assert_eq!(numbers(&mut second), range(posts..200 + posts));
        drop(second);
        post(0..posts);
    }
}

#[test]
fn a_full_queue_counts_what_it_turns_away() {
    let bus = bus(0);
    let channel = notes(&bus);
    let options = SubscribeOptions::new()
        .capacity(2)
        .overflow(Overflow::DropNewest);
    let mut queue = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    for number in 0..5 {
        channel.post(Note(number)).expect("open");
    }
    let stats = &bus.stats().channels[0].subscribers[0];
    assert_eq!((stats.posted, stats.missed, stats.depth), (5, 3, 2));
    assert_eq!(numbers(&mut queue), ["0", "1", "gap 3"]);
}

#[test]
fn a_reader_that_falls_behind_finds_the_gap_wherever_it_stands() {
    let bus = bus(0);
    let channel = notes(&bus);
    for (read, posted) in [
        (1, 9),
        (0, 9),
        (1, 31),
        (1, 32),
        (30, 40),
        (31, 80),
        (5, 300),
    ] {
        let options = SubscribeOptions::new().capacity(4);
        let mut reader = bus
            .subscribe::<Note>("jobs", "done", options)
            .expect("declared");
        for number in 0..read {
            channel.post(Note(number)).expect("open");
            assert_eq!(numbers(&mut reader), range(number..number + 1));
        }
        for number in read..posted {
            channel.post(Note(number)).expect("open");
        }
        let mut expected = vec![format!("gap {}", posted - read - 4)];
        expected.extend(range(posted - 4..posted));
        assert_eq!(numbers(&mut reader), expected);
        let stats = &bus.stats().channels[0].subscribers[0];
        assert_eq!((stats.posted, stats.missed), (posted, posted - read - 4));
    }
}
