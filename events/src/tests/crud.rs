//! The order of changes.

use std::{
    sync::{Arc, Barrier, mpsc},
    thread,
    time::Duration,
};

use tidings_core::{CrudEvent, clock::ManualClock};

use super::{Acl, Consumer, Journal, bus, cause, consumer};
use crate::{Handled, WorkerEvents};

fn acl(id: &str) -> Acl {
    Acl { id: id.to_owned() }
}

#[test]
fn the_order_over_all_crud_channels_is_that_of_enqueue() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let acls = bus.declare_crud::<Acl>().expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register(
        move |change: &CrudEvent<Consumer>| heard.write(change.entity.id.clone()),
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    let heard = journal.clone();
    bus.register(
        move |change: &CrudEvent<Acl>| heard.write(change.entity.id.clone()),
        "crud",
        "acls",
    )
    .expect("declared")
    .keep();
    let first = consumers.enqueue(CrudEvent::created(consumer("1")), cause(1));
    let second = acls.enqueue(CrudEvent::created(acl("2")), cause(2));
    let third = consumers.enqueue(CrudEvent::deleted(consumer("3")), cause(3));
    assert!(journal.read().is_empty(), "enqueue runs no handler");
    let third = third.dispatch();
    assert_eq!(journal.read(), ["1", "2", "3"]);
    assert!(third.is_complete());
    assert!(second.dispatch().is_complete());
    assert!(first.dispatch().is_complete());
}

#[test]
fn a_dropped_ticket_is_dispatched() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register(
        move |change: &CrudEvent<Consumer>| heard.write(change.entity.id.clone()),
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    drop(consumers.enqueue(CrudEvent::created(consumer("1")), cause(1)));
    assert_eq!(journal.read(), ["1"]);
}

#[test]
fn a_second_writer_leaves_its_change_to_the_thread_that_dispatches() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let (inside, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (entered, left) = (Arc::clone(&inside), Arc::clone(&leave));
    let (send, heard) = mpsc::channel();
    bus.register(
        move |change: &CrudEvent<Consumer>| {
            if change.entity.id == "1" {
                entered.wait();
                left.wait();
            }
            let by = thread::current().id();
            send.send((change.entity.id.clone(), by))
                .expect("the test listens");
        },
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let ticket = consumers.enqueue(CrudEvent::created(consumer("1")), cause(1));
            ticket.dispatch().is_complete()
        });
        let drainer = first.thread().id();
        inside.wait();
        let second = consumers
            .enqueue(CrudEvent::created(consumer("2")), cause(2))
            .dispatch();
        assert!(
            !second.is_complete(),
            "dispatch returned while the other thread is in a handler"
        );
        leave.wait();
        assert!(first.join().expect("no panic"));
        assert!(second.is_complete());
        let order: Vec<_> = heard.try_iter().collect();
        assert_eq!(
            order,
            [("1".to_owned(), drainer), ("2".to_owned(), drainer)]
        );
    });
}

#[tokio::test]
async fn handled_ends_at_its_deadline_and_names_the_worker_that_did_not_answer() {
    let clock = ManualClock::new();
    let bus = WorkerEvents::builder()
        .workers(2)
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("in range");
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let workers = [0, 1].map(|index| {
        let worker = bus.attach_worker(index).expect("free");
        worker
            .register(|_: &CrudEvent<Consumer>| (), "crud", "consumers")
            .expect("declared")
            .keep();
        worker
    });
    let delivery = consumers
        .enqueue(CrudEvent::created(consumer("1")), cause(1))
        .dispatch();
    assert_eq!(workers[0].run_pending(), 1);
    let handled = delivery.handled(Duration::from_secs(5));
    let late = async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(5));
    };
    let (handled, ()) = tokio::join!(handled, late);
    let Handled::Late(late) = handled else {
        panic!("{handled:?}");
    };
    assert_eq!(
        (late.inline, &late.workers[..], late.tasks),
        (false, &[1][..], 0)
    );
}

#[tokio::test]
async fn handled_does_not_wait_for_a_worker_that_is_gone() {
    let bus = bus(2);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let workers = [0, 1].map(|index| {
        let worker = bus.attach_worker(index).expect("free");
        worker
            .register(|_: &CrudEvent<Consumer>| (), "crud", "consumers")
            .expect("declared")
            .keep();
        worker
    });
    let delivery = consumers
        .enqueue(CrudEvent::created(consumer("1")), cause(1))
        .dispatch();
    let [first, second] = workers;
    drop(second);
    first.run_pending();
    assert_eq!(
        delivery.handled(Duration::from_secs(60)).await,
        Handled::Missed(1)
    );
    let later = consumers
        .enqueue(CrudEvent::created(consumer("2")), cause(2))
        .dispatch();
    first.run_pending();
    assert!(later.is_complete());
    assert_eq!(bus.stats().mailboxes[1].dropped, 1);
}
