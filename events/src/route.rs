//! [`Route`]: who hears of a channel's events, worked out once per change of registrations.
//!
//! A post takes the route from its thread's shard: a lock and a reference count that this thread shares with
//! few others, so that posters on several cores do not fight over one cache line. Registering empties every
//! shard; the next post fills its own again. So whoever registered is heard by every post that begins later,
//! and a handler's closure is freed with its registration, not with the next post.

use std::sync::Arc;

use tidings_core::Operation;

use crate::{
    dispatch::Inline, event::Event, feed::Feed, hub::interest_bit, mailbox::Mailbox, queue::Outlet,
    sync::Mutex,
};

pub(crate) struct Route<T: Event> {
    /// Handlers of every operation, in order of level, then of registration.
    pub(crate) inline: Box<[Arc<Inline<T>>]>,
    /// Handlers of one operation; they run after the others.
    pub(crate) by_operation: [Box<[Arc<Inline<T>>]>; 3],
    pub(crate) workers: Box<[WorkerRoute]>,
    pub(crate) outlets: Box<[Arc<dyn Outlet<T>>]>,
    /// Whether one of the outlets may refuse a post.
    pub(crate) strict: bool,
    pub(crate) feed: Option<Arc<Feed>>,
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

    /// Whether inline handlers are all there is, so that the payload may stay on the poster's stack.
    #[inline]
    pub(crate) fn is_inline_only(&self) -> bool {
        self.workers.is_empty() && self.outlets.is_empty() && self.feed.is_none()
    }
}

/// Copies of a channel's route, each read by its share of the threads.
pub(crate) struct Shards<T: Event> {
    shards: Box<[Shard<T>]>,
}

/// On a cache line of its own, with the posts counted through it: counting under the lock costs nothing more.
#[repr(align(64))]
struct Shard<T: Event>(Mutex<ShardState<T>>);

struct ShardState<T: Event> {
    /// None after a registration came or went.
    route: Option<Arc<Route<T>>>,
    posted: u64,
}

impl<T: Event> ShardState<T> {
    /// Made under the lock: a registration that `make` has not seen empties this shard afterwards.
    #[inline]
    fn route(&mut self, make: impl FnOnce() -> Arc<Route<T>>) -> Arc<Route<T>> {
        match &self.route {
            Some(route) => Arc::clone(route),
            None => Arc::clone(self.route.insert(make())),
        }
    }
}

impl<T: Event> Shards<T> {
    pub(crate) fn new(count: usize) -> Self {
        let empty = || {
            Shard(Mutex::new(ShardState {
                route: None,
                posted: 0,
            }))
        };
        Self {
            shards: (0..count.next_power_of_two()).map(|_| empty()).collect(),
        }
    }

    /// The route, and how many posts this shard counted, this one included.
    #[inline]
    pub(crate) fn read(
        &self,
        thread: usize,
        make: impl FnOnce() -> Arc<Route<T>>,
    ) -> (Arc<Route<T>>, u64) {
        #[cfg(shuttle)]
        if crate::faults::is(crate::faults::Fault::RouteMadeBeforeTheLock) {
            let route = self.shard(thread).lock().route.clone().unwrap_or_else(make);
            let mut state = self.shard(thread).lock();
            state.posted += 1;
            return (Arc::clone(state.route.insert(route)), state.posted);
        }
        let mut state = self.shard(thread).lock();
        state.posted += 1;
        let posted = state.posted;
        (state.route(make), posted)
    }

    /// The route, without counting a post.
    pub(crate) fn peek(
        &self,
        thread: usize,
        make: impl FnOnce() -> Arc<Route<T>>,
    ) -> Arc<Route<T>> {
        self.shard(thread).lock().route(make)
    }

    /// A post that was counted did not take place.
    pub(crate) fn uncount(&self, thread: usize) {
        self.shard(thread).lock().posted -= 1;
    }

    #[inline]
    fn shard(&self, thread: usize) -> &Mutex<ShardState<T>> {
        &self.shards[thread & (self.shards.len() - 1)].0
    }

    /// Who reads from now on sees the registrations as they are now.
    pub(crate) fn invalidate(&self) {
        #[cfg(shuttle)]
        if crate::faults::is(crate::faults::Fault::RegistrationUnannounced) {
            return;
        }
        for shard in &self.shards {
            let stale = shard.0.lock().route.take();
            // Outside the lock: the last reference drops closures, and those may post.
            drop(stale);
        }
    }

    pub(crate) fn posted(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.lock().posted).sum()
    }
}
