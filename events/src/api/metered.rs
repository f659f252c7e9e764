//! The bus's counts through the `metrics` facade.
//!
//! They are handed over on request, before a scrape: a post never calls a recorder.

use std::collections::BTreeMap;

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::api::{
    bus::WorkerEvents,
    stats::{BusStats, ChannelStats},
};

impl WorkerEvents {
    /// Hands the counts of [`stats`](Self::stats) to the recorder of the `metrics` crate: call it
    /// before a scrape.
    ///
    /// Counters: `tidings_events_posted_total` by channel, `_missed_total` by channel and
    /// subscriber; `_handler_failures_total` by handler, worker and kind (`error`, `panic`);
    /// `_mailbox_handled_total`, `_mailbox_missed_total` and `_mailbox_dropped_total` by worker;
    /// `_refused_total`, `_dropped_total` and `_changes_total` of the bus. Gauges:
    /// `tidings_events_queue_depth` by channel and subscriber, `_mailbox_depth` by worker,
    /// `_changes_waiting` of the bus. Handlers and subscribers that share a name are counted
    /// together.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::WorkerEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// bus.publish_metrics(); // then let the recorder render what it has
    /// # Ok(()) }
    /// ```
    pub fn publish_metrics(&self) {
        describe();
        let stats = self.stats();
        for channel in &stats.channels {
            publish_channel(channel);
        }

        publish_handlers(&stats);
        for mailbox in &stats.mailboxes {
            let names = [("worker", mailbox.worker.to_string())];
            counter!("tidings_events_mailbox_handled_total", &names).absolute(mailbox.handled);
            counter!("tidings_events_mailbox_missed_total", &names).absolute(mailbox.missed);
            counter!("tidings_events_mailbox_dropped_total", &names).absolute(mailbox.dropped);
            gauge!("tidings_events_mailbox_depth", &names).set(mailbox.depth as f64);
        }

        counter!("tidings_events_refused_total").absolute(stats.refused);
        counter!("tidings_events_dropped_total").absolute(stats.dropped);
        counter!("tidings_events_changes_total").absolute(stats.sequencer.enqueued);
        gauge!("tidings_events_changes_waiting").set(stats.sequencer.depth as f64);
    }
}

fn describe() {
    describe_counter!("tidings_events_posted_total", "Events dispatched");
    describe_counter!(
        "tidings_events_missed_total",
        "Events that a subscriber did not get because its queue was full"
    );
    describe_gauge!(
        "tidings_events_queue_depth",
        "Events in a subscriber's queue"
    );
    describe_counter!(
        "tidings_events_handler_failures_total",
        "Calls of a handler that ended in an error or a panic"
    );
    describe_counter!(
        "tidings_events_mailbox_handled_total",
        "Events whose handlers have run on a worker"
    );
    describe_counter!(
        "tidings_events_mailbox_missed_total",
        "Events that a worker's mailbox turned away because it was full"
    );
    describe_counter!(
        "tidings_events_mailbox_dropped_total",
        "Events that a worker accepted and never handled"
    );
    describe_gauge!(
        "tidings_events_mailbox_depth",
        "Events waiting in a worker's mailbox"
    );
    describe_counter!("tidings_events_refused_total", "Posts that were refused");
    describe_counter!(
        "tidings_events_dropped_total",
        "Accepted changes that no handler heard of"
    );
    describe_counter!(
        "tidings_events_changes_total",
        "Changes of rows put in line for handlers"
    );
    describe_gauge!(
        "tidings_events_changes_waiting",
        "Changes of rows in line for handlers now"
    );
}

fn publish_channel(channel: &ChannelStats) {
    let names = [
        ("source", channel.source.clone()),
        ("event", channel.event.clone()),
    ];
    counter!("tidings_events_posted_total", &names).absolute(channel.posted);

    let mut queues: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for subscriber in &channel.subscribers {
        let (missed, depth) = queues.entry(&subscriber.name).or_default();
        *missed += subscriber.missed;
        *depth += subscriber.depth;
    }

    for (subscriber, (missed, depth)) in queues {
        let [source, event] = names.clone();
        let names = [source, event, ("subscriber", subscriber.to_owned())];
        counter!("tidings_events_missed_total", &names).absolute(missed);
        gauge!("tidings_events_queue_depth", &names).set(depth as f64);
    }
}

fn publish_handlers(stats: &BusStats) {
    let mut failures: BTreeMap<(&str, Option<usize>), (u64, u64)> = BTreeMap::new();
    for handler in &stats.handlers {
        let (errors, panics) = failures.entry((&handler.name, handler.worker)).or_default();
        *errors += handler.errors;
        *panics += handler.panics;
    }

    for ((handler, worker), (errors, panics)) in failures {
        let count = |kind: &'static str, count| {
            let worker = worker.map_or_else(String::new, |worker| worker.to_string());
            let names = [
                ("handler", handler.to_owned()),
                ("worker", worker),
                ("kind", kind.to_owned()),
            ];
            counter!("tidings_events_handler_failures_total", &names).absolute(count);
        };
        count("error", errors);
        count("panic", panics);
    }
}
