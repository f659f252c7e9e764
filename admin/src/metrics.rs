//! [`Metrics`]: the counts of a program, as Prometheus text.
//!
//! This module counts nothing. Each part of a node counts for itself and publishes its counts on
//! request. A scrape makes all parts publish to a recorder of its own, and renders that recorder. A
//! process-wide recorder would mix the nodes of one process.

// Published series, until they are rendered.
mod registry;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use metrics_process::Collector;
use tidings::Node;

use self::registry::Registry;

/// The metrics of a node and of the program around it. Clones share their state. All listeners of a
/// program should share one, because the values of histograms are published only once.
///
/// # Examples
///
/// ```
/// use tidings_admin::{AdminOptions, Metrics};
///
/// let metrics = Metrics::new().publish(|| metrics::counter!("myapp_jobs_total").absolute(7));
/// let options = AdminOptions::new().metrics(metrics);
/// ```
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    /// Held while a scrape publishes and renders: two at once would render halves.
    registry: Mutex<Registry>,
    process: Collector,
    publishers: Vec<Arc<Publisher>>,
}

type Publisher = dyn Fn() + Send + Sync;

impl Metrics {
    /// Makes the metrics of the node and of the process.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Vec::new())
    }

    /// Adds a function that publishes further series through the macros of the `metrics` crate. It
    /// must publish all of its series at each call; a series that a call leaves out is not shown.
    #[must_use]
    pub fn publish(self, publisher: impl Fn() + Send + Sync + 'static) -> Self {
        let mut publishers = self.0.publishers.clone();
        publishers.push(Arc::new(publisher));
        Self::of(publishers)
    }

    fn of(publishers: Vec<Arc<Publisher>>) -> Self {
        Self(Arc::new(Inner {
            registry: Mutex::default(),
            process: Collector::default(),
            publishers,
        }))
    }

    /// Renders everything as it is now.
    pub(crate) fn render(&self, node: &Node) -> String {
        let registry = self.0.registry.lock();
        let mut registry = registry.unwrap_or_else(PoisonError::into_inner);
        registry.begin();

        metrics::with_local_recorder(&*registry, || {
            node.publish_metrics();
            self.0.process.describe();
            self.0.process.collect();
            for publisher in &self.0.publishers {
                publisher();
            }
        });

        registry.render()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("publishers", &self.0.publishers.len())
            .finish_non_exhaustive()
    }
}
