//! Steps of the order that a model or the random checker can leave out, to show that it would
//! notice.
//!
//! In an ordinary build no step is ever removed: [`removed`] is the constant `false` and [`window`]
//! returns its argument, so production code asks in plain Rust and pays nothing. The models
//! (`--cfg shuttle`, `scripts/model`) and the random checker (`--cfg tidings_faults`,
//! `scripts/check-guards`) put switches in their place. A wrong order is the right step twice:
//! early under `if removed(step)`, and in its place under `if !removed(step)`.

#[cfg(all(shuttle, test))]
pub(crate) use self::model::remove;
#[cfg(shuttle)]
use self::model::{pause, switched_off};
#[cfg(all(tidings_faults, not(shuttle)))]
pub use self::real::{guards, remove_guard};
#[cfg(all(tidings_faults, not(shuttle)))]
use self::real::{pause, switched_off};
use crate::sync::{Mutex, MutexGuard};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One step, or one place in the order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Step {
            $($(#[$doc])* $name,)*
        }

        #[cfg(all(tidings_faults, not(shuttle)))]
        const STEPS: &[(&str, Step)] = &[$((stringify!($name), Step::$name)),*];
    };
}

steps! {
    /// A fill checks that its flight is current.
    FillChecksFlight,
    /// ... under the lock under which flights are voided.
    FillHoldsLock,
    /// A fill checks whether a tag of its value is newer than the load.
    FillChecksTag,
    /// ... under the lock under which tags are invalidated.
    FillHoldsTagLock,
    /// A renewal raises the slot when it lands.
    RenewRaisesSlot,
    /// A renewal that lands deals with the other loads of its key.
    RenewOutdates,
    /// A late load that made room for a younger one as it landed gives its callers nothing.
    DisplacedGivesNothing,
    /// A load is started under the lock only if L2 still has no entry.
    StartLooksAgain,
    /// An L1 entry's number is noted before L2 is read.
    NumberNotedFirst,
    /// The proof is noted before L2 is read.
    ProofNotedFirst,
    /// An L1 entry is compared with its slot.
    Level1ComparesSlot,
    /// An entry of a view is compared with its slot.
    ViewComparesSlot,
    /// ... which is that of its text.
    ViewKeepsSlotOfText,
    /// An invalidation voids the key's flights.
    InvalidateVoids,
    /// An invalidation removes L2's entry.
    InvalidateRemoves,
    /// An invalidation raises the key's slot.
    InvalidateRaisesSlot,
    /// The number is taken, and the slot raised, after L2 was cleared.
    InvalidateNumbersLast,
    /// Under a cause the slot is raised to a number of its own, not to the cause's.
    CauseTakesOwnNumber,
    /// Under a cause, loads that began before it are voided.
    CauseVoids,
    /// A change's number is taken before the first of its keys is evicted.
    ChangeNumbersFirst,
    /// A purge voids all flights.
    PurgeVoids,
    /// A purge removes L2's entries.
    PurgeRemoves,
    /// A purge raises all slots.
    PurgeRaisesSlots,
    /// A purge takes its number last.
    PurgeNumbersLast,
    /// A tag's number is noted for later fills.
    TagNumberIsNoted,
    /// A tag's invalidation removes L2's entries that carry it.
    TagRemoves,
    /// A tag's invalidation raises all slots.
    TagRaisesSlots,
    /// A tag's invalidation takes the slots' number last.
    TagNumbersLast,
    /// A caller that arrives after a tag's invalidation does not accept a load that began before
    /// it.
    LateCallersAskAgain,
    /// A voided flight also sends callers back that came after a tag's invalidation.
    VoidedTellsTags,
    /// A set voids the key's flights.
    SetVoids,
    /// A set puts its value into L2.
    SetInserts,
    /// A set raises the key's slot.
    SetRaisesSlot,
    /// A set takes its number last.
    SetNumbersLast,
    /// An expired value gets new times only if it is still in L2.
    StaleStaysRemoved,
    /// A set voids and inserts under one lock.
    SetHoldsLock,
    /// A set raises the key's slot before it releases the lock.
    SetRaisesUnderLock,
    /// A fill, or a conditional set, of what was read at a position checks that against the key's
    /// floor.
    FillChecksPosition,
    /// An invalidation voids, removes and raises the slot of a key under one lock.
    InvalidateHoldsLock,
    /// A purge and a tag's invalidation announce themselves to positions before they void.
    PurgeAnnounces,
    /// A permit that is given back goes to a load that waits for it.
    PermitsPassOn,
    /// A load that is dropped while it waits for a permit passes on a permit that it was given.
    LeaversPassOn,
    /// A load that is made by another load does not wait for a permit.
    NestedGoAhead,
    /// An overdue load gives its permit back.
    OverdueGivesBack,
    /// On a node that proves nothing, a caller joins no load that began before its call.
    QueuedJoinLater,
    /// ... and waits until the load that it may not join has ended.
    LaterCallersQueue,
}

