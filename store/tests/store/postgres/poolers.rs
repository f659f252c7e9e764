//! A pgbouncer in transaction mode between a store and its server.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgListener},
};
use tidings_core::log::{Body, Cursor, Extent, LogError, Read, Wake};
use tidings_store::{Dao, KeptLog, Migrations, Pooler, StepStatements, Store};
use tidings_testkit::{Bouncer, Server};

use super::{
    database::needs,
    support::{Fixture, place, schemas},
};
use crate::entities::{Consumer, Invoice, consumer};

/// How many sessions the pooler has for all calls of the store, and how many calls run at once.
const SESSIONS: usize = 2;
const WRITERS: usize = 6;
const ROUNDS: usize = 15;

/// Writes and reads rows of two entities, whose statements must not be taken for each other.
async fn write(consumers: Dao<Consumer>, invoices: Dao<Invoice>, writer: usize) {
    for round in 0..ROUNDS {
        let name = format!("{writer} {round}");
        let bob = consumers.insert(consumer(&name)).await.unwrap();
        let invoice = Invoice {
            id: name.clone(),
            consumer: tidings_core::Ref::to(&bob),
        };
        invoices.insert(invoice.clone()).await.unwrap();

        let found = consumers.select_by("username", name.as_str()).await;
        assert_eq!(found.unwrap(), Some(bob));
        assert_eq!(invoices.select(name).await.unwrap(), Some(invoice));
    }
}

/// Continues to read. Returns the number of reported rows.
async fn read(log: &dyn KeptLog, cursor: &mut Cursor) -> usize {
    let mut rows = 0;
    loop {
        let Read::Batch(batch) = log.read(cursor, 100, None).await.unwrap() else {
            panic!("a gap");
        };
        let reported = batch.records.iter();
        rows += reported
            .filter(|it| matches!(it.body, Body::Row(_)))
            .count();
        *cursor = batch.cursor;
        if batch.extent == Extent::All {
            return rows;
        }
    }
}

#[tokio::test]
async fn through_a_pooler_each_read_gets_its_own_rows_and_the_log_tells_every_write() {
    let place = place().await;
    let bouncer = Bouncer::before(Server::shared(), SESSIONS);
    let url = bouncer.url(&place.database);

    // Twice, so that the second store gets sessions that the first has used.
    for store in 0..2 {
        let options = Store::options(&url).pooler(Pooler::Transaction);
        let opened = options.connections(8).open().await.unwrap();
        let fixture = Fixture::attach(opened, &schemas()).await.unwrap();
        let log = fixture.store.log(needs(schemas())).unwrap();
        let mut cursor = log.head(None).await.unwrap().cursor;
        let listened = log.listen().await.map(drop);
        assert!(
            matches!(&listened, Err(LogError::Unfit { reason }) if reason.contains("pooler")),
            "{listened:?}"
        );

        let mut writing = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (consumers, invoices) = (fixture.dao(), fixture.dao());
            writing.spawn(write(consumers, invoices, store * WRITERS + writer));
        }
        let mut reported = 0;
        while !writing.is_empty() {
            reported += read(&*log, &mut cursor).await;
            while let Some(written) = writing.try_join_next() {
                written.unwrap();
            }
        }
        reported += read(&*log, &mut cursor).await;
        assert_eq!(reported, 2 * WRITERS * ROUNDS);
        for _ in 0..2 {
            assert_eq!(log.prune(Duration::from_secs(3_600)).await.unwrap(), 0);
        }
        fixture.store.close().await.unwrap();
    }
}

/// Connects as another client of the pooler, without the parameter that the pooler refuses.
async fn client(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    options.extra_float_digits(None).connect().await.unwrap()
}

/// In the session that sends wake-ups, another client has a statement with the name that the driver
/// uses for its first one.
#[tokio::test]
async fn a_wake_up_through_a_pooler_runs_no_statement_of_another_client() {
    let place = place().await;
    let bouncer = Bouncer::before(Server::shared(), 1);
    let url = bouncer.url(&place.database);
    let mut other = client(&url).await;
    let mut listener = PgListener::connect(&place.url).await.unwrap();
    listener.listen("tidings").await.unwrap();

    let store = Store::options(&url).pooler(Pooler::Transaction).open();
    let fixture = Fixture::attach(store.await.unwrap(), &schemas()).await;
    let fixture = fixture.unwrap();
    let log = fixture.store.log(needs(schemas())).unwrap();
    for (wake, word) in [
        (Wake::Look, ""),
        (Wake::Reported, "reported"),
        (Wake::Look, ""),
    ] {
        log.wake(wake);
        assert_eq!(listener.recv().await.unwrap().payload(), word);
        let theirs = "DEALLOCATE ALL; \
             PREPARE sqlx_s_1 (text) AS SELECT pg_notify('tidings', 'another ran ' || $1)";
        sqlx::raw_sql(theirs).execute(&mut other).await.unwrap();
    }
    fixture.store.close().await.unwrap();
}

/// Between two attempts to lock a table, the only session is free for another client.
#[tokio::test]
async fn a_try_that_is_undone_leaves_no_statement_in_a_session_of_a_pooler() {
    let place = place().await;
    let bouncer = Bouncer::before(Server::shared(), 1);
    let url = bouncer.url(&place.database);
    let schema = <Consumer as tidings_core::Entity>::schema();
    let store = Store::open(&place.url).await.unwrap();
    let fixture = Fixture::attach(store, &[schema]).await.unwrap();
    fixture.store.close().await.unwrap();
    let mut holder = place.database.connect().await;
    let mut other = client(&url).await;

    // Named statements run before the one that waits: those that check the triggers, and the one
    // that records a step.
    let trigger = "DROP TRIGGER tidings_update ON consumers";
    let column = "ALTER TABLE consumers DROP COLUMN tags";
    let writes = "BEGIN; UPDATE consumers SET username = 'b'";
    let reads = "BEGIN; SELECT count(*) FROM consumers";
    for (before, holding, migrates) in [(trigger, writes, false), (column, reads, true)] {
        place.run(before).await;
        sqlx::raw_sql(holding).execute(&mut holder).await.unwrap();
        let url = url.clone();
        let changing = tokio::spawn(async move {
            if migrates {
                let step = |sql: StepStatements| async move {
                    sql.run("SELECT 1").await?;
                    Ok(())
                };
                let migrations = Migrations::of(url).entity::<Consumer>();
                return migrations.step_before("one", step).apply().await.map(drop);
            }
            let options = Store::options(url).pooler(Pooler::Transaction);
            let store = options.timeout(Duration::from_secs(20)).open().await?;
            let attached = Fixture::attach(store.clone(), &[schema]).await;
            store.close().await?;
            attached.map(drop)
        });

        let waits =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'consumers'::regclass";
        loop {
            let waiting = sqlx::raw_sql(waits).fetch_one(&mut holder).await.unwrap();
            if waiting.try_get_unchecked::<String, _>(0).unwrap() != "0" {
                break;
            }
            assert!(!changing.is_finished(), "the table is held");
        }
        let left = "SELECT coalesce(string_agg(statement, '; '), '') FROM pg_prepared_statements";
        let left = sqlx::raw_sql(left).fetch_one(&mut other).await.unwrap();
        let said: String = left.try_get_unchecked(0).unwrap();
        assert_eq!(said, "");
        assert!(!changing.is_finished(), "the table is held");
        sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
        changing.await.unwrap().unwrap();
    }
    holder.close().await.unwrap();
}
