//! [`Route`]: the receivers of a channel's events, computed once per change of registrations.
//!
//! A post runs under the route of its thread's shard: a lock that this thread shares with few
//! others, so that posters on several cores do not fight over one cache line. The lock is held
//! while handlers run, and no one ever waits for it. A post that finds it taken, by another thread
//! of the shard, takes a reference to the common route instead; a registration marks each shard as
//! stale and empties those that it finds free, and a post that holds another empties it on leaving.
//! So every post that begins after a registration sees it, no deadlock is possible, and a handler's
//! closure is freed with its registration, or with the post that was still running.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tidings_core::Operation;

use crate::{
    delivery::{feed::Feed, mailbox::Mailbox, queue::outlet::Outlet},
    event::payload::Event,
    faults::{self, Step},
    isolate::discard,
    route::{
        registry::Operations,
        run::{Inline, Timing, next_sample},
    },
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};

pub(crate) struct Route<T: Event> {
    /// Handlers of every operation, in order of level, then of registration.
    pub(crate) inline: Box<[Arc<Inline<T>>]>,
    /// Handlers of one operation; they run after the others.
    pub(crate) by_operation: [Box<[Arc<Inline<T>>]>; 3],
    pub(crate) workers: Box<[WorkerRoute]>,
    pub(crate) outlets: Box<[Arc<dyn Outlet<T>>]>,
    pub(crate) feed: Option<Arc<Feed>>,
    pub(crate) shape: Shape,
    /// Set if one log is the only listener, so that posts may write right into it: the state of the
    /// registrations for which that was true.
    pub(crate) lone_log: Option<Registrations>,
}

/// What kinds of listeners a route has; computed once, when the route is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Inline handlers are all there is, so the payload may stay on the poster's stack.
    Inline {
        /// Whether one of them takes the dynamic form.
        dynamic: bool,
    },
    /// Workers, queues or the feed listen too.
    Mixed {
        /// Whether any inline handler listens.
        inline: bool,
        /// Whether one of the queues may refuse a post.
        strict: bool,
    },
}

/// How often registrations of a channel had changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registrations(pub(crate) u64);

pub(crate) struct WorkerRoute {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) operations: Operations,
}

impl WorkerRoute {
    pub(crate) fn wants(&self, operation: Option<Operation>) -> bool {
        self.operations.cover(operation)
    }
}

impl<T: Event> Route<T> {
    #[inline]
    pub(crate) fn narrow(&self, operation: Option<Operation>) -> &[Arc<Inline<T>>] {
        match operation {
            None => &[],
            Some(Operation::Create) => &self.by_operation[0],
            Some(Operation::Update) => &self.by_operation[1],
            Some(Operation::Delete) => &self.by_operation[2],
        }
    }
}

/// Copies of a channel's route, each for its share of the threads, and one for posts that find
/// their shard taken.
pub(crate) struct Shards<T: Event> {
    shards: Box<[CachePadded<Shard<T>>]>,
    common: Mutex<Option<Arc<Route<T>>>>,
    /// Posts that went by the common route.
    counts: Counts,
}

/// The posts that went by one copy of the route.
#[derive(Default)]
struct Counts {
    posted: AtomicU64,
    /// The next post whose handlers are timed.
    sample_at: AtomicU64,
}

struct Shard<T: Event> {
    /// `None` after a registration came or went. Threads only try the lock, and never wait for it.
    route: Mutex<Option<Arc<Route<T>>>>,
    /// A registration came or went since the route was made.
    stale: AtomicBool,
    /// Posts that went by this shard; written under the lock.
    counts: Counts,
}

/// Counts the post that holds it.
pub(crate) struct Tally<'a> {
    counts: &'a Counts,
    access: Access,
}

