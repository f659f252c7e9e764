//! The steps of a start after the node's own. Other nodes wait for a member that does not take its
//! leave, so a node whose start does not succeed is shut down in order.

use std::time::Duration;

use tidings::Node;
use tidings_admin::{Readiness, Unready};

use super::StartError;
use crate::{Settings, digest, settings::KeyStorage, warm};

/// The most time that the node of a failed start takes to end.
const END: Duration = Duration::from_secs(1);

/// Prepares a started node for its first request.
pub(super) async fn prepare(
    node: &Node,
    settings: &Settings,
    readiness: &Readiness,
) -> Result<(), StartError> {
    if settings.hash_keys == KeyStorage::Digest {
        let replaced = digest::replace_keys(node).await;
        let replaced = replaced.map_err(|error| {
            StartError::new(
                "the keys could not be replaced by digests (--hash-keys)",
                error,
            )
        })?;

        if replaced > 0 {
            tracing::info!(keys = replaced, "keys were replaced by their digests");
        }
    }

    readiness.begin(Unready::WarmingUp);
    warm::up(node, &settings.warm_up).await;
    readiness.end(Unready::WarmingUp);
    Ok(())
}

/// Ends a node in order after a step that did not succeed: others wait for a member that does not
/// take its leave.
pub(super) async fn ended_unless<T>(
    node: &Node,
    done: Result<Option<T>, StartError>,
) -> Result<Option<T>, StartError> {
    if !matches!(done, Ok(Some(_))) {
        let report = node.shutdown(END).await;
        if !report.is_clean() {
            tracing::warn!(?report, "the node did not end in order");
        }
    }
    done
}
