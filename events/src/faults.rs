//! Steps of the bus's order that a model can leave out, to show that it would notice.
//!
//! In an ordinary build no step is ever removed: [`removed`] is the constant `false` and [`window`]
//! returns its argument, so production code asks in plain Rust and pays nothing. The models (`--cfg
//! shuttle`, `scripts/model`) put a switch in their place. A wrong order is the right step twice:
//! early under `if removed(step)`, and in its place under `if !removed(step)`.

#[cfg(all(shuttle, test))]
pub(crate) use self::model::remove;
use crate::sync::{Mutex, MutexGuard};

/// One step, or one place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A route is made after the shard's mark was taken away.
    RouteFollowsMark,
    /// A registration marks a shard in which a post is under way.
    BusyShardIsMarked,
    /// A log is declared alone only if registrations are still those of the route.
    LogAsksForCompany,
    /// A registration empties the shards.
    RegistrationIsAnnounced,
    /// Events are handed out in the channel's order.
    PostsAreOrdered,
    /// A full queue reports the event that it drops.
    GapIsReported,
    /// A listener that goes to sleep holds the lock from its last check on.
    SleepHoldsLock,
    /// The drainer finds the queue empty and says that it stops under one lock.
    DrainEndsUnderLock,
    /// One thread drains at a time.
    OneDrainer,
    /// A closing mailbox refuses events.
    ClosedRefuses,
    /// A poster that waits for room checks again once it listens.
    RoomIsCheckedAgain,
    /// The thread that sends the live feed finds nothing staged and says that it stops under one
    /// lock.
    FeedEndsUnderLock,
    /// The last handle of a channel ends its queues.
    LastHandleEndsQueues,
    /// A worker that sleeps is woken by the end of the bus.
    EndWakesWorkers,
}

/// Returns whether a step is to be left out: never, in an ordinary build.
#[cfg(not(shuttle))]
#[inline(always)]
pub(crate) const fn removed(_: Step) -> bool {
    false
}

/// Returns whether a step is to be left out.
#[cfg(shuttle)]
pub(crate) fn removed(step: Step) -> bool {
    model::is_off(step)
}

/// Returns the guard as it is. In a model, if the step is left out, the lock is released and taken
/// again: the window that holding it closes.
#[cfg(not(shuttle))]
#[inline(always)]
pub(crate) fn window<'a, T>(
    _: Step,
    guard: MutexGuard<'a, T>,
    _: &'a Mutex<T>,
) -> MutexGuard<'a, T> {
    guard
}

/// Releases the lock and takes it again if the step is left out.
#[cfg(shuttle)]
pub(crate) fn window<'a, T>(
    step: Step,
    guard: MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
) -> MutexGuard<'a, T> {
    if !removed(step) {
        return guard;
    }
    drop(guard);
    mutex.lock()
}

/// The switch: one step for all models of the process, which run one at a time.
#[cfg(shuttle)]
mod model {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Step;

    /// One more than the step that is left out; zero for none.
    static OFF: AtomicU8 = AtomicU8::new(0);

    /// Leaves this step out from now on, or none.
    #[cfg(test)]
    pub(crate) fn remove(step: Option<Step>) {
        OFF.store(step.map_or(0, |step| step as u8 + 1), Ordering::SeqCst);
    }

    pub(super) fn is_off(step: Step) -> bool {
        OFF.load(Ordering::SeqCst) == step as u8 + 1
    }
}
