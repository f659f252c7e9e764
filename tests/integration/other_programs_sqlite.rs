//! Writes by other programs to a database file: a node that keeps a log hears of them like of its
//! own.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tidings::{
    Hearing, Store, WriteOptions,
    store::{Logging, Sharing, sqlite::log::Installer},
};

use crate::heard::{Heard, Owner, by_id, thing};

/// A database file, and the programs that write to it.
pub(crate) struct File {
    _directory: TempDir,
    path: PathBuf,
}

impl File {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.db");
        Self {
            _directory: directory,
            path,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    pub(crate) async fn store(&self, logging: Logging) -> Store {
        let store = Store::options(self.url()).logging(logging).open().await;
        store.expect("a store")
    }

    /// A store that other nodes may open too.
    pub(crate) async fn shared(&self) -> Store {
        let store = Store::options(self.url()).sharing(Sharing::Cluster);
        store.open().await.expect("a store")
    }

    pub(crate) fn sqlite3(&self, script: &str) {
        sqlite3(&self.path, script);
    }

    fn python(&self, script: &str) {
        let opened = format!(
            "import sqlite3\ndb = sqlite3.connect({:?}, timeout=5)\n{script}\ndb.commit()\n",
            self.path.display().to_string()
        );
        run(Command::new("python3").arg("-"), &opened);
    }
}

fn sqlite3(path: &Path, script: &str) {
    let script = format!(".bail on\n.timeout 5000\n{script}");
    run(Command::new("sqlite3").arg(path), &script);
}

fn run(command: &mut Command, script: &str) {
    let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("scripts/prepare installs it");
    let mut input = child.stdin.take().expect("an input");
    input.write_all(script.as_bytes()).expect("a script");
    drop(input);
    let done = child.wait_with_output().expect("an end");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && error.is_empty(), "{error}");
}

async fn start() -> Heard<File> {
    let file = File::new();
    let store = file.store(Logging::On).await;
    Heard::with(file, store).await
}

