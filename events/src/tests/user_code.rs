//! User code that panics or calls back where it can: in `Drop`, `Display`, `Serialize`, key
//! functions, wakers.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use serde::Serialize;

use super::{Journal, Note, bus, caught, notes, within};
use crate::{AsyncOptions, Channel, Overflow, Received, SubscribeOptions, in_handler};

/// A payload whose `Drop` panics if it is armed.
#[derive(Serialize)]
struct Bomb {
    number: u64,
    #[serde(skip)]
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.armed, "on purpose, in drop");
    }
}

/// An error that panics where it is shown, or where it is dropped.
#[derive(Debug)]
enum BadError {
    Shown,
    Dropped,
}

impl fmt::Display for BadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shown => panic!("on purpose, in display"),
            Self::Dropped => f.write_str("fine so far"),
        }
    }
}

impl std::error::Error for BadError {}

impl Drop for BadError {
    fn drop(&mut self) {
        if let Self::Dropped = self {
            panic!("on purpose, in drop");
        }
    }
}

#[test]
fn nested_posts_go_on_after_a_payloads_drop_panicked() {
    let bus = bus(0);
    let outer = notes(&bus);
    let inner = bus.declare::<Bomb>("jobs", "nested").expect("free");
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    bus.register(
        move |bomb: &Bomb| heard.write(bomb.number),
        "jobs",
        "nested",
    )
    .expect("declared")
    .keep();
    bus.register(
        move |note: &Note| {
            let bomb = Bomb {
                number: note.0,
                armed: note.0 == 1,
            };
            assert!(inner.post(bomb).is_ok());
        },
        "jobs",
        "done",
    )
    .expect("declared")
    .keep();

    caught(|| drop(outer.post(Note(1))));
    outer.post(Note(2)).expect("open");
    assert_eq!(journal.read(), [1, 2]);
}

#[test]
fn a_workers_error_that_panics_leaves_the_thread_outside_of_handlers() {
    // Without a subscriber to traces no error is shown.
    for (bad, panics) in [(|| BadError::Shown) as fn() -> _, || BadError::Dropped]
        .into_iter()
        .zip([0, 2])
    {
        let bus = bus(1);
        let channel = notes(&bus);
        let worker = bus.attach_worker(0).expect("free");
        worker
            .register(move |_: &Note| Err::<(), _>(bad()), "jobs", "done")
            .expect("declared")
            .keep();
        let journal = Journal::<u64>::new();
        let heard = journal.clone();
        worker
            .register(move |note: &Note| heard.write(note.0), "jobs", "done")
            .expect("declared")
            .keep();

        channel.post(Note(1)).expect("open");
        channel.post(Note(2)).expect("open");
        caught(|| assert_eq!(worker.run_pending(), 2));
        assert!(!in_handler());
        assert_eq!(journal.read(), [1, 2]);
        let stats = bus.stats();
        assert_eq!(stats.mailboxes[0].handled, 2);
        let counts = &stats.handlers[0];
        assert_eq!((counts.errors, counts.panics), (2, panics));
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose, in a waker");
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_that_panics_leaves_no_one_asleep() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let bus = bus(0);
        let channel = notes(&bus);
        let subscribe = || {
            let options = SubscribeOptions::new().overflow(overflow);
            bus.subscribe::<Note>("jobs", "done", options)
                .expect("declared")
        };
        let (mut one, mut two, mut three) = (subscribe(), subscribe(), subscribe());
        let flags: Vec<_> = (0..2)
            .map(|_| Arc::new(Flag(AtomicBool::new(false))))
            .collect();
        let first = Waker::from(Arc::clone(&flags[0]));
        let bad = Waker::from(Arc::new(Panics));
        let last = Waker::from(Arc::clone(&flags[1]));
        for (queue, waker) in [(&mut one, &first), (&mut two, &bad), (&mut three, &last)] {
            assert!(
                queue
                    .poll_recv(&mut Context::from_waker(waker))
                    .is_pending()
            );
        }

        caught(|| drop(channel.post(Note(1))));
        for flag in &flags {
            assert!(flag.0.load(Ordering::SeqCst), "{overflow:?}");
        }
    }
}

