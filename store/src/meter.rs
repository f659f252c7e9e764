//! Counts a store's calls, and how long they take.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tidings_core::{
    clock::{Clock, Tick},
    meter::Histogram,
};

use crate::error::Error;

/// The counts of one store.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    reads: Calls,
    writes: Calls,
    /// Writes that wait for the database to begin.
    waiting: AtomicU64,
}

/// The calls of one kind.
#[derive(Debug, Default)]
struct Calls {
    took: Histogram,
    /// Calls that failed because of the database, and not because of the request; those counted
    /// below not included.
    failures: AtomicU64,
    /// Calls that waited too long.
    busy: AtomicU64,
    /// Calls whose commit has an unknown outcome.
    in_doubt: AtomicU64,
}

/// Counts one write as waiting until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicU64);

impl Meter {
    /// Counts a read that began at a moment.
    pub(crate) fn read<T>(&self, clock: &dyn Clock, began: Tick, ended: &Result<T, Error>) {
        self.reads.count(clock, began, ended);
    }

    /// Counts a write that began at a moment.
    pub(crate) fn write<T>(&self, clock: &dyn Clock, began: Tick, ended: &Result<T, Error>) {
        self.writes.count(clock, began, ended);
    }

    /// Counts a write as waiting until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(&self.waiting)
    }

    /// Passes all counts to the recorder of the `metrics` crate.
    pub(crate) fn publish(&self) {
        describe_counter!("tidings_store_reads_total", "Reads of the database");
        describe_counter!("tidings_store_writes_total", "Writes of the database");
        describe_counter!(
            "tidings_store_failures_total",
            "Calls that failed because of the database, by call and kind: busy (waited too long), in_doubt (the outcome of a \
             commit is unknown), other"
        );
        describe_histogram!("tidings_store_read_seconds", "How long reads took");
        describe_histogram!(
            "tidings_store_write_seconds",
            "How long writes took, with the wait for their turn and the handlers"
        );
        describe_gauge!(
            "tidings_store_waiting_writers",
            "Writes that wait for the database to begin"
        );

        counter!("tidings_store_reads_total").absolute(self.reads.took.seen().count());
        counter!("tidings_store_writes_total").absolute(self.writes.took.seen().count());
        self.reads
            .took
            .publish(&histogram!("tidings_store_read_seconds"));
        self.writes
            .took
            .publish(&histogram!("tidings_store_write_seconds"));
        self.reads.publish_failures("read");
        self.writes.publish_failures("write");
        gauge!("tidings_store_waiting_writers").set(self.waiting.load(Relaxed) as f64);
    }
}

impl Calls {
    fn count<T>(&self, clock: &dyn Clock, began: Tick, ended: &Result<T, Error>) {
        self.took.record(clock.now().since(began));
        let Err(error) = ended else {
            return;
        };

        let kind = match error {
            Error::Busy(_) | Error::TooLong { .. } => &self.busy,
            Error::Commit(_) | Error::Interrupted => &self.in_doubt,
            error if error.is_of_the_database() => &self.failures,
            _ => return,
        };
        kind.fetch_add(1, Relaxed);
    }

    fn publish_failures(&self, call: &'static str) {
        let kinds = [
            ("busy", &self.busy),
            ("in_doubt", &self.in_doubt),
            ("other", &self.failures),
        ];
        for (kind, count) in kinds {
            counter!("tidings_store_failures_total", "call" => call, "kind" => kind)
                .absolute(count.load(Relaxed));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
