//! Writes by other programs to a database file: a node that keeps a log sees them like its own.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tidings::{
    Store,
    store::{Logging, Sharing, sqlite::log::Installer},
};

use super::{Program, cases};
use crate::heard::Heard;

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
        let script = format!(".bail on\n.timeout 5000\n{script};");
        run(Command::new("sqlite3").arg(&self.path), &script);
    }

    fn python(&self, script: &str) {
        let opened = format!(
            "import sqlite3\ndb = sqlite3.connect({:?}, timeout=5)\n{script}\ndb.commit()\n",
            self.path.display().to_string()
        );
        run(Command::new("python3").arg("-"), &opened);
    }
}

impl Program for File {
    fn write(&self, sql: &str) {
        self.sqlite3(sql);
    }
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
    let update = "db.execute(\"UPDATE things SET note = 'uno' WHERE id = 1\")";
    cases::a_create_and_an_update(&heard, |file| file.python(update)).await;

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
async fn a_changed_parent_takes_its_children_along() {
    cases::a_changed_parent(start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_and_foreign_writes_of_a_row_are_heard_in_one_order_and_own_ones_evict_once() {
    cases::own_and_foreign_writes(start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_row_are_heard_as_one_chain() {
    cases::many_writers(start().await).await;
}

// CL19 on one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_gone_ends_proofs_and_purges_and_its_return_is_heard() {
    let harm = "DROP TRIGGER \"tidings:after_update:things\"";
    let mend = async |heard: &Heard<File>| {
        let url = heard.database.url();
        let mut installer = Installer::open(&url).await.expect("opened");
        let schemas = heard.node.schemas().to_vec();
        let mended = installer.install(&schemas).await.expect("mended");
        assert_eq!(mended.changed, ["things"]);
    };
    cases::a_trigger_that_is_gone(start().await, harm, mend).await;
}

/// `tidings capture install` came first: the node receives what is recorded, whatever the store was
/// opened with.
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
