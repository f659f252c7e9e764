//! Subject group `store`: data access on both engines, beside bare sqlx on the same tables in the
//! same run.
//!
//! On SQLite both have a file of their own, with the same journal and `synchronous = FULL`. On
//! PostgreSQL both have a database of their own on one throwaway server, with the same triggers;
//! the server does not flush its disk, so that the figures are of the work and not of the disk. No
//! handler listens.
//!
//! - `select`: one row by a unique field.
//! - `insert`: one row in a transaction of its own.
//! - `insert_8_writers`: the same by eight tasks at a time; the figure is that of one insert.
//! - `transaction_10`: ten inserts in one transaction.
//! - `insert_many`: 10,000 rows in one transaction; bare sqlx sends 100 rows in a statement, too.
//! - `stream`: 100,000 rows in the order of their primary keys, in pages of 1,000.
//! - `delete_tree`: a row with 20,000 rows that refer to it, beside `ON DELETE CASCADE`.

// Ours.
mod ours;
// The same work by sqlx alone.
mod bare;

use std::future::Future;

use tidings_testkit::Server;
use tokio::runtime::{Builder, Runtime};

use self::{bare::Bare, ours::Ours};
use crate::harness::{Bench, BenchError, Contestant, Sample, Settings};

/// Rows that are there before anything is measured.
const ROWS: usize = 100_000;
/// How many lookups one turn makes.
const LOOKUPS: usize = 200;
/// How many rows refer to the one that is deleted.
const TREE: usize = 20_000;
/// How many rows `insert_many` takes.
const MANY: usize = 10_000;

/// Returns a row's key.
fn name(number: usize) -> String {
    format!("key-{number:012}")
}

/// The work of a contestant.
trait Work: Send + Sync {
    fn select(&self, number: usize) -> impl Future<Output = u64> + Send;
    fn insert(&self) -> impl Future<Output = u64> + Send;
    fn transaction(&self, rows: usize) -> impl Future<Output = u64> + Send;
    fn insert_many(&self, rows: usize) -> impl Future<Output = u64> + Send;
    fn stream(&self) -> impl Future<Output = u64> + Send;
    /// Makes a row with many that refer to it; not measured.
    fn plant(&self, rows: usize) -> impl Future<Output = ()> + Send;
    /// Deletes what was planted, and returns how many rows are left of it.
    fn fell(&self) -> impl Future<Output = u64> + Send;
}

/// Runs the group.
///
/// # Errors
///
/// When two contestants get different results.
///
/// # Panics
///
/// When a database cannot be made, or fails.
pub fn run(settings: Settings) -> Result<Bench, BenchError> {
    // The databases set the pace, and vary less than caches do.
    let settings = Settings {
        rounds: settings.rounds.min(5),
        slices: settings.slices.min(4),
        ..settings
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut bench = Bench::new("store", settings);

    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| format!("sqlite://{}/{name}.db", directory.path().display());
    let ours = runtime.block_on(Ours::open(&file("ours")));
    let bare = runtime.block_on(async {
        drop(Ours::open(&file("bare")).await.close().await);
        Bare::sqlite(&file("bare")).await
    });
    engine(&mut bench, "sqlite", &runtime, &ours, &bare)?;

    let server = Server::shared();
    let databases = runtime.block_on(async { (server.database().await, server.database().await) });
    let ours = runtime.block_on(Ours::open(&databases.0.url()));
    let bare = runtime.block_on(async {
        drop(Ours::open(&databases.1.url()).await.close().await);
        Bare::postgres(&databases.1.url()).await
    });
    engine(&mut bench, "postgres", &runtime, &ours, &bare)?;
    Ok(bench)
}

fn engine(
    bench: &mut Bench,
    name: &str,
    runtime: &Runtime,
    ours: &Ours,
    bare: &Bare,
) -> Result<(), BenchError> {
    let scaled = |usual: usize| bench.settings().scaled(usual);
    let (rows, lookups) = (scaled(ROWS), scaled(LOOKUPS).max(2));
    let (tree, many) = (scaled(TREE), scaled(MANY));
    runtime.block_on(async {
        ours.insert_many(rows).await;
        bare.insert_many(rows).await;
    });

    let subject = |what: &str| format!("{name}_{what}");
    bench.subject_with_own_threads(&subject("stream"), 1, pair(runtime, ours, bare, Stream))?;
    let select = Select { rows, lookups };
    bench.subject_with_own_threads(&subject("select"), 1, pair(runtime, ours, bare, select))?;
    bench.subject_with_own_threads(&subject("insert"), 1, pair(runtime, ours, bare, Insert(10)))?;
    let eight = Writers {
        writers: 8,
        inserts: 4,
    };
    bench.subject_with_own_threads(
        &subject("insert_8_writers"),
        8,
        pair(runtime, ours, bare, eight),
    )?;
    let ten = Transactions(10);
    bench.subject_with_own_threads(
        &subject("transaction_10"),
        1,
        pair(runtime, ours, bare, ten),
    )?;
    bench.subject_with_own_threads(
        &subject("insert_many"),
        1,
        pair(runtime, ours, bare, Many(many)),
    )?;
    bench.subject_with_own_threads(
        &subject("delete_tree"),
        1,
        pair(runtime, ours, bare, Tree(tree)),
    )
}

/// The work of a turn, for any contestant.
trait Turns: Copy + Send + Sync {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, number: usize) -> Sample;
}

