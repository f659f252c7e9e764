//! Typed worker events: named channels, three ways to listen, explicit overflow.
//!
//! A bus carries events inside one process. A channel has a name of two parts, a source and an
//! event, and is bound to a type when it is declared. [`post`](Channel::post) never waits. There
//! are several ways to listen:
//!
//! | | runs | may be `!Send` | when the listener is slow |
//! |---|---|---|---|
//! | [`WorkerEvents::register`] | inline, on the poster's thread, before `post` returns | no | the poster waits for it |
//! | [`LocalWorkerEvents::register`] | on its worker's thread, in the worker's loop | yes | the worker finds a [`Gap`] |
//! | [`WorkerEvents::subscribe`] | wherever you call `recv().await` | no | its [`Overflow`] policy decides, and it finds a [`Gap`] |
//! | [`WorkerEvents::register_async`] | as a task, with a limit on concurrent calls | no | the newest events are dropped, counted and logged |
//!
//! Each of these methods takes the handler first, if there is one, then the channel's two names,
//! then options.
//!
//! # Payloads
//!
//! A channel carries any type that is `Send` and `Sync`. Dynamic handlers accept events of any type
//! ([`DynamicEvent`]). They see a payload as JSON if its type serializes
//! ([`WorkerEvents::declare`]); otherwise they see that it has no JSON form
//! ([`WorkerEvents::declare_opaque`]).
//!
//! # Overflow
//!
//! Every queue is bounded. The bus counts the events that do not fit, and reports them to the
//! listener that missed them, in their place: events received before a [`Gap`] were posted before
//! the missing ones, and events received after it were posted later. Received and missed always add
//! up to posted. A worker learns of a gap through [`LocalWorkerEvents::on_gap`]. A subscriber gets
//! a [`Heard`], whose event it cannot reach without handling the gap. Only [`Overflow::Error`] and
//! [`Overflow::Wait`] let a listener refuse a post, and the bus refuses it before any listener
//! receives the event. The bus never refuses changes of rows, because they have already happened.
//!
//! Statistics show that a listener is stuck while it is still stuck: events that it has missed
//! count at once, not only when it reads again.
//!
//! # Order
//!
//! Every worker and every queue gets the events of a channel in the same order, even if several
//! threads post. Inline handlers run on their posters' threads, so they may handle two posts at
//! once. The changes of *all* CRUD channels have one order, that of [`CrudChannel::enqueue`], and
//! their inline handlers run for one change at a time. The handlers of one event run level by
//! level: those of everything, of the source, of the channel, of one operation. Within a level they
//! run in the order of registration.
//!
//! # Posts from inside a handler
//!
//! The bus sets them aside and dispatches them after the current event (breadth first), so handlers
//! never nest. If a chain of posts grows longer than
//! [`max_depth`](WorkerEventsBuilder::max_depth) handlers, the bus refuses the next post with
//! [`Refusal::TooDeep`], which names the cycle. It notices cycles through other buses too.
//!
//! # Failure
//!
//! The bus logs a handler that panics or returns an error, with the source, the event and the
//! handler's name, and counts it. The other handlers run, and the poster goes on. The same holds
//! for other user code: a `Drop` of a payload or a capture, a waker, the `Display` of an error, a
//! key function, the program's tracing subscriber. None of it runs under a lock of the bus, so it
//! may use the bus. (With `panic = "abort"` there is nothing to catch.)
//!
//! When the thread of a worker ends, by a panic or not, the worker's mailbox closes. No caller
//! waits for that worker any more, its unique events go to another worker, and another thread may
//! take its place. A handler that does not return blocks its own thread; a [`Watchdog`], if one
//! runs, names it.
//!
//! # The end
//!
//! [`WorkerEvents::shutdown`] refuses new posts, waits until its deadline for the handlers of
//! accepted events, and counts the events that remain. Receivers end with it, or when the last
//! handle of their channel and of the bus is dropped. An async handler ends with its runtime. There
//! is no "start": once a worker has registered a handler, events wait in its mailbox, even if other
//! workers are not attached yet.
//!
//! # Threads and runtimes
//!
//! Only async handlers need a runtime: tokio, or an executor of your own
//! ([`WorkerEventsBuilder::executor`]). Waits work under any executor, and on plain threads:
//! [`Channel::post_blocking`], [`Delivery::handled_blocking`], [`WorkerEvents::shutdown_blocking`].
//! On tokio, receivers take part in the cooperative budget.
//!
//! # What it costs
//!
//! - A post allocates nothing if the channel has only inline handlers, or only queues that drop the
//!   oldest, which share a log that holds the event. Any other post allocates its event. It
//!   allocates once more if a caller may ask which handlers are done ([`Delivery`]), or if it has a
//!   cause, a span or a handler that posted it. A bound on payloads
//!   ([`max_payload`](WorkerEventsBuilder::max_payload)), a feed of all events
//!   ([`WorkerEvents::feed`]) and tracing at debug level add a cost to every post; without them a
//!   post pays one flag check.
//! - A worker whose mailbox is empty polls it for a microsecond or two before it sleeps, and lets
//!   other threads run once. Posts come in bursts, and waking a thread costs more than either.
//! - After a registration or its end, the next post on each core computes the channel's route
//!   again, in time linear in its handlers. So the bus suits handlers that stay registered.
//! - The poster waits for inline handlers, so keep them short.
//! - Unregistering does not wait for a call that is running on another thread, since it may itself
//!   come from that call. A post that begins after the drop returned does not call the handler. A
//!   thread that is dispatching an earlier post, and has passed its check, may still make that one
//!   call.
//! - Subscribers that drop the oldest share one log. It keeps up to 32 events that all of them have
//!   received, and up to 32 more than the largest capacity. If large payloads must be freed at
//!   once, choose another policy.
//! - The bus times one dispatch in 256 on average, at irregular intervals.
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

// The modules are in the order of the layers, lowest first. A module uses those above it in this
// list, never those below. The list at the head of each folder does the same for its files.

/// Locks, atomics and thread-locals, swapped for the model checker's. Knows nothing of this crate.
mod sync;

/// Steps that a model can leave out; constants in ordinary builds. Knows locks only.
mod faults;

/// Runs user code and stops its panics. Knows nothing of this crate.
mod isolate;

/// Frees memory of queues after a peak. Knows nothing of this crate.
mod room;

/// One small error per operation. Knows no event and no channel.
mod error;

/// What an event is: name, payload, trail, handlers. Knows no queue and no thread.
mod event;

/// The settings of a bus after the check. Knows nothing of this crate.
mod settings;

/// Per-thread state while handlers run. Knows no queue, no channel and no bus.
mod thread;

/// How one listener gets an event: envelopes, mailboxes, queues, feeds. Knows no channel and no
/// bus.
mod delivery;

/// Which listeners an event has, and how handlers run. Knows no channel.
mod route;

/// What all channels of a bus share. Knows no channel.
mod hub;

/// One channel: how a post goes. Knows no bus.
mod channel;

/// The public handles, thin faces. Nothing above knows any of them.
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
