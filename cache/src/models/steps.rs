//! Each step that is left out, and the model that notices.

use super::{FAULT_BUDGET, model, run, turn};
use crate::faults::{self, Step};

/// Each step, and the model that notices its absence.
const STEPS: [(Step, &str); 46] = [
    (Step::FillChecksFlight, "invalidate, cold"),
    (Step::FillHoldsLock, "invalidate, cold"),
    (Step::FillChecksTag, "tag, cold"),
    (Step::FillHoldsTagLock, "tag, cold"),
    (Step::RenewRaisesSlot, "renew, warm"),
    (Step::RenewOutdates, "renewals"),
    (Step::StartLooksAgain, "one load"),
    (Step::NumberNotedFirst, "invalidate, warm"),
    (Step::Level1ComparesSlot, "invalidate, warm"),
    (Step::ViewComparesSlot, "view, warm"),
    (Step::ViewKeepsSlotOfText, "view, warm"),
    (Step::NumberNotedFirst, "view, warm"),
    (Step::InvalidateNumbersLast, "view, warm"),
    (Step::InvalidateVoids, "invalidate, cold"),
    (Step::InvalidateRemoves, "invalidate, warm"),
    (Step::InvalidateRaisesSlot, "invalidate, warm"),
    (Step::InvalidateNumbersLast, "invalidate, warm"),
    (Step::CauseTakesOwnNumber, "cause, warm"),
    (Step::CauseVoids, "cause, cold"),
    (Step::ChangeNumbersFirst, "two changes"),
    (Step::PurgeVoids, "purge, cold"),
    (Step::PurgeRemoves, "purge, warm"),
    (Step::PurgeRaisesSlots, "purge, warm"),
    (Step::PurgeNumbersLast, "purge, warm"),
    (Step::TagNumberIsNoted, "tag, cold"),
    (Step::TagRemoves, "tag, warm"),
    (Step::TagRaisesSlots, "tag, warm"),
    (Step::TagNumbersLast, "tag, warm"),
    (Step::LateCallersAskAgain, "tag, cold"),
    (Step::VoidedTellsTags, "tag and all, cold"),
    (Step::SetVoids, "set, cold"),
    (Step::SetInserts, "set, warm"),
    (Step::SetRaisesSlot, "set, warm"),
    (Step::SetNumbersLast, "set, warm"),
    (Step::SetHoldsLock, "set, cold"),
    (Step::StaleStaysRemoved, "stale, all"),
    (Step::SetRaisesUnderLock, "late set, set"),
    (Step::FillChecksPosition, "position, many keys"),
    (Step::InvalidateHoldsLock, "position, many keys"),
    (Step::PurgeAnnounces, "position, purge"),
    (Step::PermitsPassOn, "permits"),
    (Step::LeaversPassOn, "permits"),
    (Step::NestedGoAhead, "nested"),
    (Step::OverdueGivesBack, "hangs"),
    (Step::QueuedJoinLater, "queue"),
    (Step::LaterCallersQueue, "queue"),
];

#[test]
fn every_step_that_is_left_out_or_swapped_is_noticed() {
    let _turn = turn();
    let mut missed = Vec::new();
    for (step, name) in STEPS {
        faults::remove(Some(step));
        let noticed = [true, false].into_iter().find_map(|pct| {
            let (schedules, found) = run(model(name), FAULT_BUDGET, pct);
            Some((schedules, pct, found?))
        });

        match noticed {
            Some((schedules, pct, how)) => {
                let scheduler = if pct { "PCT" } else { "random" };
                println!("| {step:?} | {name} | {how} | {schedules} ({scheduler}) |");
            }
            None => missed.push(step),
        }
    }

    faults::remove(None);
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
