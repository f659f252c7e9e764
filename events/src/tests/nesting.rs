//! Posts from inside handlers.

use std::sync::Arc;

use tidings_core::{Cause, CrudEvent};

use super::{Consumer, Journal, Note, bus, cause, consumer};
use crate::{Handled, Heard, Overflow, Received, Refusal, SubscribeOptions, in_handler};

// WE12
#[test]
fn a_nested_post_runs_after_the_current_event_for_every_handler() {
    let bus = bus(0);
    let outer = bus.declare::<Note>("jobs", "outer").expect("free");
    let inner = bus.declare::<Note>("jobs", "inner").expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register(
        move |note: &Note| {
            assert!(in_handler());
            inner.post(Note(note.0 * 10)).expect("open");
            inner.post(Note(note.0 * 10 + 1)).expect("open");
            heard.write("first");
        },
        "jobs",
        "outer",
    )
    .expect("declared")
    .keep();
    let heard = journal.clone();
    bus.register(move |_: &Note| heard.write("second"), "jobs", "outer")
        .expect("declared")
        .keep();
    let heard = journal.clone();
    bus.register(
        move |note: &Note| heard.write(format!("inner {}", note.0)),
        "jobs",
        "inner",
    )
    .expect("declared")
    .keep();
    outer.post(Note(1)).expect("open");
    assert!(!in_handler());
    assert_eq!(journal.read(), ["first", "second", "inner 10", "inner 11"]);
}

// WE12
#[test]
fn a_cycle_ends_in_an_error_that_names_it() {
    let bus = bus(0);
    let ping = bus.declare::<Note>("jobs", "ping").expect("free");
    let pong = bus.declare::<Note>("jobs", "pong").expect("free");
    let refusals = Journal::<Refusal>::new();
    for (from, to) in [("ping", &pong), ("pong", &ping)] {
        let (to, refusals) = (to.clone(), refusals.clone());
        bus.register(
            move |note: &Note| {
                if let Err(error) = to.post(Note(note.0 + 1)) {
                    refusals.write(error.refusal);
                }
            },
            "jobs",
            from,
        )
        .expect("declared")
        .keep();
    }
    ping.post(Note(0)).expect("open");
    let cycle = ["jobs/ping", "jobs/pong", "jobs/ping"]
        .map(str::to_owned)
        .to_vec();
    let [
        Refusal::TooDeep {
            cycle: found,
            limit: 16,
        },
    ] = &refusals.read()[..]
    else {
        panic!("{:?}", refusals.read());
    };
    // The limit is even, so the post that is refused closes the cycle at either end.
    assert!(
        *found == cycle
            || found
                .iter()
                .rev()
                .eq(["jobs/pong", "jobs/ping", "jobs/pong"].iter())
    );
    assert_eq!(
        bus.stats().channels.iter().map(|c| c.posted).sum::<u64>(),
        17
    );
}

