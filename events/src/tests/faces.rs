//! The face of the bus: what reads well, and what cannot be misread.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings_core::spawn::{AbortHandle, Spawn, Task};

use super::{Journal, Note, bus, notes};
use crate::{
    AsyncOptions, DynamicEvent, Handled, Overflow, Received, RegisterError, SubscribeOptions,
    WorkerEvents,
};

/// A type that does not serialize, and cannot be cloned or printed either.
struct Plain(u64);

#[test]
fn a_channel_carries_a_type_without_a_json_form_and_wildcards_see_that() {
    let bus = WorkerEvents::builder()
        .workers(1)
        .max_payload(1)
        .build()
        .expect("in range");
    let channel = bus.declare_opaque::<Plain>("jobs", "plain").expect("free");
    let journal = Journal::<String>::new();
    let (typed, dynamic, local) = (journal.clone(), journal.clone(), journal.clone());
    bus.register(
        move |plain: &Plain| typed.write(plain.0.to_string()),
        "jobs",
        "plain",
    )
    .expect("declared")
    .keep();
    let see = move |event: &DynamicEvent<'_>| {
        let refusal = event.payload().expect_err("it has none");
        format!("{refusal}, so {}", event.entity())
    };
    bus.register_dynamic(
        move |event: &DynamicEvent<'_>| dynamic.write(see(event)),
        "*",
        "*",
    )
    .expect("a wildcard")
    .keep();
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register_dynamic(
            move |event: &DynamicEvent<'_>| local.write(see(event)),
            "jobs",
            "*",
        )
        .expect("a wildcard")
        .keep();
    let mut queue = bus
        .subscribe::<Plain>("jobs", "plain", SubscribeOptions::new())
        .expect("declared");

    channel
        .post(Plain(7))
        .expect("a limit in bytes of JSON does not apply");
    assert_eq!(worker.run_pending(), 1);
    let none = "the type of this channel has no JSON form, so null";
    assert_eq!(journal.read(), [none, "7", none]);
    let heard = queue.try_recv().expect("one").into_result();
    assert_eq!(heard.expect("no gap").0, 7);
}

#[test]
fn an_error_names_what_was_attempted_and_leaves_the_cause_to_its_source() {
    let bus = bus(0);
    let channel = notes(&bus);
    let options = SubscribeOptions::new()
        .capacity(1)
        .overflow(Overflow::Error)
        .named("slow");
    let _full = bus
        .subscribe::<Note>("jobs", "done", options)
        .expect("declared");
    channel.post(Note(1)).expect("room");

    let error = channel.post(Note(2)).expect_err("full");
    assert_eq!(error.to_string(), "cannot post to (\"jobs\", \"done\")");
    let cause = error.source().expect("a cause").to_string();
    assert_eq!(cause, "the queue of subscriber \"slow\" is full");
    assert!(!error.to_string().contains(&cause));
    assert_eq!(error.payload, Note(2));

    let error = bus.post("jobs", "dome", Note(3)).expect_err("unknown");
    assert_eq!(error.to_string(), "cannot post to (\"jobs\", \"dome\")");
    let error = channel
        .post_batch(vec![Note(4), Note(5)])
        .expect_err("full");
    assert_eq!(error.to_string(), "cannot post to (\"jobs\", \"done\")");
    assert_eq!(error.payload, [Note(4), Note(5)]);

    let error = bus
        .subscribe::<Note>("jobs", "done", SubscribeOptions::new().capacity(0))
        .expect_err("no room at all");
    assert_eq!(
        error.to_string(),
        "cannot listen to (\"jobs\", \"done\"): capacity must be from 1 to 16777216, got 0"
    );
    let error = bus.attach_worker(3).expect_err("no such worker");
    assert_eq!(
        error.to_string(),
        "cannot attach worker 3: the bus was built for 0 workers"
    );
}

#[test]
fn handlers_and_subscribers_have_names_that_a_person_can_read() {
    let bus = bus(1);
    notes(&bus);
    bus.register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
    let _queue = bus
        .subscribe::<Note>("jobs", "done", SubscribeOptions::new())
        .expect("declared");

    let stats = bus.stats();
    let function = "faces::handlers_and_subscribers_have_names_that_a_person_can_read (";
    for handler in &stats.handlers {
        assert!(handler.name.starts_with(function), "{}", handler.name);
        assert!(handler.name.contains("faces.rs:"), "{}", handler.name);
    }
    assert_ne!(
        stats.handlers[0].name, stats.handlers[1].name,
        "by the line"
    );
    assert_eq!(stats.channels[0].subscribers[0].name, "Note");
}

#[test]
fn the_receivers_of_a_channel_are_counted() {
    let bus = bus(1);
    let channel = notes(&bus);
    assert_eq!(channel.receiver_count(), 0);
    let handler = bus
        .register(|_: &Note| (), "jobs", "done")
        .expect("declared");
    let worker = bus.attach_worker(0).expect("free");
    worker
        .register_dynamic(|_: &DynamicEvent<'_>| (), "*", "*")
        .expect("a wildcard")
        .keep();
    let subscribe = || {
        bus.subscribe::<Note>("jobs", "done", SubscribeOptions::new())
            .expect("declared")
    };
    let (_one, _two) = (subscribe(), subscribe());
    assert_eq!(channel.receiver_count(), 4);
    drop(handler);
    assert_eq!(channel.receiver_count(), 3);
}

/// An executor that is not tokio: tasks are polled by the test.
#[derive(Clone, Default)]
struct ByHand(Arc<Mutex<Vec<Task>>>);

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByHand")
    }
}

impl Spawn for ByHand {
    fn spawn(&self, task: Task) -> AbortHandle {
        self.0.lock().expect("no panic").push(task);
        AbortHandle::ended()
    }
}

impl ByHand {
    fn poll_all(&self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for task in &mut *self.0.lock().expect("no panic") {
            let _pending = task.as_mut().poll(&mut context);
        }
    }
}

#[test]
fn async_handlers_run_on_an_executor_of_ones_own_and_waits_need_no_runtime() {
    let executor = ByHand::default();
    let bus = WorkerEvents::builder()
        .executor(Arc::new(executor.clone()))
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    bus.register_async(
        move |note: Received<Note>| {
            heard.write(note.0);
            async {}
        },
        "jobs",
        "done",
        AsyncOptions::new(),
    )
    .expect("no runtime is needed")
    .keep();
    let delivery = channel
        .post_blocking(Note(1), Duration::from_secs(1))
        .expect("open");
    executor.poll_all();
    assert_eq!(journal.read(), [1]);
    assert_eq!(
        delivery.handled_blocking(Duration::from_secs(60)),
        Handled::Everywhere
    );
    let report = bus.shutdown_blocking(Duration::from_secs(60));
    assert!(report.drained, "{report:?}");
}

#[test]
fn without_an_executor_the_refusal_says_which_handler_it_was() {
    let bus = bus(0);
    notes(&bus);
    let refused = bus.register_async(
        |_: Received<Note>| async {},
        "jobs",
        "done",
        AsyncOptions::new(),
    );
    let error = refused.expect_err("no runtime is current");
    assert!(matches!(error, RegisterError::NoRuntime { .. }));
    assert!(
        error
            .to_string()
            .starts_with("cannot listen to (\"jobs\", \"done\"): ")
    );
}
