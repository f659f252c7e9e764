//! Queues that refuse a post when they are full, and the places that they keep for posts on their
//! way.

use std::sync::{Arc, Mutex};

use tidings_core::CrudEvent;

use super::{Consumer, Note, bus, cause, consumer, notes};
use crate::{
    BlockingSubscriber, Heard, Overflow, Received, Refusal, SubscribeOptions, Subscriber,
    TryRecvError, WorkerEvents,
};

/// Both kinds of strict queue behind one face.
enum Queue {
    Task(Subscriber<Note>),
    Thread(BlockingSubscriber<Note>),
}

impl Queue {
    fn new(bus: &WorkerEvents, blocking: bool, capacity: usize) -> Self {
        let options = SubscribeOptions::new()
            .capacity(capacity)
            .overflow(Overflow::Error);
        if blocking {
            let queue = bus.subscribe_blocking("jobs", "done", options);
            Self::Thread(queue.expect("declared"))
        } else {
            let queue = bus.subscribe("jobs", "done", options);
            Self::Task(queue.expect("declared"))
        }
    }

    fn drain(&mut self) -> Vec<String> {
        let mut next = || -> Result<Heard<Received<Note>>, TryRecvError> {
            match self {
                Self::Task(queue) => queue.try_recv(),
                Self::Thread(queue) => queue.try_recv(),
            }
        };
        std::iter::from_fn(|| next().ok())
            .map(|heard| match heard.into_result() {
                Ok(note) => note.0.to_string(),
                Err(gap) => format!("gap {}", gap.missed),
            })
            .collect()
    }
}

/// Runs `body` inside a handler.
fn inside_a_handler(bus: &WorkerEvents, body: impl FnOnce() + Send + 'static) {
    let start = bus.declare::<Note>("jobs", "start").expect("free");
    let body = Mutex::new(Some(body));
    let handler = move |_: &Note| {
        let body = body.lock().expect("no panic").take();
        body.expect("posted once")();
    };
    bus.register(handler, "jobs", "start")
        .expect("declared")
        .keep();
    start.post(Note(0)).expect("open");
    assert_eq!(bus.stats().handlers[0].panics, 0);
}

#[test]
fn a_post_that_was_put_aside_has_its_place_and_the_next_is_refused() {
    for blocking in [false, true] {
        let bus = bus(0);
        let channel = notes(&bus);
        let mut queue = Queue::new(&bus, blocking, 1);
        inside_a_handler(&bus, move || {
            channel.post(Note(1)).expect("room for one");
            let refused = channel.post(Note(2)).expect_err("its place is kept");
            assert!(matches!(refused.refusal, Refusal::Full { .. }));
        });
        assert_eq!(queue.drain(), ["1"]);
    }
}

#[test]
fn a_place_that_is_kept_is_not_taken_by_another_event() {
    for blocking in [false, true] {
        let bus = bus(0);
        let channel = notes(&bus);
        let joined = Arc::new(Mutex::new(None));
        let (made, on) = (Arc::clone(&joined), bus.clone());
        inside_a_handler(&bus, move || {
            channel.post(Note(1)).expect("open");
            // It has kept no place for the first, and keeps its only one for the second.
            *made.lock().expect("no panic") = Some(Queue::new(&on, blocking, 1));
            channel.post(Note(2)).expect("room for one");
        });
        let mut queue = joined.lock().expect("no panic").take().expect("made");
        assert_eq!(queue.drain(), ["gap 1", "2"]);
    }
}

#[test]
fn a_refused_post_gives_back_the_places_that_others_kept_for_it() {
    for blocking in [false, true] {
        let bus = bus(0);
        let channel = notes(&bus);
        let mut roomy = Queue::new(&bus, blocking, 2);
        let mut tight = Queue::new(&bus, blocking, 1);
        channel.post(Note(1)).expect("room for one");
        for _ in 0..3 {
            assert!(channel.post(Note(9)).is_err());
        }
        assert_eq!(tight.drain(), ["1"]);
        channel.post(Note(2)).expect("room again");
        assert_eq!(
            (roomy.drain(), tight.drain()),
            (vec!["1".into(), "2".into()], vec!["2".to_owned()])
        );
    }
}

#[test]
fn a_blocking_queue_for_one_operation_hears_that_alone() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let mut deletes = bus
        .subscribe_blocking::<CrudEvent<Consumer>>(
            "crud",
            "consumers:delete",
            SubscribeOptions::new(),
        )
        .expect("declared");
    drop(consumers.enqueue(CrudEvent::created(consumer("1")), cause(1)));
    drop(consumers.enqueue(CrudEvent::deleted(consumer("1")), cause(2)));
    let heard = deletes
        .try_recv()
        .expect("one")
        .into_result()
        .expect("no gap");
    assert_eq!(heard.cause(), Some(cause(2)));
    assert_eq!(
        deletes.try_recv().expect_err("no more"),
        TryRecvError::Empty
    );
}

#[test]
fn what_a_newer_event_replaces_is_dropped_by_the_post() {
    #[derive(serde::Serialize)]
    struct Held(#[serde(skip)] Arc<()>);
    let bus = bus(0);
    let channel = bus.declare::<Held>("jobs", "held").expect("free");
    let options = SubscribeOptions::new().capacity(1);
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let queue = bus
            .subscribe_blocking::<Held>("jobs", "held", options.clone().overflow(overflow))
            .expect("declared");
        let held = Arc::new(());
        for _ in 0..5 {
            assert!(channel.post(Held(Arc::clone(&held))).is_ok());
        }
        assert_eq!(Arc::strong_count(&held), 2, "this one's and the queue's");
        drop(queue);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
