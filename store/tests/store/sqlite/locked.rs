//! A file that another program holds, and writes that wait for it.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tidings_core::{Entity, clock::ManualClock};
use tidings_store::{Attachment, Error, Store};

use super::support::Recorder;
use crate::entities::{Consumer, consumer};

/// P8, P7: one deadline for both the turn and the file, and the same error for all writes that miss
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn writes_behind_a_locked_file_are_told_busy_each_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidings.db");
    let store = Store::options(format!("sqlite://{}", file.display()))
        .timeout(Duration::from_millis(200))
        .open()
        .await
        .unwrap();
    let attachment = Attachment {
        schemas: vec![Consumer::schema()],
        sink: Arc::new(Recorder::default()),
        clock: Arc::new(ManualClock::new()),
        runtime: tokio::runtime::Handle::current(),
    };
    store.attach(attachment).await.unwrap();
    let consumers = store.dao::<Consumer>().unwrap();
    let mut other = SqliteConnectOptions::new()
        .filename(&file)
        .connect()
        .await
        .unwrap();

    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    for _ in 0..2 {
        let names = (0..8).map(|name| consumer(&name.to_string()));
        let writes = join_all(names.map(|row| consumers.insert(row)));
        // Eight that waited one after the other would take longer than the file's own limit of five
        // seconds.
        let ended = tokio::time::timeout(Duration::from_secs(4), writes).await;
        for write in ended.expect("each ends in time") {
            assert!(matches!(write, Err(Error::Busy(_))), "{write:?}");
        }
        assert!(
            consumers
                .page(Default::default())
                .await
                .unwrap()
                .data
                .is_empty()
        );
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();

    // The last of them, which was about to begin, may hold the writer a little longer.
    let written = async {
        loop {
            match consumers.insert(consumer("bob")).await {
                Err(Error::Busy(_)) => {}
                written => break written,
            }
        }
    };
    written.await.unwrap();
    other.close().await.unwrap();
    store.close().await.unwrap();
}
