//! What ends an epoch, and what was pruned.

use std::{process::Command, time::Duration};

use tidings_core::log::{Gap, GapReason, Log as _, LogError, Read};
use tidings_store::postgres::log::{InstallOptions, install, prune};
use tidings_testkit::Server;

use crate::support::{Reader, captured, captured_on, log_of, schemas};

async fn gap(reader: &Reader) -> Option<GapReason> {
    match reader.log.read(&reader.cursor, 10, None).await {
        Ok(Read::Gap(gap)) => Some(gap.reason),
        Ok(Read::Batch(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// If a backend is killed, the server recovers: it loses asynchronous commits, and assigns the same
/// transaction ids again.
#[tokio::test]
async fn crash_recovery_is_a_gap_and_the_next_head_is_of_a_later_epoch() {
    let server = Server::start();
    let database = captured_on(&server).await;
    let reader = Reader::at_head(&database).await;
    let epoch = reader.cursor.epoch();

    let victim = database.psql("select pid from pg_stat_activity where backend_type = 'walwriter'");
    let killed = Command::new("kill").args(["-9", victim.trim()]).status();
    assert!(killed.expect("kill runs").success());

    let gap = loop {
        match reader.log.read(&reader.cursor, 10, None).await {
            Ok(Read::Gap(gap)) => break gap,
            Ok(Read::Batch(_)) | Err(LogError::Unreachable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(gap, Gap::of_all(GapReason::Epoch));
    let head = reader.log.head(None).await.expect("a head");
    assert!(head.cursor.epoch().number > epoch.number);
    let mut later = Reader::at_head(&database).await;
    assert_eq!(
        later.cursor.epoch(),
        head.cursor.epoch(),
        "all readers find the same"
    );
    database.psql("insert into numbers values (1)");
    assert_eq!(later.operations().await, ["create numbers 1"]);
}

/// The reader keeps its connection throughout.
// CL11
#[tokio::test]
async fn a_log_that_was_deleted_and_made_again_is_a_gap_for_a_reader_that_stayed() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql("insert into numbers values (1)");
    assert_eq!(reader.operations().await, ["create numbers 1"]);

    database.psql("drop schema tidings cascade");
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(installed.expect("captured").changed.len(), 5);
    database.psql("insert into numbers values (2)");

    let read = reader.log.read(&reader.cursor, 10, None).await;
    let gap = Gap::of_all(GapReason::Epoch);
    assert_eq!(read.expect("a read"), Read::Gap(gap));
    let mut later = Reader::at_head(&database).await;
    assert_ne!(later.cursor.epoch(), reader.cursor.epoch());
    database.psql("insert into numbers values (3)");
    assert_eq!(later.operations().await, ["create numbers 3"]);
}

/// A dump contains the records of the server on which it was made, with transaction ids that this
/// server will reach much later, if ever.
#[tokio::test]
async fn a_log_from_a_dump_of_another_server_is_read_from_its_head_on() {
    let database = captured().await;
    let log = Reader::at_head(&database).await.log;
    database.psql(
        "insert into numbers select g from generate_series(1, 20) g; \
         update tidings.log set xid = xid + 1000000000; \
         update tidings.pruned set below = 1000000000; \
         insert into tidings.snapshots (taken, horizon) values (now() - interval '1 day', 1000000000); \
         update tidings.epoch set system = 'another'",
    );
    log.retire_connections().await.expect("retired");

    let mut reader = Reader::over(log).await;
    assert_eq!(reader.operations().await, [""; 0]);
    database.psql("insert into numbers values (100)");
    assert_eq!(reader.operations().await, ["create numbers 100"]);
    assert_eq!(reader.operations().await, [""; 0]);

    let mut connection = database.connect().await;
    let hour = Duration::from_secs(3_600);
    let pruned = prune(&mut connection, hour).await.expect("pruned");
    assert_eq!(pruned.records, 0);
    assert_eq!(gap(&reader).await, None);
}

#[tokio::test]
async fn the_epoch_outlives_a_lost_connection() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    let name = database.name();
    database.psql("insert into numbers values (1)");
    database.psql(&format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"
    ));
    let lost = reader.log.read(&reader.cursor, 10, None).await;
    assert!(matches!(lost, Err(LogError::Unreachable(_))), "{lost:?}");
    assert_eq!(reader.operations().await, ["create numbers 1"]);
}

#[tokio::test]
async fn a_reader_that_was_away_for_longer_than_the_retention_finds_a_gap() {
    // Transaction ids are shared by the whole server: an open transaction in another test's
    // database would hold back the horizon.
    let server = Server::start();
    let database = captured_on(&server).await;
    let reader = Reader::at_head(&database).await;
    database.psql("insert into numbers select g from generate_series(1, 50) g");
    let mut connection = database.connect().await;
    // The first call stores a snapshot, and for the second it is older than a retention of zero.
    let _ = prune(&mut connection, Duration::from_secs(3_600))
        .await
        .expect("pruned");
    let kept = prune(&mut connection, Duration::from_secs(3_600))
        .await
        .expect("pruned");
    assert_eq!(kept.records, 0);
    let pruned = prune(&mut connection, Duration::ZERO)
        .await
        .expect("pruned");
    assert!(pruned.records >= 50, "{pruned:?}");

    let gap = reader
        .log
        .read(&reader.cursor, 10, None)
        .await
        .expect("a read");
    assert_eq!(gap, Read::Gap(Gap::of_all(GapReason::Trimmed)));
    let mut current = Reader::at_head(&database).await;
    database.psql("insert into numbers values (100)");
    assert_eq!(current.operations().await, ["create numbers 100"]);
}

#[tokio::test]
async fn a_transaction_that_is_open_for_longer_than_the_retention_is_kept() {
    let database = captured().await;
    let mut late = database.connect().await;
    crate::support::run(&mut late, "begin; insert into numbers values (1)").await;
    let mut reader = Reader::at_head(&database).await;
    let mut connection = database.connect().await;
    for _ in 0..3 {
        let _ = prune(&mut connection, Duration::ZERO)
            .await
            .expect("pruned");
    }
    crate::support::run(&mut late, "commit").await;
    let _ = prune(&mut connection, Duration::from_secs(3_600))
        .await
        .expect("pruned");
    assert_eq!(reader.operations().await, ["create numbers 1"]);
}

#[tokio::test]
async fn a_database_without_a_log_says_which_command_makes_one() {
    let database = Server::shared().database().await;
    let log = log_of(&database, schemas());
    let refused = log.head(None).await.expect_err("no log");
    assert!(
        refused.to_string().contains("tidings capture install"),
        "{refused}"
    );
}
