//! Audits: compare cached entries with the rows of the store, outside the path of requests.
//!
//! A hand moves through L2 and stops at some of the entries, evenly spread. It samples an entry,
//! then reads its row. If the two differ, a write may have come in between. So the node takes a
//! position that covers everything that the row can show, waits until it has applied that position,
//! and checks whether the entry is still there. If so, the entry has missed an eviction, because a
//! node that has applied a position has evicted everything that was committed before it. Time
//! decides nothing.
//!
//! A hit costs nothing more, because audits record nothing where values are served. So an audit
//! cannot see an entry that only a thread's L1 holds. It also repairs nothing: a wrong entry stays
//! for [`Cache::explain`](crate::Cache::explain) until someone evicts it.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::future::{FutureExt as _, select};
use tidings_cache::Walk;
use tidings_core::{
    CacheKey, Chain, Schema,
    entropy::{Entropy as _, SystemEntropy},
};

use crate::{
    compare::{Asked, Compared},
    node::{EntityType, Node},
    tally::{AUDIT_TIMES, AuditError, Audited, Skipped, Verdict},
};

/// How long a node may take to apply what a row shows that differs from its entry.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the background audit takes to walk through the cache once.
const TURN: Duration = Duration::from_secs(60);
/// The shortest pause after a walk that had nothing to compare.
const IDLE: Duration = Duration::from_millis(100);
/// The pause after a walk that had nothing to compare, as a multiple of that walk.
const IDLE_FOR: u32 = 9;
/// After how many entries other tasks get a turn.
const STEPS: u64 = 256;

impl Node {
    /// Compares cached values and absences with their rows for a time: 1 s to 10 m. Reads at most
    /// as many rows as [`AuditSettings`](crate::AuditSettings) allow, spread evenly over the cache.
    /// If it reaches the end of the cache early, it starts again.
    ///
    /// If the node shuts down, the audit ends early, with its results so far. The guide's page on
    /// freshness lists what an audit cannot see.
    ///
    /// # Errors
    ///
    /// Another audit is running already, or the time is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings::{CachedRows, Entity, Node, Store};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// let flags = node.dao::<Flag>()?;
    /// flags.insert(Flag { name: "beta".into() }).await?;
    /// flags.cached()?.select_by("name", "beta").await?;
    ///
    /// let found = node.audit(Duration::from_secs(1)).await?;
    /// assert!(found.checked > 0 && found.inconsistent == 0);
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the audit.
    pub async fn audit(&self, time: Duration) -> Result<Audited, AuditError> {
        self.audit_until(time, std::future::pending()).await
    }

    /// Audits like [`audit`](Self::audit), but stops when another future resolves.
    ///
    /// # Errors
    ///
    /// As [`audit`](Self::audit).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the audit.
    pub async fn audit_until(
        &self,
        time: Duration,
        ends: impl Future<Output = ()> + Send,
    ) -> Result<Audited, AuditError> {
        if !(AUDIT_TIMES.0..=AUDIT_TIMES.1).contains(&time) {
            return Err(AuditError::Time(time));
        }
        let audits = &self.shared().audits;
        let running = audits.running.try_acquire();
        let _running = running.map_err(|_| AuditError::Running)?;

        let mut found = Audited {
            bound: audits.bound,
            ..Audited::default()
        };
        let over = self.clock().sleep(time);
        let stopped = std::pin::pin!(self.shared().stop.cancelled());
        let ends = std::pin::pin!(ends);
        let pause = audits.settings.on_demand_pause();
        {
            let note = |verdict| found.note(verdict);
            let checks = std::pin::pin!(self.check_on(pause, time, note));
            // The end first: after it nothing is read.
            let end = select(over, select(stopped, ends));
            let _ = select(end, checks).await;
        }

        Ok(found)
    }

    /// Compares the entry of one key with its row. Costs a read of the row. If the two differ, it
    /// also costs a position, which is an empty transaction, and the time until the node has
    /// applied it, 2 s at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{CachedRows, Entity, GetOptions, Node, Store, Verdict};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String, on: bool }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// let flags = node.dao::<Flag>()?;
    /// let flag = flags.insert(Flag { name: "beta".into(), on: true }).await?;
    /// let key = flags.cache_key_of(&flag);
    /// assert_eq!(node.audit_key(&key).await, Verdict::Nothing); // nothing is cached
    ///
    /// flags.cached()?.select_by("name", "beta").await?;
    /// assert_eq!(node.audit_key(&key).await, Verdict::Consistent);
    ///
    /// // A value that no row has ever had.
    /// let wrong = Flag { on: false, ..flag };
    /// node.cache().set(&key, Some(wrong), GetOptions::default())?;
    /// assert!(matches!(node.audit_key(&key).await, Verdict::Inconsistent { .. }));
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the question.
    pub async fn audit_key(&self, key: &CacheKey) -> Verdict {
        let verdict = self.check(key).await;
        self.shared().audits.tally.note(verdict);
        verdict
    }

