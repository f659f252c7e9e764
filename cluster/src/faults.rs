//! Rules of the protocol that the simulation can leave out, to show that it would notice.
//!
//! In an ordinary build no rule is ever removed: [`removed`] is the constant `false`, so production
//! code asks in plain Rust and pays nothing. With `--cfg tidings_faults` a thread of the simulation
//! (`scripts/simulate --rules`) leaves out the rule that it names, and so does a process of the
//! fault program (`scripts/faults ENGINE --without RULE`), by the variable `WITHOUT_RULE`.

use std::time::Duration;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule {
            $($(#[$doc])* $name,)*
        }

        /// Every rule with its name.
        #[cfg(tidings_faults)]
        pub(crate) const RULES: &[(&str, Rule)] = &[$((stringify!($name), Rule::$name)),*];
    };
}

rules! {
    /// At a gap the cursor is taken first and the purge comes after it.
    CursorBeforePurge,
    /// The cursor moves once the batch before it was applied.
    CursorAfterApplying,
    /// The number of an eviction is taken after its batch was read.
    NumberAfterBatch,
    /// What was evicted in doubt is not remembered.
    DoubtIsForgotten,
    /// Remembered numbers are of one epoch.
    NumbersEndWithEpoch,
    /// A wake-up for what was evicted already evicts nothing.
    LateWakeIsIgnored,
    /// A cursor of another epoch is a gap.
    EpochIsChecked,
    /// A number that was read counts for the record that was read under it alone.
    HistoryIsChecked,
    /// A cursor below what was pruned is a gap.
    PruningIsChecked,
    /// A proof includes the node's own member row.
    ProofReadsMember,
    /// A load fills only while the node has a cursor and was not given up.
    FillNeedsCursor,
    /// A load fills only while the node counts as a member.
    FillNeedsMembership,
    /// A proof counts from before its question was sent.
    ProofCountsFromQuestion,
    /// What is proven is noted before the value is read.
    ProofBeforeValue,
    /// The clock is read after the value, and by no one else before.
    ClockAfterValue,
    /// A node that refuses begins no load without a proof.
    RefusalAsksProof,
    /// A late handler holds up the report.
    LateHandlerHoldsReport,
    /// A report comes after the handlers.
    ReportAfterHandlers,
    /// A node that comes back serves what a statement begun after its join has shown.
    JoinBeforeCursor,
    /// A node that comes back at the head purges.
    RejoinAtHeadPurges,
    /// A node that finds itself given up at a gap serves nothing before it joins again.
    RejoinStopsServing,
    /// A silent member is removed after twice its bound.
    ExpiryAfterTwoBounds,
    /// A node fills once it has joined.
    FillsAfterJoin,
    /// An event is made of its whole group.
    GroupIsWhole,
    /// A field that a record lacks makes it a change of the whole entity if a key is made of it.
    LackingKeyField,
}

/// How long after the cursor has moved a batch is applied that was to be applied before: short
/// beside the time-outs of a simulation, and long enough for a client of a process.
pub(crate) const LATE: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 300 });

/// Returns whether a rule is left out: never.
#[cfg(not(tidings_faults))]
#[inline(always)]
pub(crate) const fn removed(_: Rule) -> bool {
    false
}

/// Makes the answer to a commit come late, as over a slow link, where the cursor moves before a
/// batch is applied: only then does the commit's own eviction find that it was passed.
#[cfg(any(test, not(tidings_faults)))]
#[inline(always)]
pub(crate) const fn answer_late() {}

#[cfg(all(not(test), tidings_faults))]
pub(crate) use self::process::{answer_late, removed};
#[cfg(all(test, tidings_faults))]
pub(crate) use self::switch::{remove, removed};

#[cfg(all(not(test), tidings_faults))]
mod process {
    use std::sync::OnceLock;

    use super::{LATE, RULES, Rule};

    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that waits for an answer"
    )]
    pub(crate) fn answer_late() {
        if removed(Rule::CursorAfterApplying) {
            std::thread::sleep(LATE / 2);
        }
    }

    /// Returns whether this process leaves a rule out.
    pub(crate) fn removed(rule: Rule) -> bool {
        static REMOVED: OnceLock<Option<Rule>> = OnceLock::new();
        let named = || {
            let name = std::env::var("WITHOUT_RULE").ok()?;
            RULES.iter().find(|(rule, _)| *rule == name).map(|it| it.1)
        };
        *REMOVED.get_or_init(named) == Some(rule)
    }
}

#[cfg(all(test, tidings_faults))]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        // A simulation runs on one thread, so several may run at once with different rules.
        static REMOVED: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    pub(crate) fn removed(rule: Rule) -> bool {
        REMOVED.get() == Some(rule)
    }

    pub(crate) fn remove(rule: Option<Rule>) {
        REMOVED.set(rule);
    }
}