#[tokio::test]
async fn a_change_made_inside_a_handler_follows_the_current_one() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let journal = Journal::<String>::new();
    let (heard, nested) = (journal.clone(), consumers.clone());
    bus.register(
        move |change: &CrudEvent<Consumer>| {
            if change.entity.id == "a" {
                let delivery = nested
                    .enqueue(CrudEvent::created(consumer("b")), cause(2))
                    .dispatch();
                assert!(!delivery.is_complete());
            }
            let number = Cause::current().map(|cause| cause.number);
            heard.write(format!("{} {number:?}", change.entity.id));
        },
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    let heard = journal.clone();
    bus.register(
        move |change: &CrudEvent<Consumer>| heard.write(format!("{} again", change.entity.id)),
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    let delivery = consumers
        .enqueue(CrudEvent::created(consumer("a")), cause(1))
        .dispatch();
    assert_eq!(
        delivery.handled(std::time::Duration::ZERO).await,
        Handled::Everywhere
    );
    assert_eq!(
        journal.read(),
        ["a Some(1)", "a again", "b Some(2)", "b again"]
    );
    assert_eq!(Cause::current(), None);
}

#[tokio::test]
async fn changes_that_cause_each_other_without_end_are_cut_off_and_counted() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let deliveries = Journal::<Arc<std::sync::Mutex<Option<crate::Delivery>>>>::new();
    let (kept, nested) = (deliveries.clone(), consumers.clone());
    bus.register(
        move |_: &CrudEvent<Consumer>| {
            let ticket = nested.enqueue(CrudEvent::created(consumer("b")), cause(2));
            kept.write(Arc::new(std::sync::Mutex::new(Some(ticket.dispatch()))));
        },
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    let _ = consumers
        .enqueue(CrudEvent::created(consumer("a")), cause(1))
        .dispatch();
    let all = deliveries.take();
    assert_eq!(all.len(), 17);
    let last = all[16]
        .lock()
        .expect("no panic")
        .take()
        .expect("taken once");
    let handled = last.handled(std::time::Duration::ZERO).await;
    let Handled::Refused(Refusal::TooDeep { cycle, .. }) = handled else {
        panic!("{handled:?}");
    };
    assert_eq!(cycle, ["crud/consumers", "crud/consumers"]);
    assert_eq!(bus.stats().dropped, 1);
}

/// A change has been made even if its cycle is cut off: a worker or queue that would have received
/// it finds a gap in its place.
#[tokio::test]
async fn a_change_too_deep_in_a_cycle_is_a_gap_to_workers_and_queues() {
    let bus = bus(1);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let nested = consumers.clone();
    let cycle = bus.register(
        move |_: &CrudEvent<Consumer>| {
            drop(nested.enqueue(CrudEvent::created(consumer("b")), cause(2)));
        },
        "crud",
        "consumers",
    );
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<String>::new();
    let (heard, missed) = (journal.clone(), journal.clone());
    worker
        .register(
            move |change: &CrudEvent<Consumer>| heard.write(change.entity.id.clone()),
            "crud",
            "consumers",
        )
        .expect("declared")
        .keep();
    worker.on_gap(move |gap| missed.write(format!("gap {}", gap.missed)));
    let with = |overflow| SubscribeOptions::new().overflow(overflow);
    let subscribe = |event: &str, overflow| {
        bus.subscribe::<CrudEvent<Consumer>>("crud", event, with(overflow))
            .expect("declared")
    };
    let mut queues = [
        subscribe("consumers", Overflow::DropOldest),
        subscribe("consumers:create", Overflow::DropOldest),
        subscribe("consumers", Overflow::DropNewest),
    ];
    let mut untouched = subscribe("consumers:delete", Overflow::DropOldest);
    let mut blocking = bus
        .subscribe_blocking::<CrudEvent<Consumer>>("crud", "consumers", with(Overflow::Error))
        .expect("declared");
    let mut feed = bus.feed(64).expect("in range");
    drop(consumers.enqueue(CrudEvent::created(consumer("a")), cause(1)));
    drop(cycle);
    drop(consumers.enqueue(CrudEvent::created(consumer("c")), cause(3)));

    let mut expected = vec!["a".to_owned()];
    expected.extend(vec!["b".to_owned(); 16]);
    expected.extend(["gap 1".to_owned(), "c".to_owned()]);
    let show = |heard: Heard<Received<CrudEvent<Consumer>>>| match heard.into_result() {
        Ok(change) => change.entity.id.clone(),
        Err(gap) => format!("gap {}", gap.missed),
    };
    for queue in &mut queues {
        let all: Vec<_> = std::iter::from_fn(|| queue.try_recv().ok())
            .map(show)
            .collect();
        assert_eq!(all, expected);
    }
    assert!(untouched.try_recv().is_err());
    let all: Vec<_> = std::iter::from_fn(|| blocking.try_recv().ok())
        .map(show)
        .collect();
    assert_eq!(all, expected);
    worker.run_pending();
    assert_eq!(journal.read(), expected);
    for item in &expected {
        match feed.recv().await.expect("open").into_result() {
            Ok(_) => assert!(!item.starts_with("gap")),
            Err(gap) => assert_eq!((gap.missed, item.as_str()), (1, "gap 1")),
        }
    }
    let stats = bus.stats();
    assert_eq!(stats.mailboxes[0].missed, 1);
    let counts: Vec<_> = (stats.channels[0].subscribers.iter())
        .map(|subscriber| (subscriber.posted, subscriber.missed))
        .collect();
    // The queues in the order of subscribing, the fourth for deletes alone.
    assert_eq!(counts, [(19, 1), (19, 1), (19, 1), (0, 0), (19, 1)]);
}
