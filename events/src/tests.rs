//! Promises of the bus, through its public interface. The name of a test says what it shows; codes
//! are those of the acceptance list.

mod bounds;
mod channels;
mod crud;
mod ends;
mod faces;
mod feeds;
mod handlers;
mod lifecycle;
mod nesting;
mod plain;
mod queues;
mod receiving;
mod running;
mod stress;
mod strict;
mod targets;
mod tasks;
mod user_code;
mod watching;
mod workers;

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use serde::{Deserialize, Serialize};
use tidings_core::{Cause, CrudEvent, Entity, Origin};

use crate::{BlockingSubscriber, Channel, Overflow, SubscribeOptions, Subscriber, WorkerEvents};

/// A payload for plain channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note(pub(crate) u64);

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "consumers")]
pub(crate) struct Consumer {
    #[entity(primary_key)]
    pub(crate) id: String,
    pub(crate) username: Option<String>,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "acls")]
pub(crate) struct Acl {
    #[entity(primary_key)]
    pub(crate) id: String,
}

pub(crate) fn consumer(id: &str) -> Consumer {
    Consumer {
        id: id.to_owned(),
        username: None,
    }
}

pub(crate) fn cause(number: u64) -> Cause {
    Cause {
        number,
        origin: Origin::Local,
    }
}

pub(crate) fn bus(workers: usize) -> WorkerEvents {
    WorkerEvents::builder()
        .workers(workers)
        .build()
        .expect("these settings are within range")
}

/// The plain channel of most tests.
pub(crate) fn notes(bus: &WorkerEvents) -> Channel<Note> {
    bus.declare::<Note>("jobs", "done").expect("free")
}

/// Subscribes to the plain channel with a queue of each kind: one in the channel's log, one of its
/// own, and one of a thread that blocks.
pub(crate) fn queues(
    bus: &WorkerEvents,
) -> (Subscriber<Note>, Subscriber<Note>, BlockingSubscriber<Note>) {
    let in_log = SubscribeOptions::new();
    let own = SubscribeOptions::new().overflow(Overflow::DropNewest);
    (
        bus.subscribe("jobs", "done", in_log).expect("declared"),
        bus.subscribe("jobs", "done", own).expect("declared"),
        bus.subscribe_blocking("jobs", "done", SubscribeOptions::new())
            .expect("declared"),
    )
}

/// A handler of changes that does not return until this is dropped.
pub(crate) struct Hanging {
    entered: mpsc::Receiver<()>,
    _release: mpsc::Sender<()>,
}

impl Hanging {
    /// Registers it.
    pub(crate) fn register(bus: &WorkerEvents) -> Self {
        let (entered, inside) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        bus.register(
            move |_: &CrudEvent<Consumer>| {
                let _gone = entered.send(());
                let released = released.lock().expect("no panic");
                let _over = released.recv();
            },
            "crud",
            "consumers",
        )
        .expect("declared")
        .keep();
        Self {
            entered: inside,
            _release: release,
        }
    }

    /// Waits until a call of it has begun.
    pub(crate) fn entered(&self) {
        self.entered.recv().expect("the handler runs");
    }
}

/// What handlers have recorded, in order.
#[derive(Clone, Default, Debug)]
pub(crate) struct Journal<T = String>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Journal<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(crate) fn write(&self, entry: impl Into<T>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry.into());
    }

    pub(crate) fn read(&self) -> Vec<T> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs a body that must return. One that does not return within a while is taken for a deadlock.
pub(crate) fn within<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, ended) = std::sync::mpsc::channel();
    let running = std::thread::spawn(move || {
        let result = body();
        let _waiting = done.send(());
        result
    });
    if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
        ended.recv_timeout(std::time::Duration::from_secs(20))
    {
        panic!("it does not come back");
    }
    match running.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a body that may panic: the state afterwards is what counts.
pub(crate) fn caught(body: impl FnOnce()) {
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)));
}
