//! The rule of both logs that the fault program can leave out, to show that it notices: a cursor is
//! valid only in the log that it was taken from.
//!
//! In an ordinary build it always holds: [`continuity_is_checked`] is the constant `true`. With
//! `--cfg tidings_faults` (`scripts/faults ENGINE --without EpochIsChecked`), a process leaves the
//! rule out if its variable `WITHOUT_RULE` names it.

/// Returns whether a reader checks that the log is still the one that it has read.
#[cfg(not(tidings_faults))]
#[inline(always)]
pub(crate) const fn continuity_is_checked() -> bool {
    true
}

/// Returns whether a reader checks that the log is still the one that it has read.
#[cfg(tidings_faults)]
pub(crate) fn continuity_is_checked() -> bool {
    static CHECKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let checked = || std::env::var("WITHOUT_RULE").ok().as_deref() != Some("EpochIsChecked");
    *CHECKED.get_or_init(checked)
}
