//! Subject group `bus`: posting, and the time until every listener has the event.
//!
//! - `inline_N`: one post to N inline handlers, through a channel handle, counting on and timing
//!   sampled as in production; beside a loop over N boxed closures, each under `catch_unwind`. The
//!   figure is a post's.
//! - `queue_N`: one poster, N subscribers; 256 events are posted, then every subscriber is drained.
//!   The figure is a delivery's: the time of all over posts times subscribers. Peers carry an `Arc`
//!   of the same payload.
//! - `queue_4_posters_8`: four posting threads, eight subscribers on two further threads, nothing
//!   lost.
//! - `mailbox_4_workers`: one poster, four worker threads that each handle every event, nothing
//!   lost. The figure is that of one event until all four have handled it.
//! - `hop_p50`, `hop_p99`: from a post on one worker to its handler on another.
//! - `curve_*`: how ours grows.

// None of these knows another.
// The cost of a post over the number of handlers and workers.
mod curves;
// Posts to handlers that run in the poster's thread.
mod inline;
// Posts to queues.
mod queue;
// Posts to workers on threads of their own.
mod workers;

use serde::Serialize;

use crate::harness::{Bench, BenchError, Settings};

/// Runs the group.
///
/// # Errors
///
/// When two contestants deliver different events.
pub fn run(settings: Settings) -> Result<Bench, BenchError> {
    let mut bench = Bench::new("bus", settings);
    inline::run(&mut bench)?;
    queue::run(&mut bench)?;
    workers::run(&mut bench)?;
    curves::run(&mut bench)?;
    Ok(bench)
}

/// What is posted: a change of the usual size of a small row.
#[derive(Clone, Debug, Serialize)]
struct Change {
    number: u64,
    id: [u64; 2],
    consumer: [u64; 2],
    created_at: u64,
}

impl Change {
    fn new(number: u64) -> Self {
        Self {
            number,
            id: [number, !number],
            consumer: [number ^ 7, 7],
            created_at: 1_700_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contestants_deliver_the_same() {
        let bench = run(Settings::quick()).expect("checksums agree");
        for subject in ["queue_1", "queue_8", "queue_64", "queue_4_posters_8"] {
            let rows = bench.rows().iter().filter(|row| row.subject == subject);
            assert_eq!(rows.count(), 4, "{subject}");
        }
    }
}
