//! [`Bus`]: the bus of a node, and the channels that it has from its start.

use std::sync::Arc;

use tidings_cache::Cache;
use tidings_core::{BoxError, log::Gap};
use tidings_events::WorkerEvents;

use super::{super::NodeBuilder, ground::Ground};
use crate::{
    changes::{Channels, GAP, Gaps},
    cluster_channel::ForAllChannels,
    error::StartError,
};

/// The bus, and the channels of the node on it.
pub(super) struct Bus {
    pub(super) events: WorkerEvents,
    pub(super) channels: Channels,
    pub(super) for_all: ForAllChannels,
    pub(super) gaps: Gaps,
}

impl Bus {
    pub(super) fn of(
        builder: &mut NodeBuilder,
        ground: &Ground,
        cache: &Cache,
    ) -> Result<Self, StartError> {
        let refused = |error: BoxError| StartError::Events(error);
        let events = std::mem::replace(&mut builder.events, WorkerEvents::builder())
            .workers(builder.workers)
            .clock(Arc::clone(&ground.clock))
            .runtime(ground.runtime.clone())
            .build()
            .map_err(|error| refused(error.into()))?;

        let all = builder.entities.iter().chain(&builder.recorded);
        let declared = all.map(|it| (it.schema, it.declare));
        let channels = Channels::declare(declared, &events, cache.clone())
            .map_err(|error| refused(error.into()))?;
        let for_all = ForAllChannels::declare(&builder.for_all, &events)
            .map_err(|error| refused(error.into()))?;
        let told = events.declare_opaque::<Gap>(GAP.0, GAP.1);
        let told = told.map_err(|error| refused(error.into()))?;
        let gaps = Gaps::new(std::mem::take(&mut builder.gaps), Some(told));
        Ok(Self {
            events,
            channels,
            for_all,
            gaps,
        })
    }
}
