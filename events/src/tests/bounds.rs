//! Bounds that hold, and counts that are right at the time when they matter.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tidings_core::CrudEvent;

use super::{Consumer, Hanging, Note, bus, cause, consumer, notes, queues};
use crate::{
    AsyncOptions, DynamicEvent, Handled, Heard, Overflow, Received, Refusal, SubscribeOptions,
    WorkerEvents,
};

#[test]
fn the_counts_show_a_stuck_reader_while_it_is_stuck() {
    let bus = bus(0);
    let channel = notes(&bus);
    let options = SubscribeOptions::new().capacity(16);
    let mut stuck = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    let mut last = 0;
    for number in 0..1000 {
        channel.post(Note(number)).expect("open");
        if number < 5 {
            assert!(stuck.try_recv().is_ok());
        }
        let counts = &bus.stats().channels[0].subscribers[0];
        assert!(counts.missed >= last, "it never goes back");
        last = counts.missed;
    }
    let counts = bus.stats().channels[0].subscribers[0].clone();
    assert_eq!(
        (counts.posted, counts.missed, counts.depth),
        (1000, 979, 16)
    );

    assert!(stuck.try_recv().is_ok(), "the gap");
    assert_eq!(bus.stats().channels[0].subscribers[0].missed, 979);
}

#[test]
fn posts_of_changes_behind_a_slow_drain_are_bounded() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let handler = Hanging::register(&bus);
    let options = SubscribeOptions::new().capacity(100_000);
    let queue = bus.subscribe::<CrudEvent<Consumer>>("crud", "consumers", options);
    let mut queue = queue.expect("declared");
    let posting = consumers.clone();
    let slow = thread::spawn(move || {
        drop(posting.channel().post(CrudEvent::created(consumer("0"))));
    });
    handler.entered();

    let mut posted = 0;
    let refused = loop {
        match consumers.channel().post(CrudEvent::created(consumer("1"))) {
            Ok(()) => posted += 1,
            Err(error) => break error.refusal,
        }
        assert!(posted <= 70_000, "no bound");
    };
    assert_eq!(refused, Refusal::TooManyPending { limit: 65_536 });

    // A change that has been made cannot be refused: it is lost, counted, and its caller knows.
    let ticket = consumers.enqueue(CrudEvent::created(consumer("2")), cause(1));
    let delivery = ticket.dispatch();
    assert_eq!(bus.stats().sequencer.depth, 65_536);
    drop(handler);
    slow.join().expect("no panic");
    let handled = crate::thread::park::block_on(delivery.handled(Duration::from_secs(60)));
    assert!(matches!(handled, Handled::Refused(_)), "{handled:?}");
    assert_eq!(bus.stats().dropped, 1);

    // A receiver finds a gap in its place.
    let heard = std::iter::from_fn(|| queue.try_recv().ok());
    let gaps: Vec<_> = heard
        .filter_map(|heard| heard.into_result().err())
        .collect();
    assert_eq!(gaps.iter().map(|gap| gap.missed).collect::<Vec<_>>(), [1]);
}

#[test]
fn events_that_never_came_are_a_gap_in_their_place_for_every_kind_of_queue() {
    let bus = bus(0);
    let channel = notes(&bus);
    let (mut log, mut own, mut plain) = queues(&bus);

    channel.post(Note(1)).expect("open");
    channel.miss();
    channel.post(Note(2)).expect("open");

    let expected = [Ok(1), Err(1), Ok(2)];
    let outcome = |heard: Heard<Received<Note>>| match heard.into_result() {
        Ok(note) => Ok(note.0),
        Err(gap) => Err(gap.missed),
    };
    for expected in expected {
        assert_eq!(log.try_recv().map(outcome), Ok(expected));
        assert_eq!(own.try_recv().map(outcome), Ok(expected));
        assert_eq!(plain.try_recv().map(outcome), Ok(expected));
    }
}

/// Those that wait for an event wait for its handlers, not for queues that anyone may read.
#[tokio::test]
async fn an_event_that_only_a_receivers_queue_missed_is_handled_everywhere() {
    let bus = bus(0);
    let channel = notes(&bus);
    let options = SubscribeOptions::new()
        .capacity(1)
        .overflow(Overflow::DropNewest);
    let own = bus.subscribe::<Note>("jobs", "done", options.clone());
    let own = own.expect("declared");
    let plain = bus.subscribe_blocking::<Note>("jobs", "done", options);
    let plain = plain.expect("declared");

    for number in 0..3 {
        let posted = channel.post_async(Note(number), Duration::ZERO).await;
        let delivery = posted.expect("it drops the newest");
        let handled = delivery.handled(Duration::from_secs(60)).await;
        assert_eq!(handled, Handled::Everywhere);
    }
    let counts = &bus.stats().channels[0].subscribers;
    let missed: Vec<_> = counts.iter().map(|counts| counts.missed).collect();
    assert_eq!(missed, [2, 2]);
    drop((own, plain));
}

