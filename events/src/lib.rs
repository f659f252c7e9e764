//! Typed worker events: named channels, three ways to listen, explicit overflow.
//!
//! A bus carries events inside one process. A channel has a name of two parts, a source and an
//! event, and is bound to a type when it is declared. A poster never waits; a listener says how it
//! listens:
//!
//! | | runs | may be `!Send` | when the listener is slow |
//! |---|---|---|---|
//! | [`WorkerEvents::register`] | inline, on the poster's thread, before `post` returns | no | the poster is held up |
//! | [`LocalWorkerEvents::register`] | on its worker's thread, in the worker's loop | yes | the worker finds a [`Gap`] |
//! | [`WorkerEvents::subscribe`] | wherever `recv().await` is called | no | its [`Overflow`] policy, and a [`Gap`] |
//! | [`WorkerEvents::register_async`] | as a task, a number of calls at a time | no | the newest are left out, counted and logged |
//!
//! Every call that takes a handler takes it first, then the channel's two names, then options.
//!
//! # Payloads
//!
//! A channel carries any type that is `Send` and `Sync`. Handlers of any type of event
//! ([`DynamicEvent`]) see a payload as JSON where its type serializes ([`WorkerEvents::declare`]),
//! and that it has no such form where it does not ([`WorkerEvents::declare_opaque`]).
//!
//! # Overflow
//!
//! Every queue has a bound. What does not fit is counted, and reported to the listener that missed
//! it, in its place: what is received before a [`Gap`] was posted before the missing events, what
//! comes after it was posted later. Received and missed always add up to posted. A worker learns of
//! a gap through [`LocalWorkerEvents::on_gap`], a subscriber through [`Heard`], whose event it
//! cannot reach without saying what is to happen at a gap. Only [`Overflow::Error`] and
//! [`Overflow::Wait`] let a listener refuse a post, and then before any listener has heard of it.
//! Changes of rows are never refused: they have been made.
//!
//! Statistics show a listener that is stuck while it is stuck: what it has missed counts before it
//! reads again.
//!
//! # Order
//!
//! Every worker and every queue gets the events of a channel in the same order, even if several
//! threads post. Inline handlers run on their posters' threads, so two posts may run at once there.
//! The changes of *all* CRUD channels have one order, that of [`CrudChannel::enqueue`], and their
//! inline handlers run one change at a time. Handlers of one event run level by level: those of
//! everything, of the source, of the channel, of one operation, and within a level in the order of
//! registration.
//!
//! # Posts from inside a handler
//!
//! They are put aside and dispatched when the current event has been handled (breadth first), so
//! handlers never nest. A post more than [`max_depth`](WorkerEventsBuilder::max_depth) handlers
//! away from the first one is refused with [`Refusal::TooDeep`], which names the cycle, even if it
//! goes by way of other buses.
//!
//! # Failure
//!
//! A handler that panics or returns an error is logged with source, event and its name, and
//! counted; the others run, the poster goes on. The same holds of other user code: a `Drop` of a
//! payload or a capture, a waker, the `Display` of an error, a key function, the program's tracing
//! subscriber. None of it runs under a lock of the bus, so it may use the bus. (With `panic =
//! "abort"` there is nothing to catch.) A worker whose thread ends, by a panic or not, closes its
//! mailbox: no one waits for it, its unique events go to another worker, and another thread may
//! take its place. A handler that does not come back holds up its own thread, and is named by a
//! [`Watchdog`] if one is run.
//!
//! # The end
//!
//! [`WorkerEvents::shutdown`] refuses posts, lets what was accepted be handled until its deadline,
//! and counts the rest. Receivers end with it, or when the last handle of their channel and of the
//! bus is dropped; an async handler ends with its runtime. Before the workers are attached, events
//! wait in the mailboxes of those that have registered; there is no "start".
//!
//! # Threads and runtimes
//!
//! Nothing here needs a runtime but async handlers, which run on tokio or on an executor of your
//! own ([`WorkerEventsBuilder::executor`]). Waits work under any executor, and on plain threads:
//! [`Channel::post_blocking`], [`Delivery::handled_blocking`], [`WorkerEvents::shutdown_blocking`].
//! On tokio, receivers take part in the cooperative budget.
//!
//! # What it costs
//!
//! - A post to inline handlers alone allocates nothing, nor does one to queues alone that drop the
//!   oldest: it is written right into their log. Any other post allocates once, for the event; and
//!   once more where a caller may ask which handlers are done ([`Delivery`]), or it has a cause, a
//!   span or a handler that posted it. A bound on payloads
//!   ([`max_payload`](WorkerEventsBuilder::max_payload)), a feed of all events
//!   ([`WorkerEvents::feed`]) and tracing at debug level cost every post; otherwise they cost one
//!   flag check.
//! - A worker that ran out of mail polls again for a microsecond or two before it sleeps, and lets
//!   other threads run once: posts come in bursts, and waking a thread costs more than either.
//! - Registering and unregistering make the next post on each core work the channel's route out
//!   again, in time linear in its handlers. The bus suits handlers that stay.
//! - A handler that is called holds its poster up: inline handlers should be short.
//! - Unregistering does not wait for a call that is under way on another thread (it could be its
//!   own). A post that begins after the drop returned does not call the handler; a thread that is
//!   dispatching an earlier one, and has passed its check, may still make that one call.
//! - Subscribers that drop the oldest share one log. It keeps up to 32 events that all have
//!   received, and up to 32 more than the largest capacity; large payloads that should go at once
//!   want another policy.
//! - One dispatch in 256 is timed, on the average; which ones follows no period.
//!
//! # Examples
//!
//! ```
//! use serde::Serialize;
//! use tidings_events::{DynamicEvent, SubscribeOptions, WorkerEvents};
//!
//! #[derive(Serialize)]
//! struct Reloaded { revision: u64 }
//!
//! let bus = WorkerEvents::builder().workers(1).build()?;
//! let reloads = bus.declare::<Reloaded>("config", "reloaded")?;
//!
//! // Inline, typed; the guard unregisters when it is dropped.
//! let print = |event: &Reloaded| println!("now at {}", event.revision);
//! let guard = bus.register(print, "config", "reloaded")?;
//! // Inline, everything, as JSON.
//! bus.register_dynamic(|event: &DynamicEvent| println!("{event:?}"), "*", "*")?.keep();
//! // On a worker's own thread.
//! let worker = bus.attach_worker(0)?;
//! worker.register(|event: &Reloaded| assert_eq!(event.revision, 7), "config", "reloaded")?.keep();
//! // As a queue.
//! let options = SubscribeOptions::new().capacity(16);
//! let mut queue = bus.subscribe::<Reloaded>("config", "reloaded", options)?;
//!
//! reloads.post(Reloaded { revision: 7 })?;
//! assert_eq!(worker.run_pending(), 1);
//! if let Some(event) = queue.try_recv()?.or_gap(|gap| println!("missed {}", gap.missed)) {
//!     assert_eq!(event.revision, 7);
//! }
//! drop(guard);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

