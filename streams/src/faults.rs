//! Rules of the log that its own tests can leave out, to show that the tests notice.
//!
//! In an ordinary build no rule is ever removed: [`removed`] is the constant `false`. With `--cfg
//! tidings_faults` (`scripts/simulate --rules`) a thread leaves out the rule that it names.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule {
            $($(#[$doc])* $name,)*
        }

        /// Every rule with its name.
        #[cfg(all(test, tidings_faults))]
        pub(crate) const RULES: &[(&str, Rule)] = &[$((stringify!($name), Rule::$name)),*];
    };
}

rules! {
    /// After each new connection, a node looks for the last record that it knows was acknowledged.
    LastAppendIsChecked,
    /// The record at the cursor has the id in the cursor.
    RecordIdIsChecked,
}

/// Returns whether a rule is left out: never.
#[cfg(not(all(test, tidings_faults)))]
#[inline(always)]
pub(crate) const fn removed(_: Rule) -> bool {
    false
}

#[cfg(all(test, tidings_faults))]
pub(crate) use self::switch::{remove, removed};

#[cfg(all(test, tidings_faults))]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        // The checker runs on one thread, so several may run at once with different rules.
        static REMOVED: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    pub(crate) fn removed(rule: Rule) -> bool {
        REMOVED.get() == Some(rule)
    }

    pub(crate) fn remove(rule: Option<Rule>) {
        REMOVED.set(rule);
    }
}
