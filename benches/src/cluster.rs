//! Subject group `cluster`: several nodes in this process, beside the raw client of what carries
//! their wake-ups.
//!
//! - `ENGINE_heard_p50`, `_p99`: from the acknowledgement of a commit to a handler on another
//!   node; the raw client's is a message from its being sent to its being received: a `NOTIFY`, a
//!   publish, for SQLite a byte that is appended to a file which inotify watches. Commits are some
//!   milliseconds apart: closer ones share a wake-up.
//! - `ENGINE_evicted_p50`, `_p99`: from the acknowledgement until another node's cache does not
//!   have what was changed.
//! - `jetstream_shared_p50`, `_p99` and those of `redis_streams`: nodes without a store, from the
//!   call of `invalidate` until another node's cache does not have the key; the raw client's is
//!   from a message's being sent to a stream until another client that waits for it has it.
//! - `postgres_confirmed_p50`, `_p99`: from the acknowledgement to the receipt of three nodes,
//!   beside one `NOTIFY`.
//! - `postgres_backlog`: another program's transaction of 10,000 rows, from its commit until
//!   another node's handler has received all, beside a client that reads the same records; the
//!   figure is that of a record.
//! - `postgres_write_8_writers`: an update by eight tasks at a time, on a node with another one in
//!   its cluster, beside a store on tables with the same triggers that no one reads.
//!
//! The servers are throwaway ones; the database does not flush its disk.

// The raw clients' times.
mod raw;
// Nodes that receive each other's changes.
mod nodes;
// The throughput of nodes.
mod load;
// Nodes without a store.
mod streams;

use std::time::Duration;

use tidings::{
    NodeBuilder,
    clock::{Clock as _, SystemClock},
};
use tidings_testkit::{Broker, Protocol, Server};
use tokio::runtime::Builder;

use self::{
    nodes::{Members, file_url},
    raw::{Inotify, Nats, Notify, Raw, Redis},
    streams::{JetStream, RedisStreams, Sharers},
};
use crate::harness::{Bench, BenchError, Settings, percentile};

/// How many commits are timed.
const TRIPS: usize = 1_000;
/// How far commits are apart.
const APART: Duration = Duration::from_millis(5);
/// How soon a node looks for another program's writes, which do not wake it.
const POLL: Duration = Duration::from_millis(10);
/// How many of them come before those that count.
const WARM_UP: usize = 50;

/// Runs the group.
///
/// # Errors
///
/// When two contestants get different results.
///
/// # Panics
///
/// When a server cannot be started, or fails.
pub fn run(settings: Settings) -> Result<Bench, BenchError> {
    // The servers set the pace, and vary less than caches do.
    let settings = Settings {
        rounds: settings.rounds.min(5),
        slices: settings.slices.min(4),
        ..settings
    };
    let mut bench = Bench::new("cluster", settings);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = Server::shared();

    runtime.block_on(async {
        let database = server.database().await;
        let members = Members::on(&database.url(), 2, |node| node).await;
        let notify = Notify::connect(&database.url()).await;
        heard(&mut bench, "postgres", members, notify).await;

        let nats = Broker::start(Protocol::Nats);
        let database = server.database().await;
        let woken = |node: NodeBuilder| {
            let carrier = tidings_carriers::Nats::new(&nats.url(), "bench");
            node.wake_by(carrier.expect("an address"))
        };
        let members = Members::on(&database.url(), 2, woken).await;
        let raw = Nats::connect(&nats.url()).await;
        heard(&mut bench, "nats", members, raw).await;

        let redis = Broker::start(Protocol::Redis);
        let database = server.database().await;
        let woken = |node: NodeBuilder| {
            let carrier = tidings_carriers::Redis::new(&redis.url(), "bench");
            node.wake_by(carrier.expect("an address"))
        };
        let members = Members::on(&database.url(), 2, woken).await;
        let raw = Redis::connect(&redis.url()).await;
        heard(&mut bench, "redis", members, raw).await;

        let shares = |node: NodeBuilder| {
            let stream = tidings_streams::JetStream::new(&nats.url(), "bench");
            node.stream(stream.expect("an address"))
        };
        let sharers = Sharers::on(shares).await;
        let raw = JetStream::connect(&nats.url()).await;
        shared(&mut bench, "jetstream", sharers, raw).await;
        let shares = |node: NodeBuilder| {
            let stream = tidings_streams::Redis::new(&redis.url(), "bench");
            node.stream(stream.expect("an address"))
        };
        let sharers = Sharers::on(shares).await;
        let raw = RedisStreams::connect(&redis.url()).await;
        shared(&mut bench, "redis_streams", sharers, raw).await;

        let directory = tempfile::tempdir().expect("a directory");
        let members = Members::on(&file_url(directory.path()), 2, |node| node).await;
        let raw = Inotify::watch(directory.path());
        heard(&mut bench, "sqlite", members, raw).await;

        let database = server.database().await;
        let members = Members::on(&database.url(), 3, |node| node).await;
        let notify = Notify::connect(&database.url()).await;
        confirmed(&mut bench, members, notify).await;

        let (database, unheard) = (server.database().await, server.database().await);
        let often = |node: NodeBuilder| node.log_poll(POLL);
        let mut members = Members::on(&database.url(), 2, often).await;
        load::backlog(&mut bench, &mut members, &database).await;
        load::writers(&mut bench, &members, &unheard).await;
        members.close().await;
    });
    Ok(bench)
}

