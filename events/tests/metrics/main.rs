//! The bus's counts through the `metrics` facade.

mod recorder;

use serde::{Deserialize, Serialize};
use tidings_core::{Cause, CrudEvent, Entity, Origin};
use tidings_events::{Overflow, SubscribeOptions, WorkerEvents};

use self::recorder::{Meter, Recorder};

#[derive(Clone, Debug, Serialize)]
struct Note(u64);

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "consumers")]
struct Consumer {
    #[entity(primary_key)]
    id: String,
}

fn recorded(bus: &WorkerEvents) -> Recorder {
    let recorder = Recorder::default();
    metrics::with_local_recorder(&recorder, || bus.publish_metrics());
    recorder
}

/// Every count has its own name, and the labels that tell channels, subscribers, handlers and
/// workers apart.
#[test]
fn what_a_bus_has_counted_is_recorded_under_its_names() {
    let bus = WorkerEvents::builder()
        .workers(2)
        .mailbox_capacity(2)
        .build()
        .unwrap();
    let notes = bus.declare::<Note>("jobs", "done").unwrap();
    bus.declare::<Note>("jobs", "quiet").unwrap();
    bus.on("jobs", "done")
        .named("panics at 1")
        .register(|note: &Note| assert_ne!(note.0, 1))
        .unwrap()
        .keep();
    bus.on("jobs", "done")
        .named("fails from 3")
        .register(|note: &Note| {
            if note.0 >= 3 {
                Err("on purpose")
            } else {
                Ok(())
            }
        })
        .unwrap()
        .keep();
    let worker = bus.attach_worker(1).unwrap();
    worker
        .on("jobs", "done")
        .named("counts")
        .register(|_: &Note| {})
        .unwrap()
        .keep();
    let options = || SubscribeOptions::new().overflow(Overflow::DropNewest);
    let few = options().capacity(2).named("few");
    let _few = bus.subscribe::<Note>("jobs", "done", few).unwrap();
    let many = options().capacity(8).named("many");
    let _many = bus.subscribe::<Note>("jobs", "done", many).unwrap();
    for note in 0..5 {
        notes.post(Note(note)).unwrap();
        if note == 0 {
            worker.run_pending();
        }
    }
    let recorder = recorded(&bus);
    for (name, meter) in [
        (
            "tidings_events_posted_total{source=jobs,event=done}",
            Meter::Counter(5),
        ),
        (
            "tidings_events_posted_total{source=jobs,event=quiet}",
            Meter::Counter(0),
        ),
        (
            "tidings_events_missed_total{source=jobs,event=done,subscriber=few}",
            Meter::Counter(3),
        ),
        (
            "tidings_events_missed_total{source=jobs,event=done,subscriber=many}",
            Meter::Counter(0),
        ),
        (
            "tidings_events_queue_depth{source=jobs,event=done,subscriber=few}",
            Meter::Gauge(2.0),
        ),
        (
            "tidings_events_queue_depth{source=jobs,event=done,subscriber=many}",
            Meter::Gauge(5.0),
        ),
        (
            "tidings_events_handler_failures_total{handler=panics at 1,worker=,kind=panic}",
            Meter::Counter(1),
        ),
        (
            "tidings_events_handler_failures_total{handler=panics at 1,worker=,kind=error}",
            Meter::Counter(0),
        ),
        (
            "tidings_events_handler_failures_total{handler=fails from 3,worker=,kind=error}",
            Meter::Counter(2),
        ),
        (
            "tidings_events_handler_failures_total{handler=counts,worker=1,kind=panic}",
            Meter::Counter(0),
        ),
        (
            "tidings_events_mailbox_handled_total{worker=1}",
            Meter::Counter(1),
        ),
        (
            "tidings_events_mailbox_missed_total{worker=1}",
            Meter::Counter(2),
        ),
        (
            "tidings_events_mailbox_dropped_total{worker=1}",
            Meter::Counter(0),
        ),
        ("tidings_events_mailbox_depth{worker=1}", Meter::Gauge(2.0)),
        ("tidings_events_mailbox_depth{worker=0}", Meter::Gauge(0.0)),
        ("tidings_events_refused_total", Meter::Counter(0)),
        ("tidings_events_dropped_total", Meter::Counter(0)),
        ("tidings_events_changes_total", Meter::Counter(0)),
        ("tidings_events_changes_waiting", Meter::Gauge(0.0)),
    ] {
        assert_eq!(recorder.meter(name), meter, "{name}");
    }
}

/// Two series of one name and the same labels would be one whose value is that of either.
#[test]
fn handlers_and_queues_of_one_name_are_counted_together() {
    let bus = WorkerEvents::builder().build().unwrap();
    let notes = bus.declare::<Note>("jobs", "done").unwrap();
    for bound in [1, 2] {
        bus.on("jobs", "done")
            .named("picky")
            .register(move |note: &Note| match note.0 < bound {
                true => Ok(()),
                false => Err("on purpose"),
            })
            .unwrap()
            .keep();
    }
    let options = || {
        SubscribeOptions::new()
            .overflow(Overflow::DropNewest)
            .named("queue")
    };
    let _one = bus.subscribe::<Note>("jobs", "done", options().capacity(1));
    let _two = bus.subscribe::<Note>("jobs", "done", options().capacity(2));
    for note in 0..3 {
        notes.post(Note(note)).unwrap();
    }
    let recorder = recorded(&bus);
    for (name, meter) in [
        (
            "tidings_events_handler_failures_total{handler=picky,worker=,kind=error}",
            Meter::Counter(3),
        ),
        (
            "tidings_events_missed_total{source=jobs,event=done,subscriber=queue}",
            Meter::Counter(3),
        ),
        (
            "tidings_events_queue_depth{source=jobs,event=done,subscriber=queue}",
            Meter::Gauge(3.0),
        ),
    ] {
        assert_eq!(recorder.meter(name), meter, "{name}");
    }
}

/// What is refused, what was accepted and never received, and what waits for its turn in the order
/// of changes.
#[test]
fn refusals_and_changes_are_recorded() {
    let bus = WorkerEvents::builder().workers(1).build().unwrap();
    let consumers = bus.declare_crud::<Consumer>().unwrap();
    let strict = SubscribeOptions::new()
        .capacity(1)
        .overflow(Overflow::Error);
    let notes = bus.declare::<Note>("jobs", "done").unwrap();
    let _strict = bus.subscribe::<Note>("jobs", "done", strict).unwrap();
    notes.post(Note(0)).unwrap();
    notes.post(Note(1)).unwrap_err();
    let change = |id: &str| CrudEvent::created(Consumer { id: id.into() });
    let cause = Cause {
        number: 1,
        origin: Origin::Local,
    };
    let first = consumers.enqueue(change("a"), cause);
    let second = consumers.enqueue(change("b"), cause);
    let recorder = recorded(&bus);
    for (name, meter) in [
        ("tidings_events_refused_total", Meter::Counter(1)),
        ("tidings_events_changes_total", Meter::Counter(2)),
        ("tidings_events_changes_waiting", Meter::Gauge(2.0)),
    ] {
        assert_eq!(recorder.meter(name), meter, "{name}");
    }
    drop((first.dispatch(), second.dispatch()));
    let depth = recorded(&bus).meter("tidings_events_changes_waiting");
    assert_eq!(depth, Meter::Gauge(0.0));
}
