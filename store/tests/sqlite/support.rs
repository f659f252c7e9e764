//! Database files, and the programs that write to them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tempfile::TempDir;
use tidings_core::{
    Auto, Field, Foreign, OnDelete, OnUpdate, Schema,
    clock::{ManualClock, SystemClock},
    spawn::CurrentRuntime,
};
use tidings_store::{KeptLog, LogNeeds, Logging, Store, sqlite::log::Installer};

pub(crate) use crate::reader::{Change, Reader, text};

/// Consumers, and their credentials, which cascade, and are evicted with a changed consumer.
pub(crate) const TABLES: &str = "
    CREATE TABLE consumers (id TEXT PRIMARY KEY, username TEXT UNIQUE, note TEXT);
    CREATE TABLE credentials (
        id INTEGER PRIMARY KEY, key TEXT UNIQUE,
        consumer TEXT REFERENCES consumers ON DELETE CASCADE
    );
";

pub(crate) fn schemas() -> Vec<&'static Schema> {
    static SCHEMAS: OnceLock<[Schema; 2]> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let consumer = Foreign {
            entity: "consumers".to_owned(),
            key: "id".to_owned(),
            on_delete: OnDelete::Cascade,
            on_update: OnUpdate::Evict,
        };
        let consumers = Schema::builder("consumers")
            .field(Field::of::<String>("id").primary_key().auto(Auto::Random))
            .field(Field::of::<Option<String>>("username").unique())
            .field(Field::of::<Option<String>>("note"))
            .build();
        let credentials = Schema::builder("credentials")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<String>>("key").unique())
            .field(Field::of::<Option<String>>("consumer").refers_to(consumer))
            .cache_key(&["key"])
            .build();
        [consumers, credentials]
    });
    schemas.iter().collect()
}

/// A database file in a directory of its own.
pub(crate) struct Database {
    pub(crate) directory: TempDir,
}

impl Database {
    /// Creates a file with `sqlite3`.
    pub(crate) fn with(tables: &str) -> Self {
        Self::in_pages_of(4_096, tables)
    }

    /// Creates a file with pages of a given size.
    pub(crate) fn in_pages_of(size: usize, tables: &str) -> Self {
        let database = Self {
            directory: tempfile::tempdir().expect("a directory"),
        };
        database.sqlite3(&format!(
            "PRAGMA page_size = {size}; PRAGMA journal_mode = WAL; {tables}"
        ));
        database
    }

    /// A file with tables that are captured.
    pub(crate) async fn captured(tables: &str, schemas: &[&'static Schema]) -> Self {
        let database = Self::with(tables);
        let installed = database.installer().await.install(schemas).await;
        let _ = installed.expect("captured");
        database
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("a.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    pub(crate) async fn installer(&self) -> Installer {
        Installer::open(&self.url()).await.expect("a file")
    }

    /// Opens a store of the file that keeps a log.
    pub(crate) async fn store(&self, logging: Logging) -> Store {
        let store = Store::options(self.url()).logging(logging).open().await;
        store.expect("a store")
    }

    /// Runs a script in Debian's `sqlite3`. Returns its output.
    pub(crate) fn sqlite3(&self, script: &str) -> String {
        let script = format!(".bail on\n.timeout 5000\n{script}");
        run(Command::new("sqlite3").arg(self.path()), &script)
    }

    /// Starts another program that holds the file for writing until the returned value is dropped.
    pub(crate) fn held(&self) -> Holder {
        let mut child = Command::new("sqlite3")
            .args(["-cmd", ".timeout 5000"])
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/prepare installs it");
        let mut input = child.stdin.take().expect("an input");
        input
            .write_all(b"BEGIN IMMEDIATE; SELECT 'held';\n")
            .expect("a script");
        let mut said = String::new();
        let output = child.stdout.take().expect("an output");
        let read = BufReader::new(output).read_line(&mut said);
        assert!(read.is_ok() && said == "held\n", "{said:?}");
        Holder {
            child,
            input: Some(input),
        }
    }

    /// Runs a script in Python, in which `db` is a connection that commits each statement.
    pub(crate) fn python(&self, script: &str) -> String {
        let opened = format!(
            "import sqlite3, struct\ndb = sqlite3.connect({:?}, isolation_level=None, timeout=5)\n{script}",
            self.path().display().to_string()
        );
        run(Command::new("python3").arg("-"), &opened)
    }
}

/// A program that holds a file.
pub(crate) struct Holder {
    child: Child,
    input: Option<ChildStdin>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends with its input, and its transaction with it.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command, script: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("scripts/prepare installs it");
    let mut input = child.stdin.take().expect("an input");
    input.write_all(script.as_bytes()).expect("a script");
    drop(input);
    let done = child.wait_with_output().expect("an end");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && error.is_empty(), "{error}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The log of a store, read with the system's clock.
pub(crate) fn log_of(store: &Store, schemas: Vec<&'static Schema>) -> Arc<dyn KeptLog> {
    store.log(needs(schemas)).expect("a log")
}

pub(crate) fn needs(schemas: Vec<&'static Schema>) -> LogNeeds {
    LogNeeds {
        node: "one".into(),
        schemas,
        recorded: Vec::new(),
        check_capture_every: Duration::ZERO,
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(CurrentRuntime),
    }
}

/// A store with a log, whose clock a test drives.
pub(crate) fn log_at(
    store: &Store,
    schemas: Vec<&'static Schema>,
    clock: &ManualClock,
) -> Arc<dyn KeptLog> {
    let needs = LogNeeds {
        clock: Arc::new(clock.clone()),
        ..needs(schemas)
    };
    store.log(needs).expect("a log")
}

/// A captured file with [`TABLES`], a store of it, and a reader at its head.
pub(crate) async fn at_head() -> (Database, Store, Reader) {
    let database = Database::captured(TABLES, &schemas()).await;
    let store = database.store(Logging::On).await;
    let reader = Reader::over(log_of(&store, schemas())).await;
    (database, store, reader)
}

/// The changes of the rows of an entity, in short form: `update a -> b`, by a field.
pub(crate) async fn changes(reader: &mut Reader, entity: usize, field: usize) -> Vec<String> {
    let changes = reader.changes(schemas()[entity]).await;
    let short = |change: &Change| {
        let side = |row| text(row, field).unwrap_or_else(|| "-".to_owned());
        format!(
            "{} {} -> {}",
            change.operation,
            side(change.old.as_ref()),
            side(change.new.as_ref())
        )
    };
    changes.iter().map(short).collect()
}
