//! Warming up before the first request, with progress for an operator at a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use tidings::{Node, WarmEnd, WarmProgress};

/// Reads entities into the cache. The node logs failures, which do not keep the gateway from
/// serving.
///
/// The spinner draws on standard error, and only if that is a terminal; elsewhere the log shows the
/// progress.
pub(crate) async fn up(node: &Node, entities: &[String]) {
    if entities.is_empty() {
        return;
    }
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} warming up: {msg}") {
        spinner.set_style(style);
    }

    let warmed = node
        .warm_up(entities, |progress: WarmProgress<'_>| {
            spinner.set_message(format!("{} {}", progress.rows, progress.entity));
            spinner.tick();
        })
        .await;
    spinner.finish_and_clear();

    for entity in warmed {
        if let WarmEnd::Full = entity.end {
            tracing::warn!(
                entity = entity.entity,
                rows = entity.rows,
                "the cache is full: --cache-size is too small for the rest of these rows, which are read when asked for"
            );
        }
    }
}
