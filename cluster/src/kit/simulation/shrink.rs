//! [`shortest`]: shrinks a plan that fails, by leaving out every step that it fails without.

use super::{history::Verbosity, plan::Plan, run::run};

/// Returns the shortest plan that was found to fail as this one does; the plan itself if it does
/// not fail.
///
/// It leaves out halves of the steps, then quarters, and so on down to single ones, until none can
/// be left out any more.
///
/// # Errors
///
/// See [`run`].
pub fn shortest(plan: &Plan) -> Result<Plan, Box<dyn std::error::Error + Send + Sync>> {
    let mut best = plan.clone();
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 {
        let mut left_out = false;
        let mut first = 0;

        while first < best.steps.len() {
            let mut tried = best.clone();
            let end = (first + size).min(tried.steps.len());
            tried.steps.drain(first..end);
            if run(&tried, Verbosity::Violations)?.violations.is_empty() {
                first += size;
            } else {
                best = tried;
                left_out = true;
            }
        }

        // Single steps are tried again until none can be left out.
        size = match size {
            1 if left_out => 1,
            1 => 0,
            _ => size.div_ceil(2),
        };
    }

    Ok(best)
}
