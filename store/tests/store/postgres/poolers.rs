//! A pgbouncer in transaction mode between a store and its server.

use std::time::Duration;

use tidings_core::log::{Body, Cursor, Extent, LogError, Read};
use tidings_store::{Dao, Pooler, Store, StoreLog};
use tidings_testkit::{Bouncer, Server};

use super::{
    database::needs,
    support::{Fixture, place, schemas},
};
use crate::entities::{Consumer, Invoice, consumer};

/// How many sessions the pooler has for all that the store does at once, and how many do so.
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

/// Reads on; returns how many rows were told.
async fn read(log: &dyn StoreLog, cursor: &mut Cursor) -> usize {
    let mut rows = 0;
    loop {
        let Read::Batch(batch) = log.read(cursor, 100, None).await.unwrap() else {
            panic!("a gap");
        };
        let told = batch.records.iter();
        rows += told.filter(|it| matches!(it.body, Body::Row(_))).count();
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

    // Twice: the second store meets sessions that the first has used.
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
        let mut told = 0;
        while !writing.is_empty() {
            told += read(&*log, &mut cursor).await;
            while let Some(written) = writing.try_join_next() {
                written.unwrap();
            }
        }
        told += read(&*log, &mut cursor).await;
        assert_eq!(told, 2 * WRITERS * ROUNDS);
        for _ in 0..2 {
            assert_eq!(log.prune(Duration::from_secs(3_600)).await.unwrap(), 0);
        }
        fixture.store.close().await.unwrap();
    }
}
