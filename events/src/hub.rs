//! [`Hub`]: what all channels of a bus share. Channels own it; it owns no channel, so nothing goes in a circle.

pub(crate) mod unique;

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64 as Serial, Ordering as SerialOrdering},
    },
};

use tidings_core::{Operation, clock::Clock};
use tokio::sync::Notify;

use crate::{
    api::builder::Settings,
    delivery::{
        feed::{Broadcast, FeedSlot, Lifecycle},
        mailbox::Mailbox,
        sequencer::Sequencer,
    },
    error::{BoxError, Refusal},
    event::{
        dynamic::DynamicEvent,
        handler::{Entry, HandlerInfo},
        name::Pattern,
        trail::Trail,
    },
    hub::unique::UniqueKeys,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
    thread::frame::{Deferred, Frame},
};

/// Handlers are numbered over all buses of the process, so that a thread's record names one for certain.
static NEXT_SERIAL: Serial = Serial::new(1);

/// Signals of the bus's life that a listener may leave unread.
const LIFECYCLE_CAPACITY: usize = 256;

/// A handler that takes any event.
pub(crate) type Dynamic = Entry<DynamicFn>;

pub(crate) type DynamicFn = Box<dyn Fn(&DynamicEvent<'_>) -> Result<(), BoxError> + Send + Sync>;

pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) closed: AtomicBool,
    pub(crate) sequencer: Sequencer,
    pub(crate) mailboxes: Box<[Arc<Mailbox>]>,
    pub(crate) patterns: Mutex<Patterns>,
    /// All handlers by serial, for statistics and the watchdog.
    pub(crate) handlers: Mutex<BTreeMap<u64, Described>>,
    /// The names of the channels by index, for messages.
    pub(crate) names: Mutex<Vec<(Arc<str>, Arc<str>)>>,
    /// Told when work may have ended; only a shutdown listens.
    quiet: Notify,
    pub(crate) counts: Counts,
    pub(crate) unique: UniqueKeys,
    /// Events that async handlers have accepted and not finished.
    pub(crate) tasks: AtomicU64,
    pub(crate) feed: FeedSlot,
    pub(crate) lifecycle: Broadcast<Lifecycle>,
}

/// Where a handler runs.
pub(crate) struct Described {
    pub(crate) info: Arc<HandlerInfo>,
    pub(crate) worker: Option<usize>,
}

/// Counts of the bus as a whole.
#[derive(Default)]
pub(crate) struct Counts {
    /// Posts refused, by whatever reason.
    pub(crate) refused: AtomicU64,
    /// Accepted events whose dispatch never began, because the bus was shut down.
    pub(crate) dropped: AtomicU64,
}

/// Who listens to what, as far as it does not depend on a payload's type.
#[derive(Default)]
pub(crate) struct Patterns {
    pub(crate) dynamic: HashMap<Pattern, Vec<Arc<Dynamic>>>,
    /// How many handlers each worker has for a pattern.
    pub(crate) interest: HashMap<Pattern, HashMap<usize, usize>>,
}

impl Hub {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Arc<Self> {
        let mailboxes = (0..settings.workers)
            .map(|index| Arc::new(Mailbox::new(index, settings.mailbox_capacity)))
            .collect();
        Arc::new(Self {
            settings,
            clock,
            closed: AtomicBool::new(false),
            sequencer: Sequencer::default(),
            mailboxes,
            patterns: Mutex::new(Patterns::default()),
            handlers: Mutex::new(BTreeMap::new()),
            names: Mutex::new(Vec::new()),
            quiet: Notify::new(),
            counts: Counts::default(),
            unique: UniqueKeys::default(),
            tasks: AtomicU64::new(0),
            feed: FeedSlot::default(),
            lifecycle: Broadcast::new(LIFECYCLE_CAPACITY),
        })
    }

    /// Drains the sequencer: now, or after the handler that runs on this thread.
    pub(crate) fn drain_soon(self: &Arc<Self>) {
        Frame::with(|frame| {
            if frame.is_running() {
                frame.defer(Deferred::Drain(Arc::clone(self)));
            } else {
                self.drain();
                frame.settle();
            }
        });
    }

    pub(crate) fn drain(&self) {
        self.sequencer.drain();
        self.maybe_quiet();
    }

