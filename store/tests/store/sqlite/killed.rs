//! What a killed process leaves behind.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use tidings_store::{Error, Store};

use super::support::Fixture;
use crate::entities::{Consumer, consumer};

/// The variable with the file to which a second process of this test binary writes without end.
const VARIABLE: &str = "TIDINGS_STORE_TEST_WRITES_TO";

/// Not a test of its own: the process that is killed.
#[tokio::test]
async fn writes_until_killed() {
    let Ok(url) = std::env::var(VARIABLE) else {
        return;
    };
    let fixture = Fixture::at(&url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    for number in 0_u64.. {
        let name = format!("c{number}");
        consumers.insert(consumer(&name)).await.unwrap();
        let mut out = std::io::stdout().lock();
        if writeln!(out, "acknowledged {name}")
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_killed_process_leaves_no_lock_and_every_write_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tidings.db", directory.path().display());
    for round in 1..=3_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sqlite::killed::writes_until_killed",
                "--nocapture",
            ])
            .env(VARIABLE, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut names = Vec::new();
        while names.len() < 20 * round {
            let line = lines.next().expect("the process goes on").unwrap();
            if let Some((_, name)) = line.split_once("acknowledged ") {
                names.push(name.to_owned());
            }
        }
        match Store::open(&url).await {
            Err(Error::InUse { process, .. }) => assert_eq!(process, Some(child.id())),
            other => panic!("{other:?}"),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some((_, name)) = line.split_once("acknowledged ") {
                names.push(name.to_owned());
            }
        }
        let fixture = Fixture::at(&url).await.unwrap();
        let consumers = fixture.dao::<Consumer>();
        for name in &names {
            let row = consumers
                .delete_by("username", name.as_str())
                .await
                .unwrap();
            assert!(row.is_some(), "{name} was acknowledged");
        }
        // One more may have been committed, and its acknowledgement lost.
        let left = consumers.page(Default::default()).await.unwrap().data;
        assert!(left.len() <= 1, "{left:?}");
        for row in left {
            consumers.delete(row.id).await.unwrap();
        }
        fixture.store.close().await.unwrap();
    }
}