impl Tally<'_> {
    /// Counts the post; returns whether its handlers are timed.
    #[inline]
    pub(crate) fn count(&self) -> Timing {
        let posted = &self.counts.posted;
        let before = match self.access {
            Access::Exclusive => {
                let before = posted.load(Ordering::Relaxed);
                posted.store(before + 1, Ordering::Relaxed);
                before
            }
            Access::Shared => posted.fetch_add(1, Ordering::Relaxed),
        };

        if before != self.counts.sample_at.load(Ordering::Relaxed) {
            return Timing::Off;
        }
        let next = next_sample(before);
        self.counts.sample_at.store(next, Ordering::Relaxed);
        Timing::On
    }
}

/// Which threads may write a count at the moment.
#[derive(Clone, Copy)]
enum Access {
    /// Only the holder of the shard's lock.
    Exclusive,
    Shared,
}

impl<T: Event> Shard<T> {
    fn new() -> Self {
        Self {
            route: Mutex::new(None),
            stale: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// Empties a stale shard, unless a post is using it; that post empties it on its way out.
    #[cold]
    fn empty(&self) {
        while self.stale.load(Ordering::SeqCst) {
            let Some(mut route) = self.route.try_lock() else {
                return;
            };
            self.stale.swap(false, Ordering::SeqCst);
            let old = route.take();
            drop(route);
            // Outside the lock: the last reference drops closures, and those may post.
            discard("a handler's capture", old);
            // Once more: a mark that was made while the lock was held found it taken.
        }
    }
}

impl<T: Event> Shards<T> {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            shards: (0..count.next_power_of_two())
                .map(|_| CachePadded::new(Shard::new()))
                .collect(),
            common: Mutex::new(None),
            counts: Counts::default(),
        }
    }

    /// Runs `body` with the route; `make` makes it where registrations changed.
    #[inline]
    pub(crate) fn enter<R>(
        &self,
        thread: usize,
        make: impl Fn() -> Arc<Route<T>>,
        body: impl FnOnce(&Arc<Route<T>>, &Tally<'_>) -> R,
    ) -> R {
        let shard = &self.shards[thread & (self.shards.len() - 1)];
        let Some(mut slot) = shard.route.try_lock() else {
            return self.enter_common(make, body);
        };

        // The mark is taken away before the route is made: a registration that `make` does not see
        // marks the shard again.
        let mut old = None;
        if faults::removed(Step::RouteFollowsMark) && slot.is_none() {
            *slot = Some(make());
        }

        if shard.stale.load(Ordering::Acquire) {
            shard.stale.swap(false, Ordering::AcqRel);
            if !faults::removed(Step::RouteFollowsMark) {
                old = slot.take();
            }
        }

        let route = match &*slot {
            Some(route) => route,
            None => &*slot.insert(make()),
        };

        let tally = Tally {
            counts: &shard.counts,
            access: Access::Exclusive,
        };
        let result = body(route, &tally);
        drop(slot);

        if shard.stale.load(Ordering::SeqCst) {
            shard.empty();
        }

        if let Some(old) = old {
            discard("a handler's capture", old);
        }
        result
    }

    #[cold]
    fn enter_common<R>(
        &self,
        make: impl Fn() -> Arc<Route<T>>,
        body: impl FnOnce(&Arc<Route<T>>, &Tally<'_>) -> R,
    ) -> R {
        // Made under the lock: a registration that `make` has not seen empties it afterwards.
        let route = Arc::clone(self.common.lock().get_or_insert_with(make));
        let tally = Tally {
            counts: &self.counts,
            access: Access::Shared,
        };
        body(&route, &tally)
    }

    /// Lets every post that enters from now on see the current registrations.
    pub(crate) fn invalidate(&self) {
        if faults::removed(Step::RegistrationIsAnnounced) {
            return;
        }

        for shard in &self.shards {
            if faults::removed(Step::BusyShardIsMarked) && shard.route.try_lock().is_none() {
                continue;
            }
            shard.stale.store(true, Ordering::SeqCst);
            shard.empty();
        }

        let old = self.common.lock().take();
        discard("a handler's capture", old); // outside the lock
    }

    pub(crate) fn posted(&self) -> u64 {
        let shards = self.shards.iter().map(|shard| &shard.counts);
        shards
            .chain([&self.counts])
            .map(|counts| counts.posted.load(Ordering::Relaxed))
            .sum()
    }
}
