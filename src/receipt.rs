//! [`WriteReceipt`]: proof that the nodes have applied a write; and waits for a position.
//!
//! A node has *applied* a write when it has evicted the rows of the write and its handlers have
//! run. A node without a log counts its own commits; a node with a log uses the log's positions.

use std::{fmt, time::Duration};

use futures_util::future::{Either, select};
use tidings_cluster::{Silence, Unconfirmed};
use tidings_core::log::{Epoch, Mark, Resume};
use tidings_store::{Error, Written, written};

use crate::{
    follow::Following,
    node::Node,
    positions::{Positions, Started},
    token::{Origin, Position, Token, TokenError},
};

/// How long a position waits for a log that was not read yet, or that has begun another epoch.
const LOG_DEADLINE: Duration = Duration::from_secs(1);

/// Why a node did not reach a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReached {
    /// The token is not one of this database.
    #[error(transparent)]
    Invalid(#[from] TokenError),
    /// The node did not apply the write before the deadline.
    #[error("not caught up with the given position within {0:?}")]
    Late(Duration),
    /// Too many calls are waiting already.
    #[error("not caught up with the given position, and {0} calls are waiting already")]
    Busy(usize),
}

/// Why a write is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotConfirmed {
    /// The token is not one of this database.
    #[error(transparent)]
    Invalid(#[from] TokenError),
    /// Some members may still serve values from before the write.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
}

/// Why a write has no position.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoPosition {
    /// The database could not be asked for one.
    #[error("the database gave no position")]
    Store(#[source] Error),
    /// The log was not read yet.
    #[error("the log cannot be reached, so the write has no position yet")]
    Log,
}

/// Waits for the nodes to apply the writes of a future; see [`Node::with_receipt`].
#[derive(Clone)]
#[must_use = "drop it explicitly (`drop(..)`) if it does not matter who has applied the write"]
pub struct WriteReceipt {
    node: Node,
    written: Written,
}

impl Node {
    /// Runs a future, and returns its output with a receipt for the writes that it made.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings::{Entity, Node, Store};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     on: bool,
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// # let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// let flags = node.dao::<Flag>()?;
    /// let write = flags.insert(Flag { id: 1, on: true });
    /// let (flag, receipt) = node.with_receipt(write).await;
    /// assert!(flag?.on);
    ///
    /// // Every node has evicted what the write touched, and its handlers have run.
    /// receipt.confirmed(Duration::from_secs(2)).await?;
    ///
    /// // A client that gets this can ask any node for nothing older.
    /// let token = receipt.position().await?;
    /// node.at_least(&token, Duration::from_secs(1)).await?;
    /// # node.shutdown(Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As for the future itself: a write that has begun runs to its end.
    pub async fn with_receipt<F: Future>(&self, writes: F) -> (F::Output, WriteReceipt) {
        let (output, written) = written(writes).await;
        let node = self.clone();
        (output, WriteReceipt { node, written })
    }