#[tokio::test]
async fn an_event_that_an_async_handler_missed_is_not_handled_everywhere() {
    let bus = bus(0);
    let channel = notes(&bus);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let wait = Arc::clone(&gate);
    bus.on("jobs", "done")
        .register_async(
            move |_: Received<Note>| {
                let wait = Arc::clone(&wait);
                async move { wait.acquire().await.expect("open").forget() }
            },
            AsyncOptions::new().capacity(1),
        )
        .expect("in a runtime")
        .keep();
    let post = async |number| {
        let posted = channel.post_async(Note(number), Duration::ZERO).await;
        posted.expect("it drops the newest")
    };
    let first = post(1).await;
    let second = post(2).await;
    gate.add_permits(10);
    let deadline = Duration::from_secs(60);
    assert_eq!(second.handled(deadline).await, Handled::Missed(1));
    assert_eq!(first.handled(deadline).await, Handled::Everywhere);
}

/// Trails number the channels of one bus; a handler may post to another.
#[test]
fn a_cycle_over_two_buses_ends_in_an_error_that_names_it() {
    let (one, two) = (bus(0), bus(0));
    let far = one.declare::<Note>("here", "there").expect("free");
    for number in 0..5 {
        let name = format!("unused {number}");
        two.declare::<Note>("fill", &name).expect("free");
    }
    let back = two.declare::<Note>("there", "here").expect("free");
    let (seen, refusals) = mpsc::channel();
    let (there, tell) = (back.clone(), seen.clone());
    one.register(
        move |note: &Note| {
            if let Err(error) = there.post(note.clone()) {
                tell.send(error.refusal).expect("the test waits");
            }
        },
        "here",
        "there",
    )
    .expect("declared")
    .keep();
    let here = far.clone();
    two.register(
        move |note: &Note| {
            if let Err(error) = here.post(note.clone()) {
                seen.send(error.refusal).expect("the test waits");
            }
        },
        "there",
        "here",
    )
    .expect("declared")
    .keep();

    far.post(Note(1)).expect("open");
    let Ok(Refusal::TooDeep { cycle, .. }) = refusals.try_recv() else {
        panic!("the cycle is cut off");
    };
    let named: std::collections::BTreeSet<_> = cycle.iter().map(String::as_str).collect();
    assert_eq!(
        named.into_iter().collect::<Vec<_>>(),
        ["here/there", "there/here"]
    );
    assert_eq!(bus_panics(&one) + bus_panics(&two), 0);
}

fn bus_panics(bus: &WorkerEvents) -> u64 {
    bus.stats()
        .handlers
        .iter()
        .map(|handler| handler.panics)
        .sum()
}

/// Posts come in a fixed pattern; the calls that are timed must not fall on one place of it.
#[test]
fn no_period_of_posts_hides_a_call_from_the_samples() {
    let bus = bus(0);
    let (slow, fast) = (
        bus.declare::<Note>("jobs", "slow").expect("free"),
        notes(&bus),
    );
    let parity = Arc::new(std::sync::Mutex::new([0_u64; 256]));
    let _ = (&slow, &parity);
    let mut places = std::collections::BTreeSet::new();
    bus.register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
    let mut sampled = 0;
    for number in 0..20_000_u64 {
        fast.post(Note(number)).expect("open");
        let calls = bus.stats().handlers[0].sampled_calls;
        if calls > sampled {
            sampled = calls;
            places.insert(number % 256);
        }
    }
    assert!(places.len() > 10, "always at {places:?}");
    assert!((20..400).contains(&sampled), "about one in 256: {sampled}");
}

/// A reader that always has something to read lets its runtime's other tasks run.
#[tokio::test]
async fn a_listener_that_always_has_mail_lets_other_tasks_run() {
    let bus = bus(0);
    let channel = notes(&bus);
    let mut queue = bus
        .subscribe::<Note>("jobs", "done", SubscribeOptions::new())
        .expect("declared");
    let (other, ran) = tokio::sync::oneshot::channel();
    let busy = tokio::spawn(async move {
        let mut ran = ran;
        for number in 0..100_000 {
            channel.post(Note(number)).expect("open");
            assert!(queue.recv().await.is_some());
            if ran.try_recv().is_ok() {
                return true;
            }
        }
        false
    });
    tokio::spawn(async move { other.send(()) });
    assert!(busy.await.expect("no panic"), "the other task never ran");
}

#[test]
fn a_pattern_that_matches_no_channel_ever_is_refused() {
    let bus = bus(0);
    notes(&bus);
    for (source, event) in [
        ("conf*", "*"),
        ("", "*"),
        ("*", "done"),
        ("jobs", "do*"),
        ("a*", "b"),
    ] {
        let refused = bus.register_dynamic(|_: &DynamicEvent<'_>| (), source, event);
        assert!(refused.is_err(), "({source:?}, {event:?})");
    }
    let later = bus.register_dynamic(|_: &DynamicEvent<'_>| (), "later", "*");
    assert!(
        later.is_ok(),
        "a source whose channels may be declared later"
    );
}
