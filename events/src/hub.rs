//! [`Hub`]: what all channels of a bus share. Channels own it and it owns no channel, so there is
//! no reference cycle.

/// Which keys of unique posts are within their window.
pub(crate) mod unique;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64 as Serial, Ordering as SerialOrdering},
    },
    time::Duration,
};

use tidings_core::clock::Clock;

use crate::{
    delivery::{
        feed::{Broadcast, Feed, FeedSlot, Lifecycle, LifecycleFeed, LiveFeed},
        mailbox::{Mailbox, MailboxStats},
        sequencer::{EnqueueError, Open, Sequencer, SequencerStats},
        work::Work,
    },
    error::Refusal,
    event::{
        info::{self, ChannelInfo},
        posted::Posted,
        trail::Trail,
    },
    hub::unique::{Claim, UniqueKeys},
    isolate::quietly,
    route::registry::Registry,
    settings::Settings,
    sync::{AtomicBool, AtomicU64, Ordering},
    thread::{
        frame::{Deferred, Drain, Frame},
        places::BusId,
    },
};

/// Handlers are numbered across all buses of the process, so that the number in a thread's record
/// names exactly one.
static NEXT_SERIAL: Serial = Serial::new(1);

/// How many lifecycle events a listener may leave unread.
const LIFECYCLE_CAPACITY: usize = 256;

pub(crate) struct Hub {
    id: BusId,
    settings: Settings,
    /// Nothing new is accepted. Kept here and in `work`, because every post reads it.
    closed: AtomicBool,
    work: Arc<Work>,
    sequencer: Sequencer,
    mailboxes: Box<[Arc<Mailbox>]>,
    registry: Registry,
    /// Posts refused, for any reason.
    refused: AtomicU64,
    unique: UniqueKeys,
    feed: FeedSlot,
    lifecycle: Broadcast<Lifecycle>,
}

impl Hub {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let mailboxes = (0..settings.workers)
            .map(|index| Arc::new(Mailbox::new(index, settings.mailbox_capacity)))
            .collect();

        Arc::new(Self {
            id: BusId(Self::next_serial()),
            settings,
            closed: AtomicBool::new(false),
            work: Arc::default(),
            sequencer: Sequencer::default(),
            mailboxes,
            registry: Registry::default(),
            refused: AtomicU64::new(0),
            unique: UniqueKeys::default(),
            feed: FeedSlot::default(),
            lifecycle: Broadcast::new(LIFECYCLE_CAPACITY),
        })
    }

    pub(crate) fn next_serial() -> u64 {
        NEXT_SERIAL.fetch_add(1, SerialOrdering::Relaxed)
    }

    pub(crate) fn id(&self) -> BusId {
        self.id
    }

    #[inline]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.settings.clock
    }

    pub(crate) fn work(&self) -> &Arc<Work> {
        &self.work
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn mailboxes(&self) -> &[Arc<Mailbox>] {
        &self.mailboxes
    }

    pub(crate) fn mailbox_stats(&self) -> Vec<MailboxStats> {
        self.mailboxes
            .iter()
            .map(|mailbox| mailbox.stats())
            .collect()
    }

    /// Refuses a post that nests too deep.
    pub(crate) fn check_depth(&self, trail: &Trail, channel: &ChannelInfo) -> Result<(), Refusal> {
        let limit = self.settings.max_depth;
        if trail.depth() <= limit {
            return Ok(());
        }

        let cycle: Vec<_> = trail
            .cycle(channel.id)
            .into_iter()
            .map(|id| {
                let (source, event) = info::name_of(id);
                format!("{source}/{event}")
            })
            .collect();
        quietly(|| {
            tracing::error!(
                cycle = cycle.join(" -> "),
                limit,
                "handlers post in a cycle"
            );
        });

        Err(Refusal::TooDeep { cycle, limit })
    }
}

