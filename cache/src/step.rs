//! Marks the steps of the order in which the fence works, so that a model or the random checker can leave one out.

/// A step. It is run; only a model (`--cfg shuttle`) or the random checker (`--cfg tidings_faults`) can leave it out, and then
/// has what stands behind `or`.
macro_rules! step {
    ($step:ident, $run:expr, or $instead:expr) => {{
        #[cfg(any(shuttle, tidings_faults))]
        let value = if crate::faults::removed(crate::faults::Step::$step) { $instead } else { $run };
        #[cfg(not(any(shuttle, tidings_faults)))]
        let value = $run;
        value
    }};
    ($step:ident, $run:block) => {{
        #[cfg(any(shuttle, tidings_faults))]
        if !crate::faults::removed(crate::faults::Step::$step) $run
        #[cfg(not(any(shuttle, tidings_faults)))]
        $run
    }};
}