// CL13 on one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sqlite3_and_python_write_evicts_and_is_heard() {
    let heard = start().await;
    assert_eq!(heard.note("t1").await, None, "an absence is cached");

    heard
        .database
        .sqlite3("INSERT INTO things (id, code, note) VALUES (1, 't1', 'one');");
    assert_eq!(heard.events(1).await, ["create 1 None Some(\"one\")"]);
    assert_eq!(
        heard.note("t1").await.as_deref(),
        Some("one"),
        "a create evicts the absence"
    );

    heard
        .database
        .python("db.execute(\"UPDATE things SET note = 'uno' WHERE id = 1\")");
    assert_eq!(
        heard.events(1).await,
        ["update 1 Some(\"one\") Some(\"uno\")"]
    );
    assert_eq!(heard.note("t1").await.as_deref(), Some("uno"));

    // A row that REPLACE removes fires no delete trigger.
    assert_eq!(heard.note("t2").await, None);
    heard.database.sqlite3(
        "INSERT INTO things (id, code, note) VALUES (2, 't2', 'two');\
         REPLACE INTO things (id, code, note) VALUES (3, 't1', 'three');",
    );
    assert_eq!(
        heard.events(3).await,
        [
            "create 2 None Some(\"two\")",
            "delete 1 None Some(\"uno\")",
            "create 3 None Some(\"three\")"
        ]
    );
    assert_eq!(heard.note("t1").await.as_deref(), Some("three"));
    assert_eq!(heard.note("t2").await.as_deref(), Some("two"));
    assert!(heard.gaps.lock().expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_parent_takes_its_children_along_whoever_changes_it() {
    let heard = start().await;
    let owners = heard.node.dao::<Owner>().expect("declared");
    let owner = Owner {
        id: uuid::Uuid::from_u128(1),
        name: "bob".to_owned(),
    };
    let owner = owners.insert(owner).await.expect("inserted");
    heard.database.sqlite3(&format!(
        "INSERT INTO things (id, code, note, owner) VALUES (1, 't1', 'one', '{}');",
        owner.id
    ));
    let _ = heard.events(2).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    let before = heard.loads();
    heard.database.sqlite3("UPDATE owners SET name = 'rob';");
    assert_eq!(heard.events(1).await, ["update rob"]);
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    assert_eq!(
        heard.loads(),
        before + 1,
        "the child was evicted with its parent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_and_foreign_writes_of_a_row_are_heard_in_one_order_and_own_ones_evict_once() {
    let heard = start().await;
    let things = heard.things();
    things.insert(thing(1, "a")).await.expect("inserted");
    assert_eq!(
        heard.events(0).await,
        ["create 1 None Some(\"a\")"],
        "the write has waited for its handlers"
    );

    heard.database.sqlite3("UPDATE things SET note = 'b';");
    let set =
        |note: &'static str| things.update(1, move |thing| thing.note = Some(note.to_owned()));
    set("c").await.expect("updated");
    assert_eq!(
        heard.events(2).await,
        [
            "update 1 Some(\"a\") Some(\"b\")",
            "update 1 Some(\"b\") Some(\"c\")"
        ]
    );

    assert_eq!(heard.note("t1").await.as_deref(), Some("c"));
    let before = heard.loads();
    set("d").await.expect("updated");
    assert_eq!(
        heard.note("t1").await.as_deref(),
        Some("d"),
        "evicted before the write returned"
    );
    heard
        .database
        .sqlite3("INSERT INTO things (id, code) VALUES (2, 't2');");
    let _ = heard.events(2).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("d"));
    assert_eq!(
        heard.loads(),
        before + 1,
        "the record that came back evicted nothing again"
    );

    let silent = things.update_with(
        by_id(1),
        |thing| thing.note = Some("e".to_owned()),
        WriteOptions::silent(),
    );
    silent.await.expect("updated");
    assert_eq!(heard.note("t1").await.as_deref(), Some("e"));
    let end = things.update(2, |thing| thing.note = Some("end".to_owned()));
    end.await.expect("updated");
    assert_eq!(
        heard.events(1).await,
        ["update 2 None Some(\"end\")"],
        "a silent write is not heard"
    );
}

/// Writers of the node and of other programs on one row give one chain: each event's old entity is
/// the new one of the event before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_row_are_heard_as_one_chain() {
    let heard = start().await;
    let things = heard.things();
    things.insert(thing(1, "start")).await.expect("inserted");
    let _ = heard.events(1).await;
    let writers = (0..4).map(|writer| {
        let (things, path) = (things.clone(), heard.database.path.clone());
        tokio::spawn(async move {
            for number in 0..20 {
                let note = format!("{writer}.{number}");
                if writer == 3 {
                    let sql = format!("UPDATE things SET note = '{note}' WHERE id = 1;");
                    let path = path.clone();
                    let written = tokio::task::spawn_blocking(move || sqlite3(&path, &sql));
                    written.await.expect("written");
                } else {
                    let update = things.update(1, move |thing| thing.note = Some(note));
                    update.await.expect("updated");
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    let events = heard.events(80).await;
    assert_eq!(events.len(), 80);
    let mut last = "Some(\"start\")".to_owned();
    for event in events {
        let rest = event.strip_prefix("update 1 ").expect("an update");
        let (old, new) = rest.split_once(' ').expect("two notes");
        assert_eq!(old, last, "{event}");
        last = new.to_owned();
    }
}

// CL19 on one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_gone_ends_proofs_and_purges_and_its_return_is_heard() {
    let heard = start().await;
    heard
        .database
        .sqlite3("INSERT INTO things (id, code, note) VALUES (1, 't1', 'one');");
    let _ = heard.events(1).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    assert_eq!(heard.node.hearing(), Hearing::All);

    heard.database.sqlite3(
        "DROP TRIGGER \"tidings:after_update:things\"; UPDATE things SET note = 'unheard';",
    );
    heard
        .until(|heard| heard.node.hearing() == Hearing::NotRecorded)
        .await;
    heard.until_note("t1", Some("unheard")).await;
    let loads = heard.loads();
    for _ in 0..3 {
        assert_eq!(heard.note("t1").await.as_deref(), Some("unheard"));
    }
    assert_eq!(heard.loads(), loads + 3, "nothing that is loaded is kept");
    heard
        .until(|heard| !heard.gaps.lock().expect("a list").is_empty())
        .await;

    let schemas = heard.node.schemas().to_vec();
    let mut installer = Installer::open(&heard.database.url())
        .await
        .expect("opened");
    let mended = installer.install(&schemas).await.expect("mended");
    assert_eq!(mended.changed, ["things"]);
    heard
        .until(|heard| heard.node.hearing() == Hearing::All)
        .await;
    heard.database.sqlite3("UPDATE things SET note = 'heard';");
    heard.until_note("t1", Some("heard")).await;
    heard.until_kept("t1").await;
}

/// `tidings capture install` came first: what is recorded is heard, whatever the store was opened
/// with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_captured_already_is_followed() {
    let file = File::new();
    let before = Heard::with((), file.store(Logging::On).await).await;
    drop(before.node.shutdown(Duration::from_secs(20)).await);
    drop(before);

    let store = file.store(Logging::Off).await;
    let heard = Heard::with(file, store).await;
    assert_eq!(heard.note("t1").await, None, "an absence is cached");
    heard
        .database
        .sqlite3("INSERT INTO things (id, code, note) VALUES (1, 't1', 'one');");
    assert_eq!(heard.events(1).await, ["create 1 None Some(\"one\")"]);
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
}
