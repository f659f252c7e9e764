//! Steps of the order that a model can leave out, to show that it would notice. Compiled for the model checker only.

use std::cell::Cell;

/// One step, or one place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
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
