//! A node that follows its store's log: it sees its own writes and those of every other program.
//!
//! Every record takes the same path, whichever program made it: the tail evicts the keys that it
//! names, then a dispatcher passes it to the handlers, in the log's order. The node's own write
//! already evicts at its commit, before it returns, but is not announced there. Its record comes
//! back through the log, which is the only way to keep the order of one row with several writers.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, Either, FutureExt as _, select};
use tidings_cache::Cache;
use tidings_cluster::{
    Announce, Carrier, Change, ClusterSettings, Handling, Intake, Parts, Protocol, Quiet,
    SettingError, Standing, Told,
};
use tidings_core::{
    Cause, Chain, Schema,
    clock::Clock,
    entropy::SystemEntropy,
    log::{CommitName, Epoch, Gap, GapReason, KeptLog, Log, Mark, MemberFacts, Members, Posted},
    spawn::Spawn,
};
use tidings_events::Handled;
use tidings_store::{ChangeSet, ChangeSink, RowChange};
use tokio_util::sync::CancellationToken;

use crate::{
    changes::{Changes, Channels, Gaps, reason},
    cluster_channel::ForAllChannels,
    feed::Feed,
};

/// Whether a node sees all changes in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hearing {
    /// It sees every change: it follows the log, or the store keeps no log and belongs to the node
    /// alone.
    All,
    /// It misses some changes: writes are not recorded, because triggers are missing or disabled.
    NotRecorded,
    /// It sees no changes: it cannot reach the log.
    OutOfReach,
}

/// Everything that a node needs to follow a log.
pub(crate) struct Wiring {
    pub(crate) node: Arc<str>,
    pub(crate) log: Arc<dyn KeptLog>,
    /// The same log, for readers that return: the tail does not wait for them.
    pub(crate) history: Arc<dyn Log>,
    /// `None` on a node without a cluster.
    pub(crate) members: Option<Arc<dyn Members>>,
    /// The facts about this node that other members see.
    pub(crate) facts: MemberFacts,
    pub(crate) intake: Arc<Intake>,
    /// `None` on a node without a cluster.
    pub(crate) carrier: Option<Arc<Carrier>>,
    pub(crate) channels: Channels,
    pub(crate) for_all: ForAllChannels,
    pub(crate) schemas: Vec<&'static Schema>,
    pub(crate) gaps: Gaps,
    pub(crate) feed: Feed,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawn: Arc<dyn Spawn>,
    pub(crate) settings: ClusterSettings,
}

/// The node's part in following the log. Clones are handles of the same; its tasks end with the
/// last.
#[derive(Clone)]
pub(crate) struct Following {
    log: Arc<dyn KeptLog>,
    history: Arc<dyn Log>,
    node: Arc<str>,
    protocol: Protocol,
    channels: Channels,
}

impl Following {
    /// Starts to follow. Waits for nothing.
    pub(crate) fn start(wiring: Wiring) -> Result<Self, SettingError> {
        let announcer = Announcer {
            channels: wiring.channels.clone(),
            for_all: wiring.for_all,
            gaps: wiring.gaps,
            feed: wiring.feed,
        };
        let node = Arc::clone(&wiring.node);
        let protocol = Protocol::assemble(Parts {
            node: wiring.node,
            intake: wiring.intake,
            members: wiring.members,
            facts: Some(wiring.facts),
            carrier: wiring.carrier,
            cache: wiring.channels.cache().clone(),
            schemas: wiring.schemas,
            announce: Arc::new(announcer),
            observe: Arc::new(Quiet),
            clock: wiring.clock,
            spawn: wiring.spawn,
            entropy: Arc::new(SystemEntropy),
            settings: wiring.settings,
        })?;
        protocol.tell();

        Ok(Self {
            log: wiring.log,
            history: wiring.history,
            node,
            protocol,
            channels: wiring.channels,
        })
    }

    /// Returns whether the node sees all changes.
    pub(crate) fn hearing(&self) -> Hearing {
        match self.protocol.standing() {
            Standing::Capture => Hearing::NotRecorded,
            Standing::Disconnected if self.log.capture().is_in_place() => Hearing::OutOfReach,
            Standing::Disconnected => Hearing::NotRecorded,
            Standing::Connected | Standing::CatchingUp | Standing::Alone => Hearing::All,
        }
    }

    /// Returns the epoch in which the log was read last; `None` before that.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.log.epoch()
    }

    /// Returns the mark of a commit that the store names; `None` before the log was read.
    pub(crate) fn mark(&self, commit: CommitName) -> Option<Mark> {
        self.log.mark(commit)
    }

    /// Returns the log for readers that return.
    pub(crate) fn history(&self) -> &Arc<dyn Log> {
        &self.history
    }

    pub(crate) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// Keeps the log as long as the retention says, until the node stops.
    pub(crate) async fn prune(
        self,
        retention: Duration,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        let every = (retention / 4).min(Duration::from_secs(60));
        loop {
            let stopped = std::pin::pin!(stop.cancelled());
            if let Either::Left(_) = select(stopped, clock.sleep(every)).await {
                return;
            }
            match self.log.prune(retention).await {
                Ok(0) => {}
                Ok(records) => tracing::debug!(records, "old records were removed from the log"),
                Err(error) => tracing::warn!(error = %Chain(&error), "the log was not pruned"),
            }
        }
    }
}