    /// Waits until this node serves nothing older than a write: until it has applied the write, or
    /// at once if it has started since. At most 4,096 calls can wait at a time.
    ///
    /// # Errors
    ///
    /// [`NotReached::Invalid`] if the token is forged or comes from another database;
    /// [`NotReached::Late`] after the timeout; [`NotReached::Busy`] at once if too many calls are
    /// waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tidings::{NotReached, Node, Token};
    ///
    /// /// Answers a client that has sent the token of its own write.
    /// async fn answer(node: &Node, token: &Token) -> Result<&'static str, NotReached> {
    ///     match node.at_least(token, Duration::from_secs(1)).await {
    ///         Ok(()) => Ok("nothing older than the write"),
    ///         Err(NotReached::Late(_) | NotReached::Busy(_)) => Ok("try again, or another node"),
    ///         Err(error) => Err(error), // it is not a token of this database
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the question.
    pub async fn at_least(&self, token: &Token, timeout: Duration) -> Result<(), NotReached> {
        let positions = &self.shared().positions;
        let position = positions.seal.open(token)?;
        if self.has_reached(position) {
            return Ok(());
        }
        let waits = positions.waiting.try_acquire();
        let _waits = waits.map_err(|_| NotReached::Busy(Positions::WAITING))?;

        let reached = std::pin::pin!(self.until_reached(position));
        match select(reached, self.clock().sleep(timeout)).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(NotReached::Late(timeout)),
        }
    }

    /// Waits until every member of the cluster has applied a write, or must have stopped serving
    /// values from before it.
    ///
    /// # Errors
    ///
    /// [`NotConfirmed::Invalid`] if the token is not one of this database; otherwise the members
    /// that did neither in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tidings::{Node, NotConfirmed, Token};
    ///
    /// /// Waits until a revoked key opens nothing, on any node.
    /// async fn revoked(node: &Node, token: &Token) -> Result<(), NotConfirmed> {
    ///     node.confirmed(token, Duration::from_secs(2)).await
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back.
    pub async fn confirmed(&self, token: &Token, timeout: Duration) -> Result<(), NotConfirmed> {
        let position = self.shared().positions.seal.open(token)?;
        Ok(self.confirm(position, timeout).await?)
    }

    async fn confirm(&self, position: Position, timeout: Duration) -> Result<(), Unconfirmed> {
        if let (Some(following), Origin::Log) = (&self.shared().following, position.origin) {
            let confirmed = following.protocol().confirm(position.mark, timeout).await;
            return confirmed.map(drop);
        }
        let reached = std::pin::pin!(self.until_reached(position));
        match select(reached, self.clock().sleep(timeout)).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(Unconfirmed::alone(self.id().into(), Silence::Late)),
        }
    }

    fn has_reached(&self, position: Position) -> bool {
        let shared = self.shared();
        match (&shared.following, position.origin) {
            (Some(following), Origin::Log) => following.protocol().has_applied(position.mark),
            (None, Origin::Node) => match shared.positions.started(position.mark.epoch()) {
                Started::Now => shared
                    .positions
                    .progress
                    .has_applied(position.mark.number()),
                Started::Before => true,
                Started::Later => false,
            },
            // The log was begun, or given up, since then, so this node has started since then too.
            (Some(_), Origin::Node) | (None, Origin::Log) => true,
        }
    }

    /// Waits until [`has_reached`](Self::has_reached) is true, which may be never.
    async fn until_reached(&self, position: Position) {
        if self.has_reached(position) {
            return;
        }

        let shared = self.shared();
        match (
            &shared.following,
            shared.positions.started(position.mark.epoch()),
        ) {
            (Some(following), _) => following.protocol().until_reached(position.mark).await,
            (None, Started::Later) => std::future::pending().await,
            (None, Started::Now | Started::Before) => {
                let progress = &shared.positions.progress;
                progress.until_applied(position.mark.number()).await;
            }
        }
    }

    /// Returns the position of the last of some transactions, or one that covers all of them.
    async fn position_of(&self, written: Written) -> Result<Position, NoPosition> {
        let shared = self.shared();
        let asked = async || shared.store.position().await.map_err(NoPosition::Store);
        let Some(following) = &shared.following else {
            let of_node = |number, resume| Position {
                origin: Origin::Node,
                mark: Mark::new(shared.positions.epoch, number),
                resume: Some(resume),
            };
            match written {
                Written::Last(commit) => {
                    return Ok(of_node(commit.mark().number(), commit.resume()));
                }
                // Its own commits are counted before the write returns.
                Written::Unnamed => {}
                // The row that was read may have been committed a moment ago, and not counted yet.
                _ => drop(asked().await?),
            }

            // First: what is committed in between is covered, and may come again.
            let next = shared.feed.ring().end();
            let number = shared.positions.progress.last();
            return Ok(of_node(number, Resume::Counted(next.0)));
        };

        if let Written::Last(commit) = written {
            return Ok(Position::at(Origin::Log, commit));
        }

        loop {
            // In an epoch that begins in between, the number may be another commit's.
            let before = self.now(following).await?;
            let commit = asked().await?.ok_or(NoPosition::Log)?;
            let mark = following.mark(commit).ok_or(NoPosition::Log)?;
            if mark.epoch() != before {
                continue;
            }
            if commit.may_be_of(before) {
                return Ok(Position {
                    origin: Origin::Log,
                    mark,
                    resume: commit.resume,
                });
            }

            // The database has recovered from a crash, and the node does not know that yet.
            let heard = std::pin::pin!(following.protocol().until_after(before));
            match select(heard, self.clock().sleep(LOG_DEADLINE)).await {
                Either::Left(_) => {}
                Either::Right(_) => return Err(NoPosition::Log),
            }
        }
    }

    /// Returns the epoch of the log, once that was read.
    async fn now(&self, following: &Following) -> Result<Epoch, NoPosition> {
        let epoch = || following.epoch();
        if let Some(epoch) = epoch() {
            return Ok(epoch);
        }
        let read = std::pin::pin!(following.protocol().until_following());
        let _ = select(read, self.clock().sleep(LOG_DEADLINE)).await;
        epoch().ok_or(NoPosition::Log)
    }
}

