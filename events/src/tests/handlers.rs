//! Inline handlers: levels, guards, owners, isolation.

use std::{
    cell::RefCell,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use tidings_core::{CrudEvent, Operation};

use super::{Acl, Consumer, Journal, Note, bus, cause, consumer, notes};
use crate::{BoxError, DynamicEvent, Registration};

// WE6
#[test]
fn handlers_run_level_by_level_and_in_order_of_registration_within_one() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let journal = Journal::<String>::new();
    let note = |name: &'static str| {
        let journal = journal.clone();
        move || journal.write(name)
    };
    let write = note("operation 1");
    let operation = bus.register(
        move |_: &CrudEvent<Consumer>| write(),
        "crud",
        "consumers:update",
    );
    let write = note("event 1");
    let event = bus.register(move |_: &CrudEvent<Consumer>| write(), "crud", "consumers");
    let write = note("all");
    let all = bus.register_dynamic(move |_: &DynamicEvent| write(), "*", "*");
    let write = note("source");
    let source = bus.register_dynamic(move |_: &DynamicEvent| write(), "crud", "*");
    let write = note("event 2");
    let dynamic = bus.register_dynamic(move |_: &DynamicEvent| write(), "crud", "consumers");
    let write = note("operation 2");
    let last = bus.register_dynamic(move |_: &DynamicEvent| write(), "crud", "consumers:update");

    let update = || CrudEvent::updated(consumer("a"), consumer("b"));
    let _ = consumers.enqueue(update(), cause(1)).dispatch();
    assert_eq!(
        journal.take(),
        [
            "all",
            "source",
            "event 1",
            "event 2",
            "operation 1",
            "operation 2"
        ]
    );

    drop(all.expect("wildcard"));
    drop(event.expect("declared"));
    drop(last.expect("declared"));
    let _ = consumers.enqueue(update(), cause(2)).dispatch();
    assert_eq!(journal.take(), ["source", "event 2", "operation 1"]);
    drop(source.expect("wildcard"));
    drop(dynamic.expect("declared"));
    drop(operation.expect("declared"));
    let _ = consumers.enqueue(update(), cause(3)).dispatch();
    assert!(journal.take().is_empty());
    assert!(bus.stats().handlers.is_empty());
}

// WE6
#[test]
fn one_handler_for_several_events_is_removed_from_all_of_them() {
    let bus = bus(0);
    let names = ["a", "b", "c"];
    let channels = names.map(|name| bus.declare::<Note>("jobs", name).expect("free"));
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    let guard = bus
        .on("jobs", "a")
        .also("jobs", "b")
        .also("jobs", "c")
        .register(move |note: &Note| heard.write(note.0))
        .expect("declared");
    let post = || {
        for (index, channel) in (0..).zip(&channels) {
            channel.post(Note(index)).expect("open");
        }
    };
    post();
    assert_eq!(journal.take(), [0, 1, 2]);
    drop(guard);
    post();
    assert!(journal.take().is_empty());
}

#[test]
fn guards_can_be_joined_and_a_kept_one_stays() {
    let bus = bus(0);
    let channel = notes(&bus);
    let journal = Journal::<String>::new();
    let register = |name: &'static str| {
        let journal = journal.clone();
        bus.register(move |_: &Note| journal.write(name), "jobs", "done")
            .expect("declared")
    };
    let joined = register("a").and(register("b"));
    register("c").keep();
    drop(joined);
    channel.post(Note(1)).expect("open");
    assert_eq!(journal.take(), ["c"]);
}

#[test]
fn dropping_a_guard_frees_what_the_handler_held() {
    let bus = bus(0);
    let channel = notes(&bus);
    let held = Arc::new(());
    let captured = Arc::clone(&held);
    let guard = bus
        .register(
            move |_: &Note| {
                let _ = &captured;
            },
            "jobs",
            "done",
        )
        .expect("declared");
    channel.post(Note(1)).expect("open");
    assert_eq!(Arc::strong_count(&held), 2);
    drop(guard);
    assert_eq!(Arc::strong_count(&held), 1);
}

// WE7
#[test]
fn a_handler_vanishes_with_its_owner() {
    let bus = bus(0);
    let channel = notes(&bus);
    let owner = Arc::new(());
    let journal = Journal::<u64>::new();
    for dynamic in [false, true] {
        let heard = journal.clone();
        let on = bus.on("jobs", "done").owned_by(&owner);
        if dynamic {
            on.register_dynamic(move |_: &DynamicEvent| heard.write(0_u64))
        } else {
            on.register(move |note: &Note| heard.write(note.0))
        }
        .expect("declared")
        .keep();
    }
    channel.post(Note(1)).expect("open");
    assert_eq!(journal.take(), [1, 0]);
    drop(owner);
    channel.post(Note(2)).expect("open");
    assert!(journal.take().is_empty());
    assert!(
        bus.stats().handlers.is_empty(),
        "{:?}",
        bus.stats().handlers
    );
}

