//! The steps of a start after the node's own. Other nodes wait for a member that does not sign off,
//! so a node whose start fails is shut down in order.

use std::time::Duration;

use tidings::Node;
use tidings_admin::{Readiness, Unready};

use super::StartError;
use crate::{Settings, digest, settings::KeyStorage, warm};

/// The most time that the node of a failed start may take to shut down.
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

/// Shuts a node down in order if a step has failed: other nodes wait for a member that does not
/// sign off.
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