/// A waker whose last drop calls a function.
struct Calls(Box<dyn Fn() + Send + Sync>);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Calls {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The waker that is replaced is the last reference to something whose `Drop` uses the bus.
#[test]
fn a_waker_is_not_dropped_under_a_lock_when_another_takes_its_place() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        within(move || {
            let bus = bus(0);
            let _channel = notes(&bus);
            let options = SubscribeOptions::new().overflow(overflow);
            let mut queue = bus
                .subscribe::<Note>("jobs", "done", options)
                .expect("declared");
            let asks = bus.clone();
            let first = Waker::from(Arc::new(Calls(Box::new(move || drop(asks.stats())))));
            assert!(
                queue
                    .poll_recv(&mut Context::from_waker(&first))
                    .is_pending()
            );
            drop(first);
            let second = Waker::noop();
            assert!(
                queue
                    .poll_recv(&mut Context::from_waker(second))
                    .is_pending()
            );
        });
    }
}

#[test]
fn a_listener_of_the_feed_is_not_woken_under_the_channels_order() {
    within(|| {
        struct Posts(Channel<Note>, AtomicBool);
        impl Wake for Posts {
            fn wake(self: Arc<Self>) {
                if !self.1.swap(true, Ordering::SeqCst) {
                    self.0.post(Note(2)).expect("open");
                }
            }
        }
        let bus = bus(0);
        let channel = notes(&bus);
        let mut feed = bus.feed(8).expect("in range");
        let posts = Arc::new(Posts(channel.clone(), AtomicBool::new(false)));
        let waker = Waker::from(posts);
        let mut listening = Box::pin(feed.recv());
        let mut context = Context::from_waker(&waker);
        assert!(listening.as_mut().poll(&mut context).is_pending());
        channel.post(Note(1)).expect("open");
        assert!(matches!(
            listening.as_mut().poll(&mut context),
            Poll::Ready(Some(_))
        ));
    });
}

#[tokio::test]
async fn a_key_function_that_panics_costs_its_event_and_no_other() {
    let bus = bus(0);
    let channel = notes(&bus);
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    let key = |note: &Note| {
        assert!(note.0 != 1, "on purpose, in a key function");
        note.0
    };
    bus.on("jobs", "done")
        .register_async(
            move |note: Received<Note>| {
                heard.write(note.0);
                async {}
            },
            AsyncOptions::new().ordered_by(key),
        )
        .expect("in a runtime")
        .keep();
    for number in 0..3 {
        channel.post(Note(number)).expect("open");
    }
    let report = bus.shutdown(Duration::from_secs(60)).await;
    assert!(report.drained, "{report:?}");
    assert_eq!(journal.read(), [0, 2]);
    assert_eq!(bus.stats().handlers[0].panics, 1);
}

/// A payload whose JSON form cannot be made: `Serialize` panics.
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("on purpose, in serialize");
    }
}

#[test]
fn a_payload_that_panics_where_it_is_serialized_costs_the_handler_that_asked() {
    let bus = bus(0);
    let channel = bus.declare::<Unspeakable>("jobs", "dumb").expect("free");
    let journal = Journal::<&str>::new();
    let heard = journal.clone();
    bus.register_dynamic(
        |event: &crate::DynamicEvent<'_>| {
            let _json = event.payload();
        },
        "*",
        "*",
    )
    .expect("a wildcard")
    .keep();
    bus.register(move |_: &Unspeakable| heard.write("typed"), "jobs", "dumb")
        .expect("declared")
        .keep();
    for _ in 0..2 {
        assert!(channel.post(Unspeakable).is_ok());
    }
    assert_eq!(journal.read(), ["typed", "typed"]);
    assert_eq!(bus.stats().handlers[0].panics, 2);
    assert!(!in_handler());
}