    /// Audits as long as the node runs, if the settings ask for that.
    pub(crate) async fn audit_in_background(self) {
        let Some(pause) = self.shared().audits.settings.background_pause() else {
            return;
        };
        let stopped = std::pin::pin!(self.shared().stop.cancelled());
        let checks = std::pin::pin!(self.check_on(pause, TURN, |_| ()));
        let _ = select(stopped, checks).await;
    }

    /// Walks through the cache, each time in about `span`, with a pause after each read. Never
    /// ends.
    async fn check_on(&self, pause: Duration, span: Duration, mut found: impl FnMut(Verdict)) {
        let reads = span.as_nanos() / pause.as_nanos().max(1);
        let reads = u64::try_from(reads).unwrap_or(u64::MAX).max(1);
        loop {
            let began = self.clock().now();
            let mut hand = Hand::new(self, reads);
            let mut is_idle = true;
            while let Some(key) = hand.next().await {
                let verdict = self.audit_key(&key).await;
                if verdict == Verdict::Nothing {
                    continue; // nothing was read
                }
                is_idle = false;
                found(verdict);
                self.clock().sleep(pause).await;
            }

            if is_idle {
                let took = self.clock().now().since(began);
                self.clock().sleep(IDLE.max(took * IDLE_FOR)).await;
            }
        }
    }

    async fn check(&self, key: &CacheKey) -> Verdict {
        let Some((entity, asked)) = self.row_of(key) else {
            return Verdict::Nothing;
        };

        // The entity's own code reads a row, and drops it.
        let judged = AssertUnwindSafe(self.judge(entity, asked)).catch_unwind();
        judged.await.unwrap_or_else(|_| {
            let entity = entity.schema.name();
            tracing::error!(entity, "reading a row for an audit panicked");
            Verdict::Skipped(Skipped::Unread)
        })
    }

    async fn judge(&self, entity: &EntityType, asked: Asked) -> Verdict {
        let (store, cache) = (self.store().clone(), self.cache().clone());
        let key = asked.key.clone();
        let differing = match (entity.compare)(store, cache, asked).await {
            Ok(Compared::Nothing) => return Verdict::Nothing,
            Ok(Compared::Equal) => return Verdict::Consistent,
            Ok(Compared::Different(differing)) => differing,
            Err(error) => {
                let entity = entity.schema.name();
                tracing::debug!(entity, error = %Chain(&error), "a row was not read for an audit");
                return Verdict::Skipped(Skipped::Unread);
            }
        };

        // Taken after the row was read, so it covers everything that the row shows.
        let ((), receipt) = self.with_receipt(async {}).await;
        let Ok(position) = receipt.position().await else {
            return Verdict::Skipped(Skipped::Behind);
        };
        if self.at_least(&position, PATIENCE).await.is_err() {
            return Verdict::Skipped(Skipped::Behind);
        }
        let Some(age) = differing.still_held() else {
            return Verdict::Skipped(Skipped::Written);
        };

        let cache_key = entity.schema.shown_cache_key(key.as_str());
        tracing::error!(cache_key, ?age, "a cached entry differs from its row");
        Verdict::Inconsistent { age }
    }

    /// Returns the row that a key names; `None` if it is not the key of a row.
    fn row_of(&self, key: &CacheKey) -> Option<(&EntityType, Asked)> {
        self.shared().entities.iter().find_map(|entity| {
            let schema: &'static Schema = entity.schema;
            let (fields, values) = schema.lookup_of_key(key.as_str())?;
            let asked = Asked {
                key: key.clone(),
                fields,
                values,
            };
            Some((entity, asked))
        })
    }
}

/// Walks through the entries of the node's second level, once.
struct Hand {
    walk: Walk,
    /// It stops at one entry of this many.
    stride: u64,
    /// How many entries it skips before it stops again.
    passes: u64,
    steps: u64,
}

impl Hand {
    /// Makes a hand that stops about `stops` times, first at a random entry.
    fn new(node: &Node, stops: u64) -> Self {
        let stats = node.cache().stats();
        let stride = (stats.entries + stats.absences).div_ceil(stops).max(1);
        Self {
            walk: node.cache().walk(),
            stride,
            passes: SystemEntropy.below(stride),
            steps: 0,
        }
    }

    /// Returns the key at which it stops next; `None` at the end.
    async fn next(&mut self) -> Option<CacheKey> {
        loop {
            let found = self.walk.next()?;
            self.steps += 1;
            if self.steps.is_multiple_of(STEPS) {
                tokio::task::yield_now().await;
            }
            let Some(entry) = found else {
                continue;
            };

            match self.passes.checked_sub(1) {
                Some(passes) => self.passes = passes,
                None => {
                    self.passes = self.stride - 1;
                    return Some(CacheKey::from_text(&entry.key));
                }
            }
        }
    }
}
