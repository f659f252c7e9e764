//! Steps of the order that a model or the random checker can leave out, to show that it would notice.
//!
//! Compiled for these alone: for the models with `--cfg shuttle` (`scripts/model`), for the checker with
//! `--cfg tidings_faults` (`scripts/check-guards`). No other build has any of it.

#[cfg(shuttle)]
pub(crate) use self::model::{pause, remove, removed};
#[cfg(not(shuttle))]
pub use self::real::{guards, remove_guard};
#[cfg(not(shuttle))]
pub(crate) use self::real::{pause, removed};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One step, or one place in the order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Step {
            $($(#[$doc])* $name,)*
        }

        #[cfg(not(shuttle))]
        const STEPS: &[(&str, Step)] = &[$((stringify!($name), Step::$name)),*];
    };
}

steps! {
    /// A fill looks whether its flight is current.
    FillChecksFlight,
    /// ... under the lock under which flights are voided.
    FillHoldsLock,
    /// A fill looks whether a tag of its value is newer than the load.
    FillChecksTag,
    /// ... under the lock under which tags are invalidated.
    FillHoldsTagLock,
    /// A renewal raises the slot when it lands.
    RenewRaisesSlot,
    /// A load is started under the lock only if L2 still has nothing.
    StartLooksAgain,
    /// An L1 entry's number is noted before L2 is read.
    NumberNotedFirst,
    /// An L1 entry is compared with its slot.
    Level1ComparesSlot,
    InvalidateVoids,
    InvalidateRemoves,
    InvalidateRaisesSlot,
    /// The number is taken, and the slot raised, after L2 was cleared.
    InvalidateNumbersLast,
    /// Under a cause the slot is raised to a number of its own, not to the cause's.
    CauseTakesOwnNumber,
    /// Under a cause, what began before the cause is voided.
    CauseVoids,
    PurgeVoids,
    PurgeRemoves,
    PurgeRaisesSlots,
    PurgeNumbersLast,
    TagNumberIsNoted,
    TagRemoves,
    TagRaisesSlots,
    TagNumbersLast,
    /// Who came after a tag's invalidation does not take the result of a load that began before.
    LateCallersAskAgain,
    /// A flight that was voided tells from when on its callers came after a tag's invalidation.
    VoidedTellsTags,
    SetVoids,
    SetInserts,
    SetRaisesSlot,
    SetNumbersLast,
    /// An expired value gets a new time only if it is still there.
    StaleStaysRemoved,
    /// A set voids and inserts under one lock.
    SetHoldsLock,
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

    pub(crate) fn removed(step: Step) -> bool {
        REMOVED.get() == Some(step)
    }

    pub(crate) fn remove(step: Option<Step>) {
        REMOVED.set(step);
    }

    /// Where a step was left out: gives the others their chance.
    pub(crate) fn pause() {
        shuttle::thread::yield_now();
    }
}

/// On real threads. Each place that could be left out is also one where a thread now and then stands still, since the
/// system seldom switches threads in the few instructions between two of them.
#[cfg(not(shuttle))]
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

    /// The names of the steps.
    #[must_use]
    pub fn guards() -> Vec<&'static str> {
        STEPS.iter().map(|(name, _)| *name).collect()
    }

    /// Leaves the step of this name out, in the whole process; or none.
    ///
    /// # Panics
    ///
    /// When there is no such step.
    pub fn remove_guard(name: Option<&str>) {
        let place = |name| STEPS.iter().position(|(other, _)| *other == name);
        let removed = name.map_or(0, |name| 1 + place(name).expect("a step's name"));
        REMOVED.store(removed, Ordering::SeqCst);
    }

    pub(crate) fn removed(step: Step) -> bool {
        stand_still(64);
        match REMOVED.load(Ordering::SeqCst) {
            0 => false,
            removed => STEPS[removed - 1].1 == step,
        }
    }

    /// Where a step was left out.
    pub(crate) fn pause() {
        stand_still(4);
    }

    /// Once in so many times, for a moment that is longer than a load or shorter.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that the system leaves standing is what this stands for"
    )]
    fn stand_still(seldom: u64) {
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
            // For as long as some turns of the others take; no timer, which would be longer than a load.
            0 => (0..random % 100).for_each(|_| std::thread::yield_now()),
            1 => std::thread::yield_now(),
            _ => {}
        }
    }
}