    /// Some work has ended: a shutdown looks whether it was the last.
    pub(crate) fn maybe_quiet(&self) {
        if self.is_closed() {
            self.quiet.notify_waiters();
        }
    }

    /// Resolves when `done` holds; it is asked again whenever work has ended.
    pub(crate) async fn quiet_when(&self, done: impl Fn(&Self) -> bool) {
        loop {
            let mut changed = pin!(self.quiet.notified());
            // Listens before it looks, so no end falls in between.
            changed.as_mut().enable();
            if done(self) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn signal(&self, signal: Lifecycle) {
        // What it pushes out is a number; the listener finds out that it missed one.
        let _: Option<Lifecycle> = self.lifecycle.push(signal);
    }

    pub(crate) fn count_refusal(&self) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A listener's queue was closed under a post that had been accepted: by a shutdown, that is a drop; by the
    /// listener's own end it is nobody's loss.
    pub(crate) fn count_if_closing(&self) {
        if self.is_closed() {
            self.count_dropped();
        }
    }

    pub(crate) fn count_dropped(&self) {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The source and event of a channel.
    pub(crate) fn channel_name(&self, index: u32) -> (Arc<str>, Arc<str>) {
        self.names.lock()[index as usize].clone()
    }

    pub(crate) fn next_serial() -> u64 {
        NEXT_SERIAL.fetch_add(1, SerialOrdering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn describe(&self, info: Arc<HandlerInfo>, worker: Option<usize>) {
        self.handlers
            .lock()
            .insert(info.serial, Described { info, worker });
    }

    pub(crate) fn forget(&self, serial: u64) {
        self.handlers.lock().remove(&serial);
    }

    /// Refuses what nests too deep.
    pub(crate) fn check_depth(&self, trail: &Trail, channel: u32) -> Result<(), Refusal> {
        let limit = self.settings.max_depth;
        if trail.depth() <= limit {
            return Ok(());
        }
        let names = self.names.lock();
        let cycle: Vec<_> = trail
            .cycle(channel)
            .into_iter()
            .map(|index| {
                let (source, event) = &names[index as usize];
                format!("{source}/{event}")
            })
            .collect();
        drop(names);
        tracing::error!(
            cycle = cycle.join(" -> "),
            limit,
            "handlers post in a cycle"
        );
        Err(Refusal::TooDeep { cycle, limit })
    }

    /// The dynamic handlers of a channel, each with its level, and the workers that listen, with what to.
    pub(crate) fn listeners(&self, source: &Arc<str>, event: &Arc<str>, crud: bool) -> Listeners {
        let patterns = self.patterns.lock();
        let mut found = Listeners::default();
        for pattern in covering(source, event, crud) {
            if let Some(entries) = patterns.dynamic.get(&pattern) {
                let entries = entries
                    .iter()
                    .map(|entry| (pattern.clone(), Arc::clone(entry)));
                found.dynamic.extend(entries);
            }
            if let Some(workers) = patterns.interest.get(&pattern) {
                for &worker in workers.keys() {
                    *found.workers.entry(worker).or_default() |= interest_bit(pattern.operation());
                }
            }
        }
        found
    }
}

/// See [`Hub::listeners`].
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) dynamic: Vec<(Pattern, Arc<Dynamic>)>,
    pub(crate) workers: BTreeMap<usize, u8>,
}

/// One bit for "all operations" and one for each.
pub(crate) fn interest_bit(operation: Option<Operation>) -> u8 {
    match operation {
        None => 1,
        Some(Operation::Create) => 2,
        Some(Operation::Update) => 4,
        Some(Operation::Delete) => 8,
    }
}

/// The patterns that cover a channel, the wider first.
fn covering(source: &Arc<str>, event: &Arc<str>, crud: bool) -> impl Iterator<Item = Pattern> {
    let operations = Operation::ALL
        .into_iter()
        .filter(move |_| crud)
        .map(|operation| Pattern::Operation(Arc::clone(source), Arc::clone(event), operation));
    [
        Pattern::Everything,
        Pattern::Source(Arc::clone(source)),
        Pattern::Event(Arc::clone(source), Arc::clone(event)),
    ]
    .into_iter()
    .chain(operations)
}