/// Counts.
impl Hub {
    pub(crate) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self) {
        self.work.count_lost();
    }

    /// Counts an accepted post that found a listener's queue closed: by a shutdown, that is a drop;
    /// by the listener's own end it is no loss.
    pub(crate) fn count_if_closing(&self) {
        if self.is_closed() {
            self.count_dropped();
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how many accepted events were not handed to their listeners.
    pub(crate) fn undelivered(&self) -> u64 {
        self.work.lost()
    }

    /// Returns how many accepted events were not handed to their listeners, or were accepted by a
    /// worker and never handled.
    pub(crate) fn dropped(&self) -> u64 {
        let in_mailboxes: u64 = self
            .mailboxes
            .iter()
            .map(|mailbox| mailbox.stats().dropped)
            .sum();
        self.undelivered() + in_mailboxes
    }
}

/// The order of changes.
impl Hub {
    /// Assigns a change its place in the order.
    pub(crate) fn enqueue(&self, change: &Arc<dyn Posted>, open: Open) -> Result<(), EnqueueError> {
        self.sequencer.enqueue(change, open)
    }

    /// Notes a change that found no room: its listeners find a gap in its place.
    pub(crate) fn lose(&self, change: Arc<dyn Posted>, open: Open) {
        self.sequencer.lose(change, open);
    }

    /// Drains the sequencer: now, or after the handler that runs on this thread.
    pub(crate) fn drain_soon(self: &Arc<Self>) {
        Frame::with(|frame| {
            if frame.is_running() {
                frame.defer(Deferred::Drain(Arc::clone(self) as _));
            } else {
                self.drain();
                frame.run_deferred();
            }
        });
    }

    pub(crate) fn sequencer_stats(&self) -> SequencerStats {
        self.sequencer.stats()
    }
}

impl Drain for Hub {
    fn drain(&self) {
        self.sequencer.drain();
        self.work.ended();
    }
}

/// Posts to one worker.
impl Hub {
    /// Takes a key of unique posts for its window.
    pub(crate) fn claim_key(
        &self,
        channel: &ChannelInfo,
        key: &str,
        window: Duration,
    ) -> Result<Claim, Refusal> {
        let now = self.clock().now();
        self.unique.claim(channel.id, key, now, window)
    }

    /// Frees a key whose event no worker took.
    pub(crate) fn forget_key(&self, channel: &ChannelInfo, key: &str) {
        self.unique.forget(channel.id, key);
    }
}

/// Feeds.
impl Hub {
    pub(crate) fn current_feed(&self) -> Option<Arc<Feed>> {
        self.feed.current()
    }

    /// Opens the feed of all events; returns whether it is new.
    pub(crate) fn open_feed(&self, capacity: usize) -> (LiveFeed, bool) {
        self.feed.open(capacity)
    }

    pub(crate) fn listen_to_lifecycle(&self) -> LifecycleFeed {
        LifecycleFeed::new(self.lifecycle.listen())
    }

    pub(crate) fn signal(&self, turn: Lifecycle) {
        self.lifecycle.push(turn);
    }
}

/// The end.
impl Hub {
    /// Refuses posts and registrations from now on.
    pub(crate) fn refuse_new(self: &Arc<Self>) {
        self.closed.store(true, Ordering::Release);
        self.work.close();
        self.sequencer.close();
        self.signal(Lifecycle::Closing);
        self.drain_soon();
    }

    /// Waits until everything that was accepted has been handled.
    pub(crate) async fn drained(&self) {
        // The sequencer feeds the mailboxes, so it has to be empty before they close.
        self.work.until(|| self.sequencer.is_idle()).await;
        self.close_mailboxes();

        self.work
            .until(|| {
                self.mailboxes.iter().all(|mailbox| !mailbox.is_behind()) && !self.work.has_tasks()
            })
            .await;
    }

    /// Lets the workers handle what they have, and then end.
    pub(crate) fn close_mailboxes(&self) {
        for mailbox in &self.mailboxes {
            mailbox.close_intake();
        }
    }

    /// Returns the workers that have not handled what they accepted.
    pub(crate) fn late_workers(&self) -> Vec<usize> {
        let late = self.mailboxes.iter().filter(|mailbox| mailbox.is_behind());
        late.map(|mailbox| mailbox.index()).collect()
    }

    /// Drops and counts what was accepted and not handled.
    pub(crate) fn discard_rest(&self) {
        for posted in self.sequencer.take_rest() {
            posted.discard();
        }

        for mailbox in &self.mailboxes {
            for posted in mailbox.close() {
                if let Some(completion) = posted.meta().completion() {
                    completion.missed_by_one();
                    completion.worker_done(mailbox.index());
                }
            }
        }
    }

    /// Ends the feeds; what is in them can still be received.
    pub(crate) fn close_feeds(&self) {
        self.feed.close();
        self.lifecycle.close();
    }
}
