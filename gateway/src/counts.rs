//! [`Counts`]: the counters of the proxy side, one set for each worker, published to the `metrics`
//! facade on demand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tidings::core::meter::Histogram;

use crate::plugin::Refusal;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of a node's proxy side.
#[derive(Debug)]
pub(crate) struct Counts {
    workers: Box<[Arc<WorkerCounts>]>,
}

/// The counters of one worker. Written by that worker alone; padded, so that workers do not write
/// to one another's cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerCounts {
    answers: [AtomicU64; CLASSES.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    took: Histogram,
    upstream_took: Histogram,
    upstream_requests: AtomicU64,
    upstream_repeats: AtomicU64,
    upstream_connections: AtomicU64,
    accepted: AtomicU64,
    body_bytes_in: AtomicU64,
    body_bytes_out: AtomicU64,
}

impl WorkerCounts {
    /// Counts an answer, by its status, its cause if the proxy side itself gave it, and the time to
    /// its head.
    pub(crate) fn answered(&self, status: StatusCode, refusal: Option<Refusal>, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        tick(&self.answers[class]);
        if let Some(refusal) = refusal {
            tick(&self.refusals[refusal as usize]);
        }
        self.took.record(took);
    }

    /// Counts an answer of the upstream, with the time to its head.
    pub(crate) fn upstream_answered(&self, took: Duration) {
        self.upstream_took.record(took);
    }

    pub(crate) fn sent_to_upstream(&self) {
        tick(&self.upstream_requests);
    }

    pub(crate) fn repeated_to_upstream(&self) {
        tick(&self.upstream_repeats);
    }

    pub(crate) fn connected_to_upstream(&self) {
        tick(&self.upstream_connections);
    }

    /// Counts received bytes of a request's body.
    pub(crate) fn body_came(&self, bytes: usize) {
        add(&self.body_bytes_in, bytes as u64);
    }

    /// Counts sent bytes of an answer's body.
    pub(crate) fn body_goes(&self, bytes: usize) {
        add(&self.body_bytes_out, bytes as u64);
    }

    pub(crate) fn accepted(&self) {
        tick(&self.accepted);
    }
}

/// Adds to a count. There is one writer, so nothing is lost between the load and the store.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

fn tick(count: &AtomicU64) {
    add(count, 1);
}

impl Counts {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Returns the counters of one worker.
    pub(crate) fn worker(&self, id: usize) -> Option<Arc<WorkerCounts>> {
        self.workers.get(id).cloned()
    }

    /// Hands everything to the recorder of the `metrics` crate.
    pub(crate) fn publish(&self, open: usize, most: usize, lost_lines: u64) {
        describe();
        let sum = |of: fn(&WorkerCounts) -> &AtomicU64| {
            let each = self.workers.iter().map(|worker| of(worker).load(Relaxed));
            each.sum::<u64>()
        };

        for (index, class) in CLASSES.iter().enumerate() {
            let each = self
                .workers
                .iter()
                .map(|worker| worker.answers[index].load(Relaxed));
            counter!("tidings_http_requests_total", "status" => *class).absolute(each.sum());
        }

        for refusal in Refusal::ALL {
            let each = self.workers.iter();
            let count: u64 = each
                .map(|worker| worker.refusals[refusal as usize].load(Relaxed))
                .sum();
            counter!("tidings_http_refusals_total", "cause" => refusal.label()).absolute(count);
        }

        let (took, upstream) = (
            histogram!("tidings_http_request_seconds"),
            histogram!("tidings_upstream_seconds"),
        );
        for worker in &self.workers {
            worker.took.publish(&took);
            worker.upstream_took.publish(&upstream);
        }

        counter!("tidings_upstream_requests_total")
            .absolute(sum(|worker| &worker.upstream_requests));
        counter!("tidings_upstream_repeats_total").absolute(sum(|worker| &worker.upstream_repeats));
        counter!("tidings_upstream_connections_total")
            .absolute(sum(|worker| &worker.upstream_connections));
        counter!("tidings_http_request_body_bytes_total")
            .absolute(sum(|worker| &worker.body_bytes_in));
        counter!("tidings_http_response_body_bytes_total")
            .absolute(sum(|worker| &worker.body_bytes_out));
        counter!("tidings_http_connections_total").absolute(sum(|worker| &worker.accepted));
        gauge!("tidings_http_connections").set(open as f64);
        gauge!("tidings_http_connections_limit").set(most as f64);
        counter!("tidings_log_lines_lost_total").absolute(lost_lines);
    }
}

fn describe() {
    describe_counter!(
        "tidings_http_requests_total",
        "Requests answered on the proxy side, by class of status"
    );
    describe_counter!(
        "tidings_http_refusals_total",
        "Requests that the proxy side answered itself, by cause"
    );
    describe_histogram!(
        "tidings_http_request_seconds",
        Unit::Seconds,
        "Time from a request's head to the head of its answer"
    );
    describe_histogram!(
        "tidings_upstream_seconds",
        Unit::Seconds,
        "Time from a request's start at the upstream to the head of its answer"
    );
    describe_counter!(
        "tidings_upstream_requests_total",
        "Requests sent to the upstream, repeats included"
    );
    describe_counter!(
        "tidings_upstream_repeats_total",
        "Requests sent to the upstream a second time, because a kept connection had closed"
    );
    describe_counter!(
        "tidings_upstream_connections_total",
        "Connections opened to the upstream"
    );
    describe_counter!(
        "tidings_http_request_body_bytes_total",
        Unit::Bytes,
        "Bytes of request bodies that came from clients"
    );
    describe_counter!(
        "tidings_http_response_body_bytes_total",
        Unit::Bytes,
        "Bytes of answers' bodies that went to clients"
    );
    describe_counter!(
        "tidings_http_connections_total",
        "Connections of clients accepted on the proxy side"
    );
    describe_gauge!(
        "tidings_http_connections",
        "Connections of clients that are open on the proxy side"
    );
    describe_gauge!(
        "tidings_http_connections_limit",
        "The most connections of clients that may be open on the proxy side"
    );
    describe_counter!(
        "tidings_log_lines_lost_total",
        "Log lines lost because their reader was too slow"
    );
}