// WE8
#[test]
fn a_handler_that_panics_or_fails_harms_nobody_and_is_counted() {
    let bus = bus(0);
    let channel = notes(&bus);
    let journal = Journal::<u64>::new();
    bus.on("jobs", "done")
        .named("panics")
        .register(|_: &Note| -> () { panic!("on purpose") })
        .expect("declared")
        .keep();
    bus.on("jobs", "done")
        .named("fails")
        .register(|_: &Note| -> Result<(), BoxError> { Err("on purpose".into()) })
        .expect("declared")
        .keep();
    let heard = journal.clone();
    bus.register(move |note: &Note| heard.write(note.0), "jobs", "done")
        .expect("declared")
        .keep();
    for number in 0..3 {
        channel.post(Note(number)).expect("open");
    }
    assert_eq!(journal.read(), [0, 1, 2]);
    let counts: Vec<_> = bus
        .stats()
        .handlers
        .into_iter()
        .map(|handler| (handler.panics, handler.errors))
        .collect();
    assert_eq!(counts, [(3, 0), (0, 3), (0, 0)]);
}

// WE15
#[test]
fn a_handler_may_drop_its_own_guard_and_that_of_the_next() {
    let bus = bus(0);
    let channel = notes(&bus);
    let guards: Arc<Mutex<Vec<Registration>>> = Arc::default();
    let journal = Journal::<String>::new();
    let (all, heard) = (Arc::clone(&guards), journal.clone());
    let first = bus.register(
        move |_: &Note| {
            heard.write("first");
            let dropped = std::mem::take(&mut *all.lock().expect("no panic"));
            drop(dropped);
        },
        "jobs",
        "done",
    );
    let heard = journal.clone();
    let second = bus.register(move |_: &Note| heard.write("second"), "jobs", "done");
    guards
        .lock()
        .expect("no panic")
        .extend([first.expect("declared"), second.expect("declared")]);
    channel.post(Note(1)).expect("open");
    channel.post(Note(2)).expect("open");
    assert_eq!(journal.read(), ["first"]);
}

// WE15: the exact guarantee. A call under way when the guard is dropped may finish; none begins
// afterwards.
#[test]
fn dropping_a_guard_while_another_thread_dispatches_neither_waits_nor_lets_a_later_call_begin() {
    let bus = bus(0);
    let channel = notes(&bus);
    let inside = Arc::new(Barrier::new(2));
    let leave = Arc::new(Barrier::new(2));
    let (entered, left) = (Arc::clone(&inside), Arc::clone(&leave));
    bus.register(
        move |_: &Note| {
            entered.wait();
            left.wait();
        },
        "jobs",
        "done",
    )
    .expect("declared")
    .keep();
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    let second = bus
        .register(
            move |_: &Note| seen.store(true, Ordering::SeqCst),
            "jobs",
            "done",
        )
        .expect("declared");
    thread::scope(|scope| {
        scope.spawn(|| channel.post(Note(1)).expect("open"));
        inside.wait();
        drop(second); // the other thread holds a list with this handler in it
        leave.wait();
    });
    assert!(!called.load(Ordering::SeqCst));
}

#[test]
fn json_is_made_once_per_event_and_only_if_asked_for() {
    thread_local! {
        static MADE: RefCell<u64> = const { RefCell::new(0) };
    }
    struct Counted;
    impl serde::Serialize for Counted {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            MADE.with_borrow_mut(|made| *made += 1);
            serializer.serialize_u64(5)
        }
    }
    let bus = bus(0);
    let channel = bus.declare::<Counted>("jobs", "done").expect("free");
    let seen = Arc::new(AtomicU64::new(0));
    bus.register_dynamic(|_: &DynamicEvent| (), "*", "*")
        .expect("wildcard")
        .keep();
    channel.post(Counted).expect("open");
    MADE.with_borrow(|made| assert_eq!(*made, 0));
    for _ in 0..2 {
        let seen = Arc::clone(&seen);
        bus.register_dynamic(
            move |event: &DynamicEvent| {
                assert_eq!((event.source(), event.event()), ("jobs", "done"));
                seen.fetch_add(event.entity().as_u64().unwrap_or(0), Ordering::SeqCst);
            },
            "jobs",
            "*",
        )
        .expect("wildcard")
        .keep();
    }
    channel.post(Counted).expect("open");
    MADE.with_borrow(|made| assert_eq!(*made, 1));
    assert_eq!(seen.load(Ordering::SeqCst), 10);
}