/// Returns whether a step is to be left out: never, in an ordinary build.
#[cfg(not(any(shuttle, tidings_faults)))]
#[inline(always)]
pub(crate) const fn removed(_: Step) -> bool {
    false
}

/// Returns whether a step is to be left out.
#[cfg(any(shuttle, tidings_faults))]
pub(crate) fn removed(step: Step) -> bool {
    switched_off(step)
}

/// Returns the guard as it is. In a checker's build, if the step is left out, the lock is released
/// and taken again: the window that holding it closes.
#[cfg(not(any(shuttle, tidings_faults)))]
#[inline(always)]
pub(crate) fn window<'a, T>(
    _: Step,
    guard: MutexGuard<'a, T>,
    _: &'a Mutex<T>,
) -> MutexGuard<'a, T> {
    guard
}

/// Releases the lock and takes it again if the step is left out.
#[cfg(any(shuttle, tidings_faults))]
pub(crate) fn window<'a, T>(
    step: Step,
    guard: MutexGuard<'a, T>,
    mutex: &'a Mutex<T>,
) -> MutexGuard<'a, T> {
    if !removed(step) {
        return guard;
    }
    drop(guard);
    pause();
    mutex.lock()
}

/// Lets other threads run where a step is left out.
#[cfg(not(any(shuttle, tidings_faults)))]
#[inline(always)]
pub(crate) const fn gap(_: Step) {}

/// Lets other threads run where a step is left out.
#[cfg(any(shuttle, tidings_faults))]
pub(crate) fn gap(step: Step) {
    if removed(step) {
        pause();
    }
}

/// Under shuttle, whose threads are switched between at its own locks and atomics.
#[cfg(shuttle)]
mod model {
    use std::cell::Cell;

    use super::Step;

    std::thread_local! {
        // Shuttle runs its threads on one thread of the system, so this is one model's.
        static REMOVED: Cell<Option<Step>> = const { Cell::new(None) };
    }

    pub(super) fn switched_off(step: Step) -> bool {
        REMOVED.get() == Some(step)
    }

    /// Leaves a step out, or none.
    #[cfg(test)]
    pub(crate) fn remove(step: Option<Step>) {
        REMOVED.set(step);
    }

    pub(super) fn pause() {
        shuttle::thread::yield_now();
    }
}

/// On real threads. At each step that could be left out, a thread also pauses occasionally, since
/// the system seldom switches threads in the few instructions between two steps.
#[cfg(all(tidings_faults, not(shuttle)))]
mod real {
    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::{STEPS, Step};

    /// One more than the index of the step that is left out; zero is none.
    static REMOVED: AtomicUsize = AtomicUsize::new(0);

    std::thread_local! {
        static RANDOM: Cell<u64> = const { Cell::new(0) };
    }

    /// Returns the names of the steps.
    #[must_use]
    pub fn guards() -> Vec<&'static str> {
        STEPS.iter().map(|(name, _)| *name).collect()
    }

    /// Leaves the step of this name out in the whole process, or none.
    ///
    /// # Panics
    ///
    /// When there is no such step.
    pub fn remove_guard(name: Option<&str>) {
        let place = |name| STEPS.iter().position(|(other, _)| *other == name);
        let removed = name.map_or(0, |name| 1 + place(name).expect("a step's name"));
        REMOVED.store(removed, Ordering::SeqCst);
    }

    pub(super) fn switched_off(step: Step) -> bool {
        linger(64);
        match REMOVED.load(Ordering::SeqCst) {
            0 => false,
            removed => STEPS[removed - 1].1 == step,
        }
    }

    pub(super) fn pause() {
        linger(4);
    }

    /// Pauses once in this many times, for a moment that is longer than a load or shorter.
    fn linger(seldom: u64) {
        let random = RANDOM.with(|random| {
            let mut next = random.get();
            if next == 0 {
                next = std::ptr::from_ref(random).addr() as u64 | 1; // each thread its own
            }
            next ^= next << 13;
            next ^= next >> 7;
            next ^= next << 17;
            random.set(next);
            next
        });
        match (random >> 32) % seldom {
            // Yields a few times: a timer would take longer than a load.
            0 => (0..random % 100).for_each(|_| std::thread::yield_now()),
            1 => std::thread::yield_now(),
            _ => {}
        }
    }
}
