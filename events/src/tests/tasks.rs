//! Async handlers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{Cause, CrudEvent, clock::ManualClock};
use tokio::sync::Semaphore;

use super::{Consumer, Journal, Note, bus, cause, consumer, notes};
use crate::{AsyncOptions, Handled, Received, RegisterError, WorkerEvents};

#[test]
fn without_a_runtime_an_async_handler_is_refused() {
    let bus = bus(0);
    bus.declare::<Note>("jobs", "done").expect("free");
    let refused = bus
        .on("jobs", "done")
        .register_async(|_: Received<Note>| async {}, AsyncOptions::new());
    assert!(matches!(refused, Err(RegisterError::NoRuntime { .. })));
}

#[tokio::test]
async fn concurrency_is_bounded_and_events_of_one_key_stay_in_order() {
    let bus = bus(0);
    let channel = notes(&bus);
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let journal = Journal::<u64>::new();
    let (now, peak, heard) = (Arc::clone(&running), Arc::clone(&most), journal.clone());
    bus.on("jobs", "done")
        .register_async(
            move |note: Received<Note>| {
                let (now, peak, heard) = (Arc::clone(&now), Arc::clone(&peak), heard.clone());
                async move {
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    for _ in 0..note.0 % 7 {
                        tokio::task::yield_now().await;
                    }
                    heard.write(note.0);
                    now.fetch_sub(1, Ordering::SeqCst);
                }
            },
            AsyncOptions::new()
                .concurrency(3)
                .ordered_by(|note: &Note| note.0 % 5),
        )
        .expect("in a runtime")
        .keep();
    let mut last = None;
    for number in 0..200 {
        last = channel.post_async(Note(number), Duration::ZERO).await.ok();
    }
    let report = bus.shutdown(Duration::from_secs(60)).await;
    assert!(report.drained, "{report:?}");
    assert!(last.is_some_and(|delivery| delivery.is_complete()));
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let handled = journal.read();
    assert_eq!(handled.len(), 200);
    for key in 0..5 {
        let own: Vec<_> = handled.iter().filter(|number| *number % 5 == key).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[tokio::test]
async fn a_delivery_waits_for_async_handlers_and_counts_those_that_are_late() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let gate = Arc::new(Semaphore::new(0));
    let journal = Journal::<Option<Cause>>::new();
    let (opened, heard) = (Arc::clone(&gate), journal.clone());
    bus.on("crud", "consumers")
        .register_async(
            move |_: Received<CrudEvent<Consumer>>| {
                let (opened, heard) = (Arc::clone(&opened), heard.clone());
                async move {
                    let permit = opened.acquire().await;
                    heard.write(Cause::current());
                    drop(permit);
                }
            },
            AsyncOptions::new(),
        )
        .expect("in a runtime")
        .keep();
    let enqueue = |number| consumers.enqueue(CrudEvent::created(consumer("1")), cause(number));
    let first = enqueue(1).dispatch();
    let late = async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(1));
    };
    let first = first.handled_within(Duration::from_secs(1));
    let ((handled, again), ()) = tokio::join!(first, late);
    let Handled::Late(late) = handled else {
        panic!("{handled:?}")
    };
    assert_eq!((late.inline, late.workers.len(), late.tasks), (false, 0, 1));
    let second = enqueue(2).dispatch();
    gate.add_permits(1);
    for delivery in [again.expect("it was late"), second] {
        let handled = delivery.handled_within(Duration::from_secs(1)).await;
        assert!(
            matches!(handled, (Handled::Everywhere, None)),
            "{handled:?}"
        );
    }
    assert_eq!(journal.read(), [Some(cause(1)), Some(cause(2))]);
}

// WE8
#[tokio::test]
async fn an_async_handler_that_panics_or_fails_is_counted_and_goes_on() {
    let bus = bus(0);
    let channel = notes(&bus);
    bus.on("jobs", "done")
        .register_async(
            |note: Received<Note>| async move {
                match note.0 {
                    0 => panic!("on purpose"),
                    1 => Err("on purpose"),
                    _ => Ok(()),
                }
            },
            AsyncOptions::new(),
        )
        .expect("in a runtime")
        .keep();
    for number in 0..3 {
        let delivery = channel
            .post_async(Note(number), Duration::ZERO)
            .await
            .expect("open");
        assert!(
            delivery
                .handled(Duration::from_secs(60))
                .await
                .is_complete()
        );
    }
    let handler = &bus.stats().handlers[0];
    assert_eq!((handler.panics, handler.errors), (1, 1));
}

#[tokio::test]
async fn a_dropped_registration_begins_no_call_and_leaves_nobody_waiting() {
    let bus = bus(0);
    let channel = notes(&bus);
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    let guard = bus
        .on("jobs", "done")
        .register_async(
            move |note: Received<Note>| {
                heard.write(note.0);
                async {}
            },
            AsyncOptions::new(),
        )
        .expect("in a runtime");
    let delivery = channel
        .post_async(Note(1), Duration::ZERO)
        .await
        .expect("open");
    drop(guard); // before the task had a turn
    assert_eq!(
        delivery.handled(Duration::from_secs(60)).await,
        Handled::Everywhere
    );
    channel.post(Note(2)).expect("open");
    let report = bus.shutdown(Duration::from_secs(60)).await;
    assert!(report.drained, "{report:?}");
    assert!(journal.read().is_empty());
}

// WE7
#[tokio::test]
async fn an_async_handler_vanishes_with_its_owner() {
    let bus = bus(0);
    let channel = notes(&bus);
    let owner = Arc::new(());
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    bus.on("jobs", "done")
        .owned_by(&owner)
        .register_async(
            move |note: Received<Note>| {
                heard.write(note.0);
                async {}
            },
            AsyncOptions::new(),
        )
        .expect("in a runtime")
        .keep();
    let first = channel
        .post_async(Note(1), Duration::ZERO)
        .await
        .expect("open");
    assert!(first.handled(Duration::from_secs(60)).await.is_complete());
    drop(owner);
    let second = channel
        .post_async(Note(2), Duration::ZERO)
        .await
        .expect("open");
    assert!(second.handled(Duration::from_secs(60)).await.is_complete());
    assert_eq!(journal.read(), [1]);
}