/// The two contestants of a subject.
fn pair<'a, T: Turns + 'a>(
    runtime: &'a Runtime,
    ours: &'a Ours,
    bare: &'a Bare,
    turns: T,
) -> Vec<Contestant<'a>> {
    vec![
        Contestant::new("tidings", move |_| {
            move |turn: crate::harness::Turn| turns.turn(runtime, ours, turn.number)
        }),
        Contestant::new("sqlx", move |_| {
            move |turn: crate::harness::Turn| turns.turn(runtime, bare, turn.number)
        }),
    ]
}

#[derive(Clone, Copy)]
struct Select {
    rows: usize,
    lookups: usize,
}

impl Turns for Select {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, number: usize) -> Sample {
        Sample::time(self.lookups as u64, || {
            runtime.block_on(async {
                let mut found = 0;
                for lookup in 0..self.lookups {
                    let row = (number * self.lookups + lookup) * 7_919 % self.rows;
                    found += work.select(row).await;
                }
                found
            })
        })
    }
}

#[derive(Clone, Copy)]
struct Insert(usize);

impl Turns for Insert {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, _: usize) -> Sample {
        Sample::time(self.0 as u64, || {
            runtime.block_on(async {
                let mut made = 0;
                for _ in 0..self.0 {
                    made += work.insert().await;
                }
                made
            })
        })
    }
}

#[derive(Clone, Copy)]
struct Writers {
    writers: usize,
    inserts: usize,
}

impl Turns for Writers {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, _: usize) -> Sample {
        Sample::time((self.writers * self.inserts) as u64, || {
            runtime.block_on(async {
                let writer = || async {
                    let mut made = 0;
                    for _ in 0..self.inserts {
                        made += work.insert().await;
                    }
                    made
                };
                let all = futures_util::future::join_all((0..self.writers).map(|_| writer()));
                all.await.into_iter().sum()
            })
        })
    }
}

#[derive(Clone, Copy)]
struct Transactions(usize);

impl Turns for Transactions {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, _: usize) -> Sample {
        Sample::time(3, || {
            runtime.block_on(async {
                let mut made = 0;
                for _ in 0..3 {
                    made += work.transaction(self.0).await;
                }
                made
            })
        })
    }
}

#[derive(Clone, Copy)]
struct Many(usize);

impl Turns for Many {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, _: usize) -> Sample {
        Sample::time(self.0 as u64, || runtime.block_on(work.insert_many(self.0)))
    }
}

#[derive(Clone, Copy)]
struct Stream;

impl Turns for Stream {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, _: usize) -> Sample {
        let mut sample = Sample::time(1, || runtime.block_on(work.stream()));
        sample.operations = sample.checksum;
        sample
    }
}

#[derive(Clone, Copy)]
struct Tree(usize);

impl Turns for Tree {
    fn turn<W: Work>(self, runtime: &Runtime, work: &W, _: usize) -> Sample {
        runtime.block_on(work.plant(self.0));
        Sample::time(self.0 as u64, || runtime.block_on(work.fell()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contestants_do_the_same() {
        let bench = run(Settings::quick()).expect("checksums agree");
        for engine in ["sqlite", "postgres"] {
            let rows = bench.rows().iter();
            let rows = rows.filter(|row| row.subject.starts_with(engine));
            assert_eq!(rows.count(), 14, "{engine}");
        }
    }
}