// The order of the layers, lowest first: a module uses those above it in this list, never those
// below. Inside a folder the list at its head says the same of its files.

/// Locks, atomics and thread-locals, swapped for the model checker's. Knows nothing of this crate.
mod sync;

/// Steps that a model can leave out; constants in ordinary builds. Knows locks only.
mod faults;

/// Runs user code where its panic must not get out. Knows nothing of this crate.
mod isolate;

/// Gives memory of queues back once a peak is over. Knows nothing of this crate.
mod room;

/// One small error per operation. Knows no event and no channel.
mod error;

/// What an event is: name, payload, trail, handlers. Knows no queue and no thread.
mod event;

/// The settings of a bus after the check. Knows nothing of this crate.
mod settings;

/// What one thread knows while handlers run. Knows no queue, no channel and no bus.
mod thread;

/// How one listener gets an event: envelopes, mailboxes, queues, feeds. Knows no channel and no
/// bus.
mod delivery;

/// Which listeners hear of what, and how handlers are run. Knows no channel.
mod route;

/// What all channels of a bus share. Knows no channel.
mod hub;

/// One channel: how a post goes. Knows no bus.
mod channel;

/// What users hold: thin faces. Nothing above knows any of it.
mod api;

/// Compiles and runs the code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(test, shuttle))]
mod models;
#[cfg(all(test, not(shuttle)))]
mod tests;

pub use tidings_core::BoxError;

pub use self::{
    api::{
        builder::WorkerEventsBuilder,
        bus::{WorkerEvents, shutdown::ShutdownReport},
        crud::{CrudChannel, Ticket},
        listen::{Listen, tasks::AsyncOptions},
        registration::Registration,
        stats::{BusStats, ChannelStats},
        watchdog::{SlowHandler, Watchdog},
        worker::{LocalWorkerEvents, listen::LocalListen, registration::LocalRegistration},
    },
    channel::{direct::UniquePost, handle::Channel},
    delivery::{
        feed::{FeedEvent, Lifecycle, LifecycleFeed, LiveFeed},
        handled::{Delivery, Handled, Late},
        mailbox::MailboxStats,
        queue::{
            blocking::BlockingSubscriber,
            options::{Overflow, SubscribeOptions},
            received::{Received, TryRecvError},
            stats::SubscriberStats,
            subscriber::Subscriber,
        },
        sequencer::SequencerStats,
    },
    error::{AttachError, BuildError, DeclareError, PostError, Refusal, RegisterError},
    event::{
        completion::MAX_WORKERS,
        dynamic::DynamicEvent,
        gap::Gap,
        handler::{HandlerStats, Outcome},
        heard::Heard,
        name::CRUD,
        payload::Event,
    },
    thread::frame::in_handler,
};
