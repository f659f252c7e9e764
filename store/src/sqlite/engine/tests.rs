//! Calls that wait for another program.

use tempfile::TempDir;
use tidings_core::{Field, spawn::CurrentRuntime};

use super::*;

/// Another program with the same file open.
struct Other {
    connection: sqlx::SqliteConnection,
    _directory: TempDir,
}

impl Other {
    /// Opens an engine whose calls wait for 10 ms, and another program that never waits.
    async fn beside(logging: Logging) -> (SqliteEngine, Self) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let settings = Settings {
            timeout: Duration::from_millis(10),
            logging,
            ..Settings::default()
        };
        let url = format!("sqlite://{}", path.display());
        let engine = SqliteEngine::open(&url, settings).await.unwrap();
        let connection = Location::File(path).connect_within(Duration::ZERO).await;
        let other = Self {
            connection: connection.unwrap(),
            _directory: directory,
        };
        (engine, other)
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        execute(&mut self.connection, sql).await
    }
}

/// Waits until the writer's thread has run every statement that it received.
async fn settled(engine: &SqliteEngine) {
    let mut writer = engine.writer().lock().await;
    let connection = writer.connection_in_transaction().unwrap();
    execute(connection, "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_write_that_gave_up_does_not_take_the_file_later() {
    let (engine, mut other) = Other::beside(Logging::Off).await;
    other.run("BEGIN IMMEDIATE").await.unwrap();
    let begun = engine.begin().await.map(drop);
    assert!(matches!(begun, Err(Error::Busy(_))), "{begun:?}");
    other.run("ROLLBACK").await.unwrap();

    settled(&engine).await;
    other.run("BEGIN IMMEDIATE").await.expect("no one has it");
}

#[tokio::test]
async fn a_head_that_was_taken_beside_a_held_file_does_not_take_the_file_later() {
    let (engine, mut other) = Other::beside(Logging::On).await;
    let schema = Schema::builder("rows").field(Field::of::<i64>("id").primary_key());
    let schemas: Vec<&'static Schema> = vec![Box::leak(Box::new(schema.build()))];
    engine.lay_out(&schemas).await.unwrap();
    let log = engine.log(LogNeeds {
        node: "one".into(),
        schemas,
        recorded: Vec::new(),
        check_capture_every: Duration::ZERO,
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(CurrentRuntime),
    });
    let log = log.expect("it is logging");
    drop(log.head(None).await.unwrap());

    // Now the last record of the last commit is unknown, so the next head would write.
    other.run("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    other.run("BEGIN IMMEDIATE").await.unwrap();
    drop(log.head(None).await.expect("it is only read"));
    other.run("ROLLBACK").await.unwrap();

    settled(&engine).await;
    other.run("BEGIN IMMEDIATE").await.expect("no one has it");
}