/// Times commits and raw messages by turns: until a handler of another node runs, and until that
/// node has evicted.
async fn heard(bench: &mut Bench, engine: &str, mut members: Members, mut raw: impl Raw) {
    let trips = bench.settings().scaled(TRIPS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let clock = SystemClock::new();
    for trip in 0..WARM_UP + trips {
        clock.sleep(APART).await;
        let (one, other) = (members.trip().await, raw.trip().await);
        if trip >= WARM_UP {
            ours.push(one);
            theirs.push(other);
        }
    }
    let heard = format!("{engine}_heard");
    shares(bench, &heard, ours, (raw.name(), theirs));

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for trip in 0..WARM_UP + trips {
        clock.sleep(APART).await;
        let (one, other) = (members.evicted().await, raw.trip().await);
        members.forget();
        if trip >= WARM_UP {
            ours.push(one);
            theirs.push(other);
        }
    }
    members.close().await;
    let evicted = format!("{engine}_evicted");
    shares(bench, &evicted, ours, (raw.name(), theirs));
}

/// Times invalidations over a stream and raw messages by turns.
async fn shared(bench: &mut Bench, engine: &str, sharers: Sharers, mut raw: impl Raw) {
    let trips = bench.settings().scaled(TRIPS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let clock = SystemClock::new();
    for trip in 0..WARM_UP + trips {
        clock.sleep(APART).await;
        let (one, other) = (sharers.evicted().await, raw.trip().await);
        if trip >= WARM_UP {
            ours.push(one);
            theirs.push(other);
        }
    }
    sharers.close().await;
    let shared = format!("{engine}_shared");
    shares(bench, &shared, ours, (raw.name(), theirs));
}

/// Times receipts and raw messages by turns.
async fn confirmed(bench: &mut Bench, members: Members, mut raw: Notify) {
    let trips = bench.settings().scaled(TRIPS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let clock = SystemClock::new();
    for trip in 0..WARM_UP + trips {
        clock.sleep(APART).await;
        let (one, other) = (members.confirmed().await, raw.trip().await);
        if trip >= WARM_UP {
            ours.push(one);
            theirs.push(other);
        }
    }
    members.close().await;
    shares(bench, "postgres_confirmed", ours, (raw.name(), theirs));
}

fn shares(bench: &mut Bench, subject: &str, mut ours: Vec<f64>, raw: (&str, Vec<f64>)) {
    let (name, mut theirs) = raw;
    for (share, percent) in [("p50", 50.0), ("p99", 99.0)] {
        let figures = [
            ("tidings", percentile(&mut ours, percent)),
            (name, percentile(&mut theirs, percent)),
        ];
        bench.times(&format!("{subject}_{share}"), 2, &figures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_measured_beside_its_raw_client() {
        let bench = run(Settings::quick()).expect("checksums agree");
        let rows = bench.rows().iter();
        let subjects: Vec<_> = rows.map(|row| row.subject.as_str()).collect();
        for engine in ["postgres", "nats", "redis", "sqlite"] {
            for what in ["heard", "evicted"] {
                let of = |it: &&&str| it.starts_with(&format!("{engine}_{what}"));
                assert_eq!(subjects.iter().filter(of).count(), 4, "{engine}_{what}");
            }
        }
        for engine in ["jetstream", "redis_streams"] {
            let of = |it: &&&str| it.starts_with(&format!("{engine}_shared"));
            assert_eq!(subjects.iter().filter(of).count(), 4, "{engine}");
        }
        for subject in ["confirmed_p50", "backlog", "write_8_writers"] {
            let subject = format!("postgres_{subject}");
            let of = |it: &&&str| **it == subject;
            assert_eq!(subjects.iter().filter(of).count(), 2, "{subject}");
        }
    }
}