impl WriteReceipt {
    /// Returns the position of the writes, as a token. A node that is [at least](Node::at_least)
    /// there serves nothing older than these writes. If the future wrote nothing, the position
    /// covers what it read.
    ///
    /// This costs nothing after one write, or after several writes in sequence; otherwise it asks
    /// the database.
    ///
    /// # Errors
    ///
    /// The database or its log cannot be reached. The writes are committed nevertheless.
    ///
    /// # Cancel safety
    ///
    /// Ask again.
    pub async fn position(&self) -> Result<Token, NoPosition> {
        let position = self.node.position_of(self.written).await?;
        Ok(self.node.shared().positions.seal.token(position))
    }

    /// Waits until every member of the cluster has applied the writes, or must have stopped serving
    /// values from before them. A single node waits for its own handlers.
    ///
    /// # Errors
    ///
    /// The error names the members that did neither in time. The writes are committed nevertheless,
    /// with one exception. If the error names only this node, with the reason
    /// [`Epoch`](Silence::Epoch), the log has begun a new epoch since the commit, and the database
    /// may have lost the writes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back.
    pub async fn confirmed(&self, timeout: Duration) -> Result<(), Unconfirmed> {
        let alone = |reason| Unconfirmed::alone(self.node.id().into(), reason);
        let position = self.node.position_of(self.written).await;
        let position = position.map_err(|_| alone(Silence::Unreachable))?;
        let lost = match self.written {
            Written::Unplaced => true,
            Written::Several(epoch) => {
                let has_log = self.node.shared().following.is_some();
                has_log && epoch != position.mark.epoch()
            }
            // The others were named at their commit, or were not written to a log.
            _ => false,
        };
        if lost {
            return Err(alone(Silence::Epoch));
        }

        self.node.confirm(position, timeout).await
    }
}

impl fmt::Debug for WriteReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteReceipt")
            .field("node", &self.node.id())
            .field("written", &self.written)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tidings_store::Store;

    use super::*;

    /// Its commit may be one of an epoch that has ended, and be lost with it.
    #[tokio::test]
    async fn a_write_of_an_epoch_that_is_not_known_is_not_confirmed() {
        let store = Store::open("sqlite::memory:").await.expect("a store");
        let node = Node::builder().store(store).start().await.expect("a node");
        for (written, confirmed) in [(Written::Unnamed, true), (Written::Unplaced, false)] {
            let node = node.clone();
            let receipt = WriteReceipt { node, written };
            let outcome = receipt.confirmed(Duration::from_secs(20)).await;
            let reason = outcome.as_ref().err().map(|it| it.silent[0].reason);
            let expected = (!confirmed).then_some(Silence::Epoch);
            assert_eq!(reason, expected, "{outcome:?}");
        }
        let _ = node.shutdown(Duration::from_secs(5)).await;
    }
}
