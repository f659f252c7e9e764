//! [`Frame`]: per-thread state while handlers run: which event, and what they posted.
//!
//! A post from inside a handler is put aside and dispatched after the current event has been
//! handled by every handler of this thread (breadth first). So handlers never nest, however they
//! post to each other.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_core::Cause;

use crate::{
    event::{posted::Posted, trail::Trail},
    isolate::isolated,
    room::shrink,
    sync,
    thread::record::ThreadRecord,
};

/// How many posts of its handlers a thread keeps for after the current event.
pub(crate) const MAX_PENDING: usize = 65_536;

/// A queue of changes that this thread was asked to empty.
pub(crate) trait Drain: Send + Sync {
    fn drain(&self);
}

/// Work put aside by a handler.
pub(crate) enum Deferred {
    /// An event on a plain channel.
    Post(Arc<dyn Posted>),
    /// Changes are queued on a bus. Shared, not boxed: a nested post of a change allocates nothing
    /// for it.
    Drain(Arc<dyn Drain>),
}

pub(crate) struct Frame {
    running: Cell<bool>,
    /// The channel of the event that is being handled, and the trail by which the event came.
    /// Apart, because most events have no trail: then the post pays for one store.
    channel: Cell<u32>,
    trail: Cell<Trail>,
    /// Whether `pending` holds something; a cell of its own because every post asks.
    has_pending: Cell<bool>,
    /// Whether `pending` is being worked off further up this thread's stack.
    working_off: Cell<bool>,
    pending: RefCell<VecDeque<Deferred>>,
    shard: usize,
    record: Arc<ThreadRecord>,
}

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

sync::thread_local! {
    static FRAME: Frame = Frame::new();
}

/// Returns whether this thread runs a handler of a bus right now.
///
/// A write made inside a handler does not wait for the handlers of its own change: they run after
/// the current one.
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
            working_off: Cell::new(false),
            pending: RefCell::new(VecDeque::new()),
            shard: NEXT_SHARD.fetch_add(1, Ordering::Relaxed),
            record: ThreadRecord::register(),
        }
    }

    /// Reads this thread's frame, or a temporary one while the thread is being torn down.
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

    /// Returns whether handlers run, or what they put aside is being worked off.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.get() || self.working_off.get()
    }

    /// Returns which copy of each channel's route this thread reads.
    #[inline]
    pub(crate) fn shard(&self) -> usize {
        self.shard
    }

    /// Returns what the watchdog sees of this thread.
    #[inline]
    pub(crate) fn record(&self) -> &ThreadRecord {
        &self.record
    }

    /// Returns the trail of what the running handler posts.
    pub(crate) fn trail(&self) -> Trail {
        self.trail.get().after(self.channel.get())
    }

    /// Returns the trail of what this thread posts now: that of the running handler, or a new one.
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

        let _over = Running {
            frame: self,
            had_trail: trail.is_some(),
        };
        handlers()
    }

    /// Puts work aside for after the current event. See [`has_room`](Self::has_room) for posts.
    pub(crate) fn defer(&self, work: Deferred) {
        self.pending.borrow_mut().push_back(work);
        self.has_pending.set(true);
    }

    /// Returns whether there is room for one more post.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.borrow().len() < MAX_PENDING
    }

    /// Runs the work that was put aside, and the work that this puts aside in turn.
    #[inline]
    pub(crate) fn run_deferred(&self) {
        if self.has_pending.get() && !self.running.get() && !self.working_off.replace(true) {
            self.work_off();
        }
    }

    #[cold]
    fn work_off(&self) {
        let _over = WorkingOff(self);

        loop {
            let next = self.pending.borrow_mut().pop_front();
            match next {
                Some(Deferred::Post(posted)) => {
                    isolated("the dispatch of an event", || posted.dispatch());
                }
                Some(Deferred::Drain(queue)) => {
                    isolated("the dispatch of changes", || queue.drain());
                }
                None => return,
            }
        }
    }
}

/// Ends a run of handlers, however it ended.
struct Running<'a> {
    frame: &'a Frame,
    had_trail: bool,
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        self.frame.running.set(false);
        if self.had_trail {
            self.frame.trail.set(Trail::default());
        }
    }
}

/// Ends the work on what was put aside, however it ended.
struct WorkingOff<'a>(&'a Frame);

impl Drop for WorkingOff<'_> {
    fn drop(&mut self) {
        let mut pending = self.0.pending.borrow_mut();
        shrink(&mut pending);
        self.0.has_pending.set(!pending.is_empty());
        self.0.working_off.set(false);
    }
}

/// Runs `body` under the event's cause.
#[inline]
pub(crate) fn under<R>(cause: Option<Cause>, body: impl FnOnce() -> R) -> R {
    let _cause = cause.map(Cause::enter);
    body()
}
