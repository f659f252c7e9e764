//! [`Node::probe`]: measures, through the log, how long each node takes to apply a record.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::log::LogError;

use crate::{
    node::Node,
    positions::Positions,
    receipt::NoPosition,
    token::{Origin, Position, Token},
};

/// How long the log may take to accept a probe, and the table of members to answer.
const LOG_DEADLINE: Duration = Duration::from_secs(5);

/// The result of a probe; see [`Node::probe`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Probed {
    /// The position of the probe.
    pub position: Token,
    /// The name of each node, with the time that it took to apply the probe; `None` if it did not
    /// do so in time.
    pub nodes: Vec<(Arc<str>, Option<Duration>)>,
}

/// Why there was no probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Too many probes are running.
    #[error("{0} probes are already running")]
    Busy(usize),
    /// The log did not accept it, or the members could not be asked.
    #[error("the log did not take the probe")]
    Log(#[source] LogError),
    /// The log did not answer in time.
    #[error("the log did not answer in time")]
    Late,
    /// A node without a log has no position.
    #[error(transparent)]
    NoPosition(#[from] NoPosition),
}

impl Node {
    /// Writes a probe into the log, and returns how long each node took to apply it. A node that
    /// has applied the probe has read and evicted everything before it, and its handlers have run.
    /// A node without a log asks its database and itself. At most 4 probes run at a time.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Busy`] at once if too many probes are running; otherwise the log cannot be
    /// reached. A silent node is not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).node_id("a").start().await?;
    /// let probed = node.probe(Duration::from_secs(2)).await?;
    /// assert_eq!(&*probed.nodes[0].0, "a");
    /// assert!(probed.nodes.iter().all(|(_, took)| took.is_some()));
    /// # node.shutdown(Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a record without effect in the log.
    pub async fn probe(&self, timeout: Duration) -> Result<Probed, ProbeError> {
        let positions = &self.shared().positions;
        let probing = positions.probing.try_acquire();
        let _probing = probing.map_err(|_| ProbeError::Busy(Positions::PROBING))?;
        let Some(following) = &self.shared().following else {
            return self.probe_alone(timeout).await;
        };

        let probe = std::pin::pin!(following.protocol().probe(timeout));
        let deadline = self.clock().sleep(timeout + LOG_DEADLINE);
        let probe = match select(probe, deadline).await {
            Either::Left((probe, _)) => probe.map_err(ProbeError::Log)?,
            Either::Right(_) => return Err(ProbeError::Late),
        };
        let position = Position {
            origin: Origin::Log,
            mark: probe.mark,
            resume: probe.bookmark.map(|bookmark| bookmark.resume()),
        };
        Ok(Probed {
            position: positions.seal.token(position),
            nodes: probe.took,
        })
    }

    /// Asks the database of a node that keeps no log, and waits until the node has applied what was
    /// committed before.
    async fn probe_alone(&self, timeout: Duration) -> Result<Probed, ProbeError> {
        let since = self.clock().now();
        let ((), receipt) = self.with_receipt(async {}).await;
        let position = receipt.position().await?;
        let reached = self.at_least(&position, timeout).await.is_ok();
        let took = reached.then(|| self.clock().now().since(since));
        Ok(Probed {
            position,
            nodes: vec![(self.id().into(), took)],
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_store::Store;

    use super::*;

    #[tokio::test]
    async fn as_many_probes_run_as_may_and_no_more() {
        let store = Store::open("sqlite::memory:").await.expect("a store");
        let node = Node::builder().store(store).start().await.expect("a node");
        let places = node.shared().positions.probing.acquire_many(4).await;
        let refused = node.probe(Duration::from_secs(1)).await;
        assert!(matches!(refused, Err(ProbeError::Busy(4))), "{refused:?}");

        drop(places);
        let probed = node.probe(Duration::from_secs(20)).await.expect("a probe");
        assert_eq!(&*probed.nodes[0].0, node.id());
        let _ = node.shutdown(Duration::from_secs(5)).await;
    }
}