/// The captures of a handler use the bus, and panic, where they are dropped.
#[test]
fn a_capture_that_uses_the_bus_and_panics_in_drop_leaves_the_bus_as_it_should_be() {
    struct Captured(crate::WorkerEvents);
    impl Drop for Captured {
        fn drop(&mut self) {
            let _stats = self.0.stats();
            let _channel = notes(&self.0);
            panic!("on purpose, in drop");
        }
    }

    within(|| {
        let bus = bus(1);
        let channel = notes(&bus);
        let captured = || Captured(bus.clone());
        let (one, two, three) = (captured(), captured(), captured());
        let typed = bus
            .register(
                move |_: &Note| {
                    let _held = &one;
                },
                "jobs",
                "done",
            )
            .expect("declared");
        let dynamic = bus
            .register_dynamic(
                move |_: &crate::DynamicEvent<'_>| {
                    let _held = &two;
                },
                "*",
                "*",
            )
            .expect("a wildcard");
        let worker = bus.attach_worker(0).expect("free");
        let local = worker
            .register(
                move |_: &Note| {
                    let _held = &three;
                },
                "jobs",
                "done",
            )
            .expect("declared");
        channel.post(Note(1)).expect("open");
        assert_eq!(worker.run_pending(), 1);

        caught(|| drop(typed.and(dynamic)));
        caught(|| drop(local));
        assert!(bus.stats().handlers.is_empty());
        channel.post(Note(2)).expect("open");
        assert_eq!(worker.run_pending(), 0, "no one listens on it any more");
    });
}

/// Each handler's call has a span where debug spans are on; the program's subscriber may panic in
/// any of it.
#[test]
fn a_tracing_subscriber_that_panics_harms_neither_poster_nor_handlers() {
    struct Bad;
    impl tracing::Subscriber for Bad {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            panic!("on purpose, in a log line");
        }
        fn enter(&self, _: &tracing::span::Id) {
            panic!("on purpose, entering a span");
        }
        fn exit(&self, _: &tracing::span::Id) {}
    }

    let bus = bus(1);
    let channel = notes(&bus);
    let journal = Journal::<&str>::new();
    let (inline, local) = (journal.clone(), journal.clone());
    bus.register(
        move |_: &Note| {
            inline.write("inline");
            Err::<(), _>("on purpose")
        },
        "jobs",
        "done",
    )
    .expect("declared")
    .keep();
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register(
            move |_: &Note| {
                local.write("worker");
                assert!(local.read().is_empty(), "on purpose");
            },
            "jobs",
            "done",
        )
        .expect("declared")
        .keep();

    tracing::subscriber::with_default(Bad, || {
        for number in 0..2 {
            channel.post(Note(number)).expect("open");
            assert_eq!(worker.run_pending(), 1);
        }
    });
    assert!(!in_handler());
    assert_eq!(journal.read(), ["inline", "worker", "inline", "worker"]);
    let stats = bus.stats();
    assert_eq!((stats.handlers[0].errors, stats.handlers[1].panics), (2, 2));
    assert_eq!(stats.mailboxes[0].handled, 2);
}

/// What a worker's handlers captured is dropped while its thread is torn down, where a panic would
/// end the process.
#[test]
fn a_workers_thread_ends_though_its_handlers_captures_panic_in_drop() {
    struct Captured;
    impl Drop for Captured {
        fn drop(&mut self) {
            panic!("on purpose, in drop");
        }
    }

    let bus = bus(1);
    let channel = notes(&bus);
    let own = bus.clone();
    let worker = std::thread::spawn(move || {
        let worker = own.attach_worker(0).expect("free");
        for _ in 0..2 {
            let (captured, kept) = (Captured, worker.clone());
            worker
                .register(
                    move |_: &Note| {
                        let _held = (&captured, &kept);
                    },
                    "jobs",
                    "done",
                )
                .expect("declared")
                .keep();
        }
        channel.post(Note(1)).expect("open");
        assert_eq!(worker.run_pending(), 1);
        drop(channel);
    });
    worker.join().expect("it ends like any other");
    assert!(bus.stats().handlers.is_empty());
}
