//! What a thread that runs handlers knows: that it does, for which event, and what was posted meanwhile.
//!
//! A post from inside a handler is put aside and dispatched after the current event has been handled by every
//! handler of this thread (breadth first). So handlers never nest, however they post to each other.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::Arc,
};

use tidings_core::Cause;

use crate::{
    api::watchdog::ThreadRecord, delivery::envelope::Posted, event::trail::Trail, hub::Hub, sync,
};

/// How many posts of its handlers a thread keeps for after the current event.
pub(crate) const MAX_PENDING: usize = 65_536;

/// Work put aside by a handler.
pub(crate) enum Deferred {
    /// An event on a plain channel.
    Post(Arc<dyn Posted>),
    /// Changes stand in this bus's sequencer.
    Drain(Arc<Hub>),
}

pub(crate) struct Frame {
    running: Cell<bool>,
    /// The channel of the event that is being handled, and the trail by which the event came. Apart, because
    /// most events have no trail: then the post pays for one store.
    channel: Cell<u32>,
    trail: Cell<Trail>,
    /// Whether `pending` holds something; a cell of its own because every post asks.
    has_pending: Cell<bool>,
    /// Whether `pending` is being worked off further up this thread's stack.
    settling: Cell<bool>,
    /// Which copy of each channel's route this thread reads.
    pub(crate) shard: usize,
    pending: RefCell<VecDeque<Deferred>>,
    /// What the watchdog sees of this thread.
    pub(crate) record: Arc<ThreadRecord>,
}

static NEXT_SHARD: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

sync::thread_local! {
    static FRAME: Frame = Frame::new();
}

/// Whether this thread runs a handler of a bus right now.
///
/// A write made inside a handler does not wait for the handlers of its own change: they run after the current
/// one.
#[must_use]
#[inline]
pub fn in_handler() -> bool {
    // While the thread is torn down it runs no handler.
    FRAME.try_with(|frame| frame.running.get()).unwrap_or(false)
}

impl Frame {
    fn new() -> Self {
        Self {
            running: Cell::new(false),
            channel: Cell::new(0),
            trail: Cell::new(Trail::default()),
            has_pending: Cell::new(false),
            settling: Cell::new(false),
            shard: NEXT_SHARD.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            pending: RefCell::new(VecDeque::new()),
            record: ThreadRecord::register(),
        }
    }

    /// Reads this thread's frame; one made for the occasion while the thread is being torn down.
    #[inline]
    pub(crate) fn with<R>(read: impl FnOnce(&Self) -> R) -> R {
        let mut read = Some(read);
        FRAME
            .try_with(|frame| read.take().map(|read| read(frame)))
            .ok()
            .flatten()
            .or_else(|| read.take().map(|read| read(&Self::new())))
            .expect("exactly one of the two closures above ran, and each takes `read` once")
    }

    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.running.get()
    }

    /// The trail of what the running handler posts.
    pub(crate) fn trail(&self) -> Trail {
        self.trail.get().after(self.channel.get())
    }

    /// The trail of what this thread posts now: that of the running handler, or a new one.
    pub(crate) fn trail_of_posts(&self) -> Trail {
        if self.is_running() {
            self.trail()
        } else {
            Trail::default()
        }
    }

    /// Runs handlers of an event on `channel` that came by `trail`.
    #[inline]
    pub(crate) fn run<R>(
        &self,
        channel: u32,
        trail: Option<&Trail>,
        handlers: impl FnOnce() -> R,
    ) -> R {
        self.running.set(true);
        self.channel.set(channel);
        if let Some(trail) = trail {
            self.trail.set(*trail);
        }
        // No guard: `handlers` catches every panic, and the frame is only read by this thread.
        let result = handlers();
        self.running.set(false);
        if trail.is_some() {
            self.trail.set(Trail::default());
        }
        result
    }

    /// Puts work aside for after the current event. See [`has_room`](Self::has_room) for posts.
    pub(crate) fn defer(&self, work: Deferred) {
        self.pending.borrow_mut().push_back(work);
        self.has_pending.set(true);
    }

    /// Whether there is room for one more post.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.borrow().len() < MAX_PENDING
    }

    /// Does what was put aside, and what that puts aside.
    #[inline]
    pub(crate) fn settle(&self) {
        if self.has_pending.get() && !self.running.get() && !self.settling.replace(true) {
            self.settle_pending();
        }
    }

    #[cold]
    fn settle_pending(&self) {
        loop {
            let next = self.pending.borrow_mut().pop_front();
            match next {
                Some(Deferred::Post(posted)) => posted.dispatch(),
                Some(Deferred::Drain(hub)) => hub.drain(),
                None => break,
            }
        }
        self.has_pending.set(false);
        self.settling.set(false);
    }
}

/// Runs `body` under the event's cause.
#[inline]
pub(crate) fn under<R>(cause: Option<Cause>, body: impl FnOnce() -> R) -> R {
    let _cause = cause.map(Cause::enter);
    body()
}
