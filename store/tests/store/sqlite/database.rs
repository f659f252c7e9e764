//! Databases of SQLite for the suite.

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

/// How many cases the random tests run.
pub(crate) const CASES: u32 = 96;

/// The place of a test's database.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    /// Removed with the place.
    _directory: Option<TempDir>,
}

impl Place {
    /// Runs SQL as another program would. The place must be a [`stored_place`].
    pub(crate) async fn run(&self, sql: &str) {
        let path = self.url.strip_prefix("sqlite://").unwrap();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true);
        let mut connection = options.connect().await.unwrap();
        let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection);
        ran.await.unwrap();
        connection.close().await.unwrap();
    }

    /// Inserts credentials of a consumer.
    pub(crate) async fn credentials(&self, count: usize, consumer: &str) {
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO keyauth_credentials (id, created_at, consumer, key) \
             SELECT printf('00000000-0000-4000-8000-%012d', i), 1, '{consumer}', 'k' || i FROM n"
        );
        self.run(&sql).await;
    }

    /// Inserts groups of a consumer.
    pub(crate) async fn acls(&self, count: usize, consumer: &str) {
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO acls (id, \"group\", consumer) \
             SELECT printf('00000000-0000-4000-8000-%012d', i), 'g' || i, '{consumer}' FROM n"
        );
        self.run(&sql).await;
    }

    /// The records of the log; this engine has none.
    pub(crate) async fn expect_deletes(&self, _: i64) {}
}

/// Creates an in-memory database for this test.
pub(crate) async fn place() -> Place {
    Place {
        url: "sqlite::memory:".to_owned(),
        _directory: None,
    }
}

/// Creates a database for this test that other connections can reach.
pub(crate) async fn stored_place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    Place {
        url: format!("sqlite://{}/tidings.db", directory.path().display()),
        _directory: Some(directory),
    }
}

/// One of each kind that behaves differently.
pub(crate) async fn places() -> Vec<Place> {
    vec![stored_place().await, place().await]
}
