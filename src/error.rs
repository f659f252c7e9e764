//! Why a node did not start.

use tidings_core::{BoxError, SchemaFaults};

/// Why a node did not start. Nothing is left running, and the store is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The builder was given neither a store nor a stream.
    #[error("a node needs a store: call NodeBuilder::store, or NodeBuilder::stream")]
    NoStore,
    /// The number of workers is out of range.
    #[error("workers is {0}; it must be 1 to {max}", max = tidings_events::MAX_WORKERS)]
    Workers(usize),
    /// The node was started outside a tokio runtime, and the builder was given none.
    #[error(
        "a node needs a tokio runtime for its loads and its store: start it inside one, or call NodeBuilder::runtime"
    )]
    NoRuntime,
    /// The schemas are faulty; all faults are listed.
    #[error(transparent)]
    Schemas(#[from] SchemaFaults),
    /// A setting of the cache is wrong.
    #[error("the cache was not built")]
    Cache(#[source] BoxError),
    /// A setting of the bus is wrong, or a channel could not be declared.
    #[error("worker events were not built")]
    Events(#[source] BoxError),
    /// A setting of the log is out of range.
    #[error("the log cannot be followed")]
    Log(#[source] BoxError),
    /// The store refused the schemas, or cannot be reached.
    #[error("the store was not attached")]
    Store(#[source] tidings_store::Error),
    /// A budget of audits is out of range.
    #[error("the settings of audits are wrong: {0}")]
    Audit(String),
    /// A worker's thread, runtime or `init_worker` hook failed.
    #[error("worker {worker} did not start")]
    Worker {
        /// Which worker.
        worker: usize,
        /// The cause.
        #[source]
        source: BoxError,
    },
}
