//! Steps that a model can leave out, to see that it would notice. Compiled for the model checker only.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::sync::{Mutex, MutexGuard};

/// A step of the protocol, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    /// A route is made before the shard's mark is taken away, and put in afterwards.
    RouteMadeBeforeTheMark,
    /// A registration passes over a shard in which a post is under way.
    BusyShardUnmarked,
    /// A log is declared alone for registrations that have changed since.
    CompanyForgotten,
    /// A registration does not empty the shards.
    RegistrationUnannounced,
    /// Events are handed out without the channel's order.
    NoOrder,
    /// A full queue drops an event and reports nothing.
    GapForgotten,
    /// Whoever goes to sleep lets go of the lock between the look and the sleep.
    SleepAfterTheLock,
    /// The drainer lets go of the lock between finding the queue empty and saying that it stops.
    DrainEndsLate,
    /// Two threads drain at once.
    TwoDrainers,
    /// A closing mailbox takes events.
    ClosedAccepts,
    /// Who waits for room does not look again once it listens.
    RoomUnseen,
}

static FAULT: AtomicU8 = AtomicU8::new(Fault::None as u8);

/// Breaks a step in all models from now on.
pub(crate) fn set(fault: Fault) {
    FAULT.store(fault as u8, Ordering::SeqCst);
}

pub(crate) fn is(fault: Fault) -> bool {
    FAULT.load(Ordering::SeqCst) == fault as u8
}

pub(crate) fn unless<T>(fault: Fault, make: impl FnOnce() -> T) -> Option<T> {
    (!is(fault)).then(make)
}

pub(crate) fn or<T>(fault: Fault, right: T, wrong: T) -> T {
    if is(fault) { wrong } else { right }
}

/// Lets go of a lock and takes it again, if going to sleep is broken.
pub(crate) fn relock<'a, T>(lock: &'a Mutex<T>, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    relock_if(Fault::SleepAfterTheLock, lock, guard)
}

pub(crate) fn relock_if<'a, T>(
    fault: Fault,
    lock: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
) -> MutexGuard<'a, T> {
    if !is(fault) {
        return guard;
    }
    drop(guard);
    lock.lock()
}
