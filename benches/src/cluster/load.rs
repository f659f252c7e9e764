//! The throughput of nodes: a backlog, and writers.

use std::{sync::Arc, time::Instant};

use futures_util::future::{BoxFuture, join_all};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, Row as _};
use tidings::{
    Dao, Entity as _, Store,
    clock::SystemClock,
    store::{Attachment, ChangeSet, ChangeSink},
};
use tidings_testkit::Database;
use tokio::runtime::Handle;

use super::nodes::{Flag, Members};
use crate::harness::{Bench, median};

/// The rows of the transaction that makes the backlog.
const BACKLOG: usize = 10_000;
const WRITERS: i64 = 8;
/// How often each writes in a turn.
const WRITES: usize = 20;

/// Applies what one transaction of another program wrote, beside a client that reads the same
/// records.
pub(super) async fn backlog(bench: &mut Bench, members: &mut Members, database: &Database) {
    let rows = bench.settings().scaled(BACKLOG);
    let mut client = database.connect().await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=bench.settings().rounds {
        let from = last(&mut client).await;
        let first = (round + 1) * BACKLOG;
        let insert = format!(
            "INSERT INTO flags (id, name, count) \
             SELECT i, 'flag-' || i, 0 FROM generate_series({first}, {first} + {rows} - 1) i"
        );
        client
            .execute(AssertSqlSafe(insert))
            .await
            .expect("an insert");
        let start = Instant::now();
        members.hears(rows).await;
        let applied = start.elapsed();

        let start = Instant::now();
        assert_eq!(read(&mut client, from).await, rows, "the same records");
        let read = start.elapsed();
        // The first round warms up.
        if round > 0 {
            ours.push(applied.as_nanos() as f64 / rows as f64);
            theirs.push(read.as_nanos() as f64 / rows as f64);
        }
    }
    let figures = [
        ("tidings", median(&mut ours)),
        ("sqlx", median(&mut theirs)),
    ];
    bench.times("postgres_backlog", 2, &figures);
}

/// The number of the newest record.
async fn last(client: &mut PgConnection) -> i64 {
    let row = client.fetch_one("SELECT coalesce(max(id), 0) FROM tidings.log");
    row.await.expect("a log").get(0)
}

/// Reads the records after one, each with its columns.
async fn read(client: &mut PgConnection, after: i64) -> usize {
    let sql = "SELECT id, xid::text, entity, key::text, old::text, new::text FROM tidings.log \
               WHERE id > $1 AND kind = 'c' ORDER BY id";
    let rows = sqlx::query(sql).bind(after).fetch_all(client).await;
    let rows = rows.expect("records");
    let whole = |row: &&sqlx::postgres::PgRow| row.get::<Option<String>, _>(5).is_some();
    rows.iter().filter(whole).count()
}

/// Writes by several tasks on a node of a cluster, beside a store without a reader.
pub(super) async fn writers(bench: &mut Bench, members: &Members, alone: &Database) {
    let alone = Store::open(&alone.url()).await.expect("a store");
    let attachment = Attachment {
        schemas: vec![Flag::schema()],
        sink: Arc::new(Deaf),
        clock: Arc::new(SystemClock::new()),
        runtime: Handle::current(),
    };
    alone.attach(attachment).await.expect("tables are made");
    let unheard: Dao<Flag> = alone.dao().expect("attached");
    for flags in [members.flags(), &unheard] {
        for id in 1..=WRITERS {
            flags.insert(Flag::numbered(id)).await.expect("an insert");
        }
    }

    let writes = bench.settings().scaled(WRITES);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=bench.settings().rounds * bench.settings().slices {
        let (one, other) = (
            write(members.flags(), writes).await,
            write(&unheard, writes).await,
        );
        if round > 0 {
            ours.push(one);
            theirs.push(other);
        }
    }
    let figures = [
        ("tidings", median(&mut ours)),
        ("no reader", median(&mut theirs)),
    ];
    bench.times("postgres_write_8_writers", 2, &figures);
    alone.close().await.expect("it closes");
}

/// Returns how many nanoseconds a write took.
async fn write(flags: &Dao<Flag>, writes: usize) -> f64 {
    let writer = |id| async move {
        for _ in 0..writes {
            let written = flags.update(id, |flag| flag.count += 1).await;
            written.expect("an update");
        }
    };
    let start = Instant::now();
    join_all((1..=WRITERS).map(writer)).await;
    start.elapsed().as_nanos() as f64 / (writes as f64 * WRITERS as f64)
}

/// Ignores every commit.
struct Deaf;

impl ChangeSink for Deaf {
    fn committed(&self, _: ChangeSet) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}
