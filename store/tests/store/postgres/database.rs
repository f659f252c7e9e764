//! Databases of PostgreSQL for the suite, all on one server.

use std::{sync::Arc, time::Duration};

use tidings_core::{Schema, clock::SystemClock, spawn::CurrentRuntime};
use tidings_store::LogNeeds;
use tidings_testkit::{Database, Server};

/// How many cases the random tests run; each creates a database.
pub(crate) const CASES: u32 = 12;

/// The place of a test's database.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) database: Database,
}

impl Place {
    /// Runs SQL as another program would.
    pub(crate) async fn run(&self, sql: &str) {
        self.database.psql(sql);
    }

    /// Inserts credentials of a consumer.
    pub(crate) async fn credentials(&self, count: usize, consumer: &str) {
        self.database.psql(&format!(
            "INSERT INTO keyauth_credentials (id, created_at, consumer, key) \
             SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 1, '{consumer}', 'k' || i \
             FROM generate_series(1, {count}) i"
        ));
    }

    /// Inserts groups of a consumer.
    pub(crate) async fn acls(&self, count: usize, consumer: &str) {
        self.database.psql(&format!(
            "INSERT INTO acls (id, \"group\", consumer) \
             SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'g' || i, '{consumer}' \
             FROM generate_series(1, {count}) i"
        ));
    }

    /// The records of the log.
    pub(crate) async fn expect_deletes(&self, count: i64) {
        let deletes = "SELECT count(*) FROM tidings.log WHERE kind = 'd'";
        assert_eq!(self.database.psql(deletes).trim(), count.to_string());
    }
}

/// Creates a database for this test that other connections can reach.
pub(crate) async fn stored_place() -> Place {
    place().await
}

/// Creates a database for this test.
pub(crate) async fn place() -> Place {
    tidings_testkit::ask_at_each_log_line();
    let database = Server::shared().database().await;
    Place {
        url: database.url(),
        database,
    }
}

/// One of each kind that behaves differently.
pub(crate) async fn places() -> Vec<Place> {
    vec![place().await]
}

/// The settings of a log.
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
