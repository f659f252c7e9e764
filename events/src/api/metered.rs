//! The bus's counts through the `metrics` facade.
//!
//! They are handed over on request, which is when they are scraped: a post touches no recorder.

use metrics::{counter, gauge};

use crate::api::bus::WorkerEvents;

impl WorkerEvents {
    /// Hands the counts of [`stats`](Self::stats) to the installed `metrics` recorder: call it before a scrape.
    ///
    /// Counters: `tidings_events_posted`, `_missed` and gauge `_queue_depth` by channel (and subscriber);
    /// `_handler_panics`, `_handler_errors` by handler; `_mailbox_handled`, `_mailbox_missed`,
    /// `_mailbox_dropped` and gauge `_mailbox_depth` by worker; `_refused`, `_dropped`, `_changes` and gauge
    /// `_sequencer_depth` of the bus.
    pub fn record_metrics(&self) {
        let stats = self.stats();
        for channel in stats.channels {
            let names = [("source", channel.source), ("event", channel.event)];
            counter!("tidings_events_posted", &names).absolute(channel.posted);
            for subscriber in channel.subscribers {
                let [source, event] = names.clone();
                let names = [source, event, ("subscriber", subscriber.name)];
                counter!("tidings_events_missed", &names).absolute(subscriber.missed);
                gauge!("tidings_events_queue_depth", &names).set(subscriber.depth as f64);
            }
        }
        for handler in stats.handlers {
            let worker = handler
                .worker
                .map_or_else(String::new, |worker| worker.to_string());
            let names = [("handler", handler.name), ("worker", worker)];
            counter!("tidings_events_handler_panics", &names).absolute(handler.panics);
            counter!("tidings_events_handler_errors", &names).absolute(handler.errors);
        }
        for mailbox in stats.mailboxes {
            let names = [("worker", mailbox.worker.to_string())];
            counter!("tidings_events_mailbox_handled", &names).absolute(mailbox.handled);
            counter!("tidings_events_mailbox_missed", &names).absolute(mailbox.missed);
            counter!("tidings_events_mailbox_dropped", &names).absolute(mailbox.dropped);
            gauge!("tidings_events_mailbox_depth", &names).set(mailbox.depth as f64);
        }
        counter!("tidings_events_refused").absolute(stats.refused);
        counter!("tidings_events_dropped").absolute(stats.dropped);
        counter!("tidings_events_changes").absolute(stats.sequencer.enqueued);
        gauge!("tidings_events_sequencer_depth").set(stats.sequencer.depth as f64);
    }
}
