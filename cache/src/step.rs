//! Marks the steps of the order in which the fence works, so that a model can leave one out.

/// A step. It is run; only a model (`--cfg shuttle`) can leave it out, and then has what stands behind `or`.
macro_rules! step {
    ($step:ident, $run:expr, or $instead:expr) => {{
        #[cfg(shuttle)]
        let value = if crate::faults::removed(crate::faults::Step::$step) { $instead } else { $run };
        #[cfg(not(shuttle))]
        let value = $run;
        value
    }};
    ($step:ident, $run:block) => {{
        #[cfg(shuttle)]
        if !crate::faults::removed(crate::faults::Step::$step) $run
        #[cfg(not(shuttle))]
        $run
    }};
}