impl ChangeSink for Following {
    fn committed(&self, set: ChangeSet) -> BoxFuture<'static, ()> {
        if !set.touched.is_empty() {
            // The log delivers each row, later.
            self.channels.purge_untold();
        }

        // In an epoch that has begun since, the name may be another commit's.
        let mark = set.mark;
        let mark = mark.filter(|mark| self.log.epoch() == Some(mark.epoch()));
        let _due_to = reason(&set.changes, Some(&self.node), mark).enter();
        let Some(mark) = mark else {
            // Or the log was not read yet: its first cursor may be before this commit or after it.
            self.channels.cache().apply_change(&set.evict, &[]);
            return std::future::ready(()).boxed();
        };

        self.protocol.count_written(set.changes.len());
        let changed = set.changes.iter().map(|change| change.schema);
        let changed = changed.chain(set.touched.iter().copied());
        let heard = changed.filter(|_| !set.no_event);
        let entities: Vec<_> = heard.map(Schema::name).collect();
        let handled = self.protocol.committed(mark, &set.evict, &entities);

        match set.cause {
            None => handled.boxed(),
            // A write made inside a handler must not wait for handlers that run after it.
            Some(_) => std::future::ready(()).boxed(),
        }
    }

    fn in_doubt(&self, set: &ChangeSet) {
        self.protocol.in_doubt(set.mark, &set.evict);
        if !set.touched.is_empty() {
            self.channels.purge_untold();
        }
        // If it was committed, handlers receive it from the log.
        self.channels.note_doubt();
    }

    fn mark(&self, commit: CommitName) -> Option<Mark> {
        self.log.mark(commit)
    }

    fn has_seen(&self, mark: Mark) -> bool {
        self.protocol.has_passed(mark)
    }
}

/// Returns the cache from which a store's commits are evicted, if the store has a node's
/// subscriber.
pub(crate) fn cache_behind(sink: &dyn Any) -> Option<&Cache> {
    let following = sink.downcast_ref::<Following>();
    let alone = sink.downcast_ref::<Changes>().map(Changes::cache);
    following
        .map(|following| following.channels.cache())
        .or(alone)
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following").field(&self.protocol).finish()
    }
}

/// Hands the items of the log to the node's channels.
struct Announcer {
    channels: Channels,
    for_all: ForAllChannels,
    gaps: Gaps,
    feed: Feed,
}

impl Announce for Announcer {
    fn announce(&self, change: Change) -> Handling {
        let entity = change.schema.name();
        let cause = change.cause;
        let change = RowChange {
            schema: change.schema,
            operation: change.operation,
            row: change.row,
            old_row: change.old_row,
        };
        let Some(ticket) = self.channels.enqueue(change, cause) else {
            // Handlers cannot get this change, and must not believe that there was none.
            self.gap(&Gap::of_entity(GapReason::Malformed, entity));
            return std::future::ready(()).boxed();
        };

        let delivery = ticket.dispatch();
        let channels = self.channels.clone();
        async move {
            // Without a deadline: nothing counts as applied before its handlers have run.
            channels.note_of(cause.number, &delivery.handled(Duration::MAX).await);
        }
        .boxed()
    }

    fn event(&self, posted: &Posted, cause: Cause) -> Handling {
        // An event that this program has not declared is another program's.
        let Some(channel) = self.for_all.find(&posted.source, &posted.event) else {
            return std::future::ready(()).boxed();
        };

        match channel.deliver(&posted.payload, cause) {
            Ok(handled) => {
                let (channels, gaps) = (self.channels.clone(), self.gaps.clone());
                async move {
                    let handled = handled.await;
                    channels.note(&handled);
                    if let Handled::Refused(_) = handled {
                        // The workers and queues of the channel have received the gap already.
                        gaps.tell_node(&Gap::of_all(GapReason::Overflow));
                    }
                }
                .boxed()
            }
            Err(error) => {
                let (source, event) = (&*posted.source, &*posted.event);
                tracing::error!(source, event, error = %Chain(&error), "an event of another node cannot be read");
                self.channels.cache().purge_node();
                self.gap(&Gap::of_all(GapReason::Malformed));
                std::future::ready(()).boxed()
            }
        }
    }

    fn gap(&self, gap: &Gap) {
        self.gaps.tell(gap);
    }

    fn listens(&self, entity: &str) -> bool {
        self.channels.are_heard(entity)
    }

    fn is_watched(&self) -> bool {
        self.feed.ring().is_watched()
    }

    fn told(&self, told: Told) -> Handling {
        self.feed.told(told)
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer")
            .field("gaps", &self.gaps)
            .finish_non_exhaustive()
    }
}