#[test]
fn a_wildcard_covers_channels_declared_after_it() {
    let bus = bus(0);
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register_dynamic(
        move |event: &DynamicEvent| heard.write(event.event()),
        "jobs",
        "*",
    )
    .expect("wildcard")
    .keep();
    let late = bus.declare::<Note>("jobs", "late").expect("free");
    let other = bus.declare::<Note>("other", "late").expect("free");
    late.post(Note(1)).expect("open");
    other.post(Note(1)).expect("open");
    assert_eq!(journal.read(), ["late"]);
}

// EV10
#[test]
fn a_narrow_handler_hears_its_operation_only_and_after_the_wide_one() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    bus.declare_crud::<Acl>().expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register(
        move |change: &CrudEvent<Consumer>| heard.write(format!("narrow {}", change.operation)),
        "crud",
        "consumers:update",
    )
    .expect("declared")
    .keep();
    let heard = journal.clone();
    bus.register(
        move |change: &CrudEvent<Consumer>| heard.write(format!("wide {}", change.operation)),
        "crud",
        "consumers",
    )
    .expect("declared")
    .keep();
    let heard = journal.clone();
    bus.register(move |_: &CrudEvent<Acl>| heard.write("acl"), "crud", "acls")
        .expect("declared")
        .keep();
    for change in [
        CrudEvent::created(consumer("a")),
        CrudEvent::updated(consumer("a"), consumer("a")),
        CrudEvent::deleted(consumer("a")),
    ] {
        let _ = consumers.enqueue(change, cause(1)).dispatch();
    }
    assert_eq!(
        journal.read(),
        ["wide create", "wide update", "narrow update", "wide delete"]
    );
}

// EV1, EV4
#[test]
fn the_dynamic_form_of_a_change_holds_entity_old_entity_and_operation() {
    let bus = bus(0);
    let consumers = bus.declare_crud::<Consumer>().expect("free");
    let journal = Journal::<String>::new();
    let heard = journal.clone();
    bus.register_dynamic(
        move |event: &DynamicEvent| {
            heard.write(format!(
                "{:?} {} {}",
                event.operation(),
                event.entity(),
                event.old_entity()
            ));
        },
        "crud",
        "*",
    )
    .expect("wildcard")
    .keep();
    let _ = consumers
        .enqueue(CrudEvent::created(consumer("a")), cause(1))
        .dispatch();
    let _ = consumers
        .enqueue(CrudEvent::updated(consumer("a"), consumer("b")), cause(2))
        .dispatch();
    assert_eq!(
        journal.read(),
        [
            format!(
                "{:?} {} null",
                Some(Operation::Create),
                r#"{"id":"a","username":null}"#
            ),
            format!(
                "{:?} {} {}",
                Some(Operation::Update),
                r#"{"id":"b","username":null}"#,
                r#"{"id":"a","username":null}"#
            ),
        ]
    );
}

// G9: posting, registering and unregistering while a handler does not come back are not held up,
// whichever of the channel's routes it goes by; what left during it is freed once that handler is
// back.
#[test]
fn a_handler_that_does_not_come_back_holds_up_its_own_poster_only() {
    let bus = bus(0);
    let channel = notes(&bus);
    let (inside, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (entered, left) = (Arc::clone(&inside), Arc::clone(&leave));
    bus.register(
        move |note: &Note| {
            if note.0 == 0 {
                entered.wait();
                left.wait();
            }
        },
        "jobs",
        "done",
    )
    .expect("declared")
    .keep();
    let journal = Journal::<u64>::new();
    let held = Arc::new(());
    let listen = || {
        let (heard, held) = (journal.clone(), Arc::clone(&held));
        bus.register(
            move |note: &Note| {
                let _held = &held;
                heard.write(note.0);
            },
            "jobs",
            "done",
        )
        .expect("declared")
    };
    let before = listen();
    // More threads than there are shards, so that some share one with the thread that is stuck.
    let post_from_many = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let poster = channel.clone();
            thread::spawn(move || poster.post(Note(number)).expect("open"))
                .join()
                .expect("no panic");
        }
    };
    thread::scope(|scope| {
        let stuck = scope.spawn(|| channel.post(Note(0)).expect("open"));
        inside.wait();
        post_from_many(100..164);
        assert_eq!(journal.take(), (100..164).collect::<Vec<_>>());
        drop(before);
        post_from_many(164..228);
        assert_eq!(journal.take(), [0_u64; 0], "unregistered");
        let after = listen();
        post_from_many(228..292);
        assert_eq!(journal.take(), (228..292).collect::<Vec<_>>());
        assert_eq!(bus.stats().channels[0].posted, 193, "nor who asks");
        leave.wait();
        stuck.join().expect("no panic");
        assert_eq!(Arc::strong_count(&held), 2, "the first is freed");
        post_from_many(292..356);
        assert_eq!(journal.take(), (292..356).collect::<Vec<_>>());
        drop(after);
    });
    assert_eq!(Arc::strong_count(&held), 1, "and so is the second");
    assert_eq!(bus.stats().channels[0].posted, 257);
}
