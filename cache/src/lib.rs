//! A two-level cache whose fenced loads never fill it with stale values.

#[macro_use]
mod step;
mod blocking;
mod bulk;
mod cache;
mod config;
mod error;
#[cfg(shuttle)]
mod faults;
mod fence;
mod fill;
mod flight;
mod form;
mod invalidate;
mod level1;
mod level2;
mod load;
mod loaded;
mod node;
mod options;
mod policy;
mod probe;
mod receipt;
mod set;
mod size;
mod stats;
mod stored;
mod sync;
mod tags;

pub use tidings_core::{
    CacheKey, Cause, KeyBuilder, KeyPart, Origin,
    clock::{Clock, ManualClock, SystemClock},
};

pub use self::{
    cache::{Cache, Entry, Outcome},
    config::{CacheBuilder, CacheSettings},
    error::{BoxError, ConfigError, GetError, LoadError, OptionError, SetError},
    invalidate::Keys,
    level1::ThreadGuard,
    loaded::Loaded,
    options::GetOptions,
    policy::Policy,
    probe::{Level, Probe, ProbeJson},
    receipt::{Confirmation, Invalidation, Propagate, Receipt, Unconfirmed},
    stats::{CacheStats, Distribution, ThreadStats},
    stored::Cacheable,
    tags::Tag,
};
