//! [`Cluster`]: the logs that a node follows, and what it follows them with.

use std::{sync::Arc, time::Duration};

use tidings_cluster::{Carrier, Intake, SealedWakes};
use tidings_core::log::{ApartNeeds, KeptLog, Log, LogApart, LogError, Members};
use tidings_store::{LogNeeds, Store};

use super::{
    super::{LOG_RETENTIONS, NodeBuilder},
    bus::Bus,
    ground::{Ground, refused},
};
use crate::{
    error::StartError,
    facts,
    feed::Feed,
    follow::{Following, Wiring},
};

/// How often it is looked whether every write is recorded.
const LOOK: Duration = Duration::from_millis(500);

/// The node's side of its store's log, and of the cluster.
pub(super) struct Cluster {
    members: Option<Arc<dyn Members>>,
    pub(super) carrier: Option<Arc<Carrier>>,
    /// Where wake-ups name keys: they wait for the cluster's key.
    pub(super) sealed: Option<Arc<SealedWakes>>,
    pub(super) log: Option<Followed>,
}

/// A log that is to be followed.
pub(super) struct Followed {
    log: Arc<dyn KeptLog>,
    /// The same log, for readers that come back.
    history: Arc<dyn KeptLog>,
    pub(super) intake: Arc<Intake>,
}

/// The logs of the node's store, or of the stream that it has in place of one.
pub(super) struct Logs {
    members: Option<Arc<dyn Members>>,
    /// The log that the node follows, and the same log for readers that come back.
    log: Option<(Arc<dyn KeptLog>, Arc<dyn KeptLog>)>,
}

impl Logs {
    pub(super) fn of(
        builder: &mut NodeBuilder,
        ground: &Ground,
    ) -> Result<(Store, Self), StartError> {
        match (builder.store.take(), builder.stream.take()) {
            (Some(_), Some(_)) => Err(refused(
                "a node has a store or a stream: beside a store the stream's server can carry \
                 wake-ups (NodeBuilder::wake_by)",
            )),
            (Some(store), None) => {
                let logs = Self::of_store(&store, ground);
                Ok((store, logs))
            }
            (None, Some(stream)) => Self::of_stream(&*stream, ground),
            (None, None) => Err(StartError::NoStore),
        }
    }

    fn of_store(store: &Store, ground: &Ground) -> Self {
        let bound = ground.settings.bound();
        let needs = LogNeeds {
            node: ground.node_id.as_str().into(),
            schemas: ground.schemas.clone(),
            recorded: ground.recorded.clone(),
            check_capture_every: bound.map_or(LOOK, |bound| LOOK.min(bound / 3)),
            clock: Arc::clone(&ground.clock),
            spawn: Arc::clone(&ground.spawn),
        };
        let members = store.members(&needs);
        let history = store.log(needs.clone());
        Self {
            members,
            log: store.log(needs).zip(history),
        }
    }

    fn of_stream(stream: &dyn LogApart, ground: &Ground) -> Result<(Store, Self), StartError> {
        let needs = ApartNeeds {
            node: ground.node_id.as_str().into(),
            schemas: ground.heard(),
            clock: Arc::clone(&ground.clock),
            spawn: Arc::clone(&ground.spawn),
        };
        let failed = |error: LogError| StartError::Log(error.into());
        let members = stream.members(&needs).map_err(failed)?;
        let history = stream.open(&needs).map_err(failed)?;
        let log = stream.open(&needs).map_err(failed)?;
        let store = Store::without_tables(stream.engine(), Arc::clone(&history), stream.key());
        let logs = Self {
            members: Some(members),
            log: Some((log, history)),
        };
        Ok((store, logs))
    }
}

impl Cluster {
    pub(super) fn of(
        builder: &mut NodeBuilder,
        ground: &Ground,
        store: &Store,
        logs: Logs,
    ) -> Result<Self, StartError> {
        let Logs { members, log } = logs;
        let wakes = builder.wakes.take();
        if wakes.is_some() && (members.is_none() || store.engine() != "postgres") {
            return Err(refused("wake_by needs a cluster in a PostgreSQL database"));
        }
        if log.is_none() && !ground.recorded.is_empty() {
            let needed = "recorded_entity needs a store that keeps a log: open it with Logging::On";
            return Err(refused(needed));
        }

        // The wake-ups of processes on one file are a file's growth, and name nothing.
        let names_keys = members.is_some() && store.engine() == "postgres";
        let mut sealed = None;
        let log = log.map(|(log, history)| {
            let mut read = Arc::clone(&log) as Arc<dyn Log>;
            if names_keys {
                let wakes = sealed.insert(Arc::new(SealedWakes::new(read, wakes)));
                read = Arc::clone(wakes) as _;
            }

            let clock = Arc::clone(&ground.clock);
            Followed {
                log,
                history,
                intake: Intake::new(read, clock, &ground.settings),
            }
        });
        let node = || ground.node_id.as_str().into();
        Ok(Self {
            carrier: members.is_some().then(|| Carrier::new(node())),
            members,
            sealed,
            log,
        })
    }

    /// Starts to follow the log, if there is one.
    pub(super) fn follow(
        &mut self,
        builder: &NodeBuilder,
        ground: &Ground,
        bus: &Bus,
        feed: &Feed,
    ) -> Result<Option<Following>, StartError> {
        let Some(logs) = self.log.take() else {
            return Ok(None);
        };
        let retention = builder.retention;
        if !(LOG_RETENTIONS.0..=LOG_RETENTIONS.1).contains(&retention) {
            let message = format!("log_retention is {retention:?}; it must be 10 s to 30 days");
            return Err(refused(message));
        }

        let heard = ground.heard();
        let following = Following::start(Wiring {
            node: ground.node_id.as_str().into(),
            log: logs.log,
            history: logs.history,
            members: self.members.take(),
            facts: facts::of(&ground.schemas, &ground.recorded, retention),
            intake: logs.intake,
            carrier: self.carrier.take(),
            channels: bus.channels.clone(),
            for_all: bus.for_all.clone(),
            schemas: heard,
            gaps: bus.gaps.clone(),
            feed: feed.clone(),
            clock: Arc::clone(&ground.clock),
            spawn: Arc::clone(&ground.spawn),
            settings: ground.settings.clone(),
        });
        let following = following.map_err(|error| StartError::Log(error.into()))?;
        Ok(Some(following))
    }
}
