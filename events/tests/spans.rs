//! A handler's span and its failure's log: in a program of its own, since tracing remembers for the
//! whole process which places are listened to.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use serde::Serialize;
use tidings_events::WorkerEvents;
use tracing::{
    Metadata,
    field::{Field, Visit},
    span,
};

#[derive(Serialize)]
struct Note(u64);

/// A subscriber of tracing that keeps the spans' names and the fields of what was logged.
#[derive(Clone, Default)]
struct Recorder {
    lines: Arc<Mutex<Vec<String>>>,
    open: Arc<Mutex<Vec<(&'static Metadata<'static>, String)>>>,
    stack: Arc<Mutex<Vec<u64>>>,
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl tracing::Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = Text(attributes.metadata().name().to_owned());
        attributes.record(&mut text);
        let mut open = self.open.lock().expect("no panic");
        open.push((attributes.metadata(), text.0));
        span::Id::from_u64(open.len() as u64)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text("log".to_owned());
        event.record(&mut text);
        self.lines.lock().expect("no panic").push(text.0);
    }
    fn enter(&self, id: &span::Id) {
        let open = self.open.lock().expect("no panic");
        self.lines
            .lock()
            .expect("no panic")
            .push(format!("enter {}", open[id.into_u64() as usize - 1].1));
        self.stack.lock().expect("no panic").push(id.into_u64());
    }
    fn exit(&self, _: &span::Id) {
        self.stack.lock().expect("no panic").pop();
    }
    fn current_span(&self) -> tracing_core::span::Current {
        match self.stack.lock().expect("no panic").last() {
            Some(&id) => {
                let metadata = self.open.lock().expect("no panic")[id as usize - 1].0;
                tracing_core::span::Current::new(span::Id::from_u64(id), metadata)
            }
            None => tracing_core::span::Current::none(),
        }
    }
}

// WE8
#[test]
fn a_workers_handler_runs_in_the_posters_span_and_its_failure_is_logged_with_all_names() {
    let recorder = Recorder::default();
    let lines = Arc::clone(&recorder.lines);
    tracing::subscriber::with_default(recorder, || {
        let bus = WorkerEvents::builder()
            .workers(1)
            .build()
            .expect("in range");
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let worker = bus.attach_worker(0).expect("free");
        worker
            .on("jobs", "done")
            .named("failing")
            .register(|_: &Note| Err::<(), _>("on purpose"))
            .expect("declared")
            .keep();
        worker
            .on("jobs", "done")
            .named("panicking")
            .register(|_: &Note| -> () { panic!("aghast") })
            .expect("declared")
            .keep();
        bus.on("jobs", "done")
            .named("inline")
            .register(|note: &Note| -> () { panic!("on {}", note.0) })
            .expect("declared")
            .keep();
        tracing::info_span!("request").in_scope(|| channel.post(Note(1)).expect("open"));
        let inline = lines.lock().expect("no panic").clone();
        let handle = r#"handle source="jobs" event="done" handler="inline""#;
        assert!(inline.contains(&format!("enter {handle}")), "{inline:?}");
        assert!(
            inline.iter().any(|line| line.contains("on 1")),
            "{inline:?}"
        );
        lines.lock().expect("no panic").clear();
        worker.run_pending();
    });
    let lines = lines.lock().expect("no panic").clone();
    assert_eq!(lines[0], "enter request");
    assert_eq!(
        lines[1],
        r#"enter handle source="jobs" event="done" handler="failing""#
    );
    let logged: BTreeSet<_> = lines
        .iter()
        .filter(|line| line.starts_with("log"))
        .collect();
    let names = r#"source="jobs" event="done" handler="#;
    for (name, what) in [("failing", "on purpose"), ("panicking", "aghast")] {
        assert!(
            logged
                .iter()
                .any(|line| line.contains(&format!("{names}\"{name}\"")) && line.contains(what)),
            "{logged:?}"
        );
    }
}
