//! [`Route`]: who hears of a channel's events, worked out once per change of registrations.
//!
//! A post runs under the route of its thread's shard: a lock that this thread shares with few others, so that
//! posters on several cores do not fight over one cache line. The lock is held while handlers run, and nobody
//! ever waits for it. A post that finds it taken, by another thread of the shard, takes a reference to the common
//! route instead; a registration marks each shard as stale and empties those that it finds free, and whoever holds
//! another empties it on leaving. So whoever registered is heard by every post that begins later,
//! nothing can lock up, and a handler's closure is freed with its registration, or with the post that was still
//! running.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tidings_core::Operation;

use crate::{
    delivery::{feed::Feed, mailbox::Mailbox, queue::Outlet},
    event::dynamic::Event,
    hub::interest_bit,
    route::run::Inline,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering},
};

pub(crate) struct Route<T: Event> {
    /// Handlers of every operation, in order of level, then of registration.
    pub(crate) inline: Box<[Arc<Inline<T>>]>,
    /// Handlers of one operation; they run after the others.
    pub(crate) by_operation: [Box<[Arc<Inline<T>>]>; 3],
    pub(crate) workers: Box<[WorkerRoute]>,
    pub(crate) outlets: Box<[Arc<dyn Outlet<T>>]>,
    /// Whether any inline handler listens.
    pub(crate) has_inline: bool,
    /// Whether inline handlers are all there is, so that the payload may stay on the poster's stack.
    pub(crate) inline_only: bool,
    /// Whether one of the inline handlers takes the dynamic form.
    pub(crate) has_dynamic: bool,
    /// Whether one of the outlets may refuse a post.
    pub(crate) strict: bool,
    pub(crate) feed: Option<Arc<Feed>>,
    /// Whether one log is all that listens, so that posts may write right into it; and the state of
    /// registrations that this was true of.
    pub(crate) lone_log: Option<u64>,
}

pub(crate) struct WorkerRoute {
    pub(crate) mailbox: Arc<Mailbox>,
    /// See [`interest_bit`].
    pub(crate) interest: u8,
}

impl WorkerRoute {
    pub(crate) fn wants(&self, operation: Option<Operation>) -> bool {
        self.interest & (interest_bit(None) | interest_bit(operation)) != 0
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

/// Copies of a channel's route, each for its share of the threads, and one for whoever finds its shard taken.
pub(crate) struct Shards<T: Event> {
    shards: Box<[CachePadded<Shard<T>>]>,
    common: Mutex<Option<Arc<Route<T>>>>,
    /// Posts that went by the common route.
    posted: AtomicU64,
}

struct Shard<T: Event> {
    /// None after a registration came or went. Only ever tried, never waited for.
    route: Mutex<Option<Arc<Route<T>>>>,
    /// A registration came or went since the route was made.
    stale: AtomicBool,
    /// Posts that went by this shard; written under the lock.
    posted: AtomicU64,
}

/// Counts the post that holds it.
pub(crate) struct Tally<'a> {
    posted: &'a AtomicU64,
    /// Whether nobody else writes it now.
    alone: bool,
}

impl Tally<'_> {
    /// How many posts were counted here before this one.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        if self.alone {
            let before = self.posted.load(Ordering::Relaxed);
            self.posted.store(before + 1, Ordering::Relaxed);
            return before;
        }
        self.posted.fetch_add(1, Ordering::Relaxed)
    }
}

impl<T: Event> Shard<T> {
    fn new() -> Self {
        Self {
            route: Mutex::new(None),
            stale: AtomicBool::new(false),
            posted: AtomicU64::new(0),
        }
    }

    /// Empties a stale shard, unless somebody is in it: then that is for them to do when they leave.
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
            drop(old);
            // Once more: a mark that was made meanwhile found the lock taken.
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
            posted: AtomicU64::new(0),
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
        #[cfg(shuttle)]
        let made_early =
            crate::faults::is(crate::faults::Fault::RouteMadeBeforeTheMark).then(|| make());
        let mut old = None;
        if shard.stale.load(Ordering::Acquire) {
            // Taken away first: a registration that `make` does not see marks the shard anew.
            shard.stale.swap(false, Ordering::AcqRel);
            old = slot.take();
        }
        #[cfg(shuttle)]
        if let Some(made) = made_early
            && slot.is_none()
        {
            *slot = Some(made);
        }
        let route = match &*slot {
            Some(route) => route,
            None => &*slot.insert(make()),
        };
        let tally = Tally {
            posted: &shard.posted,
            alone: true,
        };
        let result = body(route, &tally);
        drop(slot);
        if shard.stale.load(Ordering::SeqCst) {
            shard.empty();
        }
        drop(old);
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
            posted: &self.posted,
            alone: false,
        };
        body(&route, &tally)
    }

    /// Who enters from now on finds the registrations as they are now.
    pub(crate) fn invalidate(&self) {
        #[cfg(shuttle)]
        if crate::faults::is(crate::faults::Fault::RegistrationUnannounced) {
            return;
        }
        for shard in &self.shards {
            #[cfg(shuttle)]
            if crate::faults::is(crate::faults::Fault::BusyShardUnmarked)
                && shard.route.try_lock().is_none()
            {
                continue;
            }
            shard.stale.store(true, Ordering::SeqCst);
            shard.empty();
        }
        let old = self.common.lock().take();
        drop(old); // outside the lock
    }

    pub(crate) fn posted(&self) -> u64 {
        let shards = self.shards.iter().map(|shard| &shard.posted);
        shards
            .chain([&self.posted])
            .map(|posted| posted.load(Ordering::Relaxed))
            .sum()
    }
}
