//! Transactions that commit late, in pages of any size.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{ConnectOptions as _, Row as _};

use crate::support::{ReadItem, Reader, captured, run};

/// Two hundred writers with savepoints, rollbacks and prepared transactions, and one idle
/// transaction: no record is lost, returned twice, or returned without a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_commits_are_neither_lost_nor_given_twice() {
    const WRITERS: i64 = 200;
    const TRANSACTIONS: i64 = 12;
    let database = captured().await;
    let mut idle = database.connect().await;
    let mut reader = Reader::at_head(&database).await;
    run(&mut idle, "begin; insert into numbers values (-1, 'idle')").await;

    let writers = (0..WRITERS).map(|writer| {
        let options = database.options();
        tokio::spawn(async move {
        let mut connection = options.connect().await.expect("the server");
        for number in 0..TRANSACTIONS {
            let id = writer * 1_000 + number * 10;
            // A cheap number without a visible pattern.
            let chance = (writer * 31 + number * 17) % 10;
            let name = format!("w{writer}_{number}");
            run(&mut connection, "begin; select pg_current_xact_id()").await;
            run(&mut connection, &format!(
                "insert into numbers values ({id}, 'kept'); savepoint s; insert into numbers values ({id} + 1, 'undone'); \
                 savepoint t; insert into numbers values ({id} + 2, 'undone'); rollback to s; \
                 insert into numbers values ({id} + 3, 'kept')"
            )).await;
            match chance {
                0 => run(&mut connection, "rollback").await,
                1 => {
                        run(&mut connection, &format!("prepare transaction '{name}'")).await;
                        run(&mut connection, &format!("commit prepared '{name}'")).await;
                    },
                2 => {
                        run(&mut connection, &format!("prepare transaction '{name}'")).await;
                        run(&mut connection, &format!("rollback prepared '{name}'")).await;
                    },
                _ => run(&mut connection, "commit").await,
            }
        }
    })
    });
    let writers: Vec<_> = writers.collect();
    let mut received: BTreeMap<i64, usize> = BTreeMap::new();
    // Reads while they write, with pages of any size.
    for size in (1..).map(|turn| [1, 7, 100][turn % 3]) {
        let ended = writers.iter().all(tokio::task::JoinHandle::is_finished);
        reader.limit = size;
        note(&mut received, reader.page().await.0);
        if ended {
            break;
        }
    }
    note(&mut received, reader.all().await);
    assert!(
        !received.contains_key(&-1),
        "the idle transaction has not committed"
    );
    run(&mut idle, "commit").await;
    note(&mut received, reader.all().await);

    let rows = sqlx::query("select id from numbers")
        .fetch_all(&mut idle)
        .await
        .expect("rows");
    let stored: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(received.keys().copied().collect::<BTreeSet<_>>(), stored);
    assert!(received.values().all(|times| *times == 1), "given twice");
    assert!(stored.len() > 600, "{} rows", stored.len());
}

/// Counts the reported rows.
fn note(received: &mut BTreeMap<i64, usize>, all: Vec<ReadItem>) {
    for read in all {
        let ReadItem::Row(_, row) = read else {
            panic!("{read:?}");
        };
        let Some(&tidings_core::Value::Integer(id)) = row.key.single() else {
            panic!("{row:?}");
        };
        *received.entry(id).or_default() += 1;
    }
}

/// A page never skips a transaction that committed behind it.
#[tokio::test]
async fn a_run_of_pages_ends_at_the_snapshot_that_it_began_with() {
    let database = captured().await;
    let mut late = database.connect().await;
    let mut reader = Reader::at_head(&database).await;
    reader.limit = 10;
    run(&mut late, "begin; insert into numbers values (-1, 'late')").await;
    database.psql("insert into numbers select g from generate_series(1, 25) g");
    let (first, _) = reader.page().await;
    assert_eq!(first.len(), 10);
    run(&mut late, "commit").await;
    database.psql("insert into numbers values (1000)");
    let rest = reader.operations().await;
    assert_eq!(rest.len(), 17);
    let (last, before) = (&rest[15..], &rest[..15]);
    assert!(
        before.iter().all(|it| it != "create numbers -1"),
        "{before:?}"
    );
    assert_eq!(last, ["create numbers -1", "create numbers 1000"]);
}
