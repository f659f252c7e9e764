//! The same work by sqlx alone: prepared statements, a pool, the same tables.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, PgPool, Row as _, SqlitePool,
    postgres::{PgPoolOptions, PgRow},
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use tidings_core::{Ref, Timestamp};
use uuid::Uuid;

use super::{Work, name, ours::Key};

/// How many rows go into one statement.
const BATCH: usize = 100;
const INSERT: &str = "INSERT INTO keys (id, owner, key, created_at) VALUES ($1, $2, $3, $4)";

pub(super) struct Bare {
    pool: Pool,
    next: AtomicUsize,
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Bare {
    pub(super) async fn sqlite(url: &str) -> Self {
        let options: SqliteConnectOptions = url.parse().expect("a URL");
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(std::time::Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(9);
        let pool = pool.connect_with(options).await.expect("the file opens");
        // A table of its own: ours does not cascade by itself.
        let cascades = "CREATE TABLE bare_owners (id TEXT PRIMARY KEY NOT NULL) STRICT; \
             CREATE TABLE bare_keys (id TEXT PRIMARY KEY NOT NULL, \
               owner TEXT REFERENCES bare_owners ON DELETE CASCADE, key TEXT UNIQUE NOT NULL, \
               created_at INTEGER NOT NULL) STRICT; CREATE INDEX bare_owner ON bare_keys (owner, id)";
        let made = sqlx::raw_sql(cascades).execute(&pool).await;
        made.expect("tables");
        Self {
            pool: Pool::Sqlite(pool),
            next: AtomicUsize::new(0),
        }
    }

    pub(super) async fn postgres(url: &str) -> Self {
        let pool = PgPoolOptions::new().max_connections(9);
        let pool = pool.connect(url).await.expect("the server");
        // The triggers of a table also see the rows that its references take along.
        let cascades = "ALTER TABLE keys DROP CONSTRAINT keys_owner_fkey; \
             ALTER TABLE keys ADD FOREIGN KEY (owner) REFERENCES owners (id) ON DELETE CASCADE";
        let made = sqlx::raw_sql(cascades).execute(&pool).await;
        made.expect("a reference");
        Self {
            pool: Pool::Postgres(pool),
            next: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> String {
        name(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// A statement that inserts many rows.
fn many(table: &str) -> String {
    let row = |row: usize| {
        let first = row * 4;
        format!(
            "(${}, ${}, ${}, ${})",
            first + 1,
            first + 2,
            first + 3,
            first + 4
        )
    };
    let rows: Vec<_> = (0..BATCH).map(row).collect();
    format!(
        "INSERT INTO {table} (id, owner, key, created_at) VALUES {}",
        rows.join(", ")
    )
}

/// Does the same on either pool; a UUID is bound as the engine stores it.
macro_rules! on {
    ($bare:expr, $pool:ident, $id:ident, $body:expr) => {
        match &$bare.pool {
            Pool::Sqlite($pool) => {
                let $id = |id: Uuid| id.to_string();
                $body
            }
            Pool::Postgres($pool) => {
                let $id = |id: Uuid| id;
                $body
            }
        }
    };
}

/// A row whose columns make a [`Key`], which is what the other side gives its callers.
trait Stored {
    fn key(&self) -> Key;
}

impl Stored for SqliteRow {
    fn key(&self) -> Key {
        let uuid = |text: &str| Uuid::parse_str(text).expect("a UUID");
        Key {
            id: uuid(self.get(0)),
            owner: self.get::<Option<&str>, _>(1).map(uuid).map(Ref::new),
            key: self.get(2),
            created_at: Timestamp::from_unix(self.get(3)),
        }
    }
}

impl Stored for PgRow {
    fn key(&self) -> Key {
        Key {
            id: self.get(0),
            owner: self.get::<Option<Uuid>, _>(1).map(Ref::new),
            key: self.get(2),
            created_at: Timestamp::from_unix(self.get(3)),
        }
    }
}

impl Work for Bare {
    async fn select(&self, number: usize) -> u64 {
        let sql = "SELECT id, owner, key, created_at FROM keys WHERE key = $1";
        on!(self, pool, _id, {
            let found = sqlx::query(sql)
                .bind(name(number))
                .fetch_optional(pool)
                .await;
            let key = found.expect("a select").map(|row| row.key());
            u64::from(std::hint::black_box(key).is_some())
        })
    }

    async fn insert(&self) -> u64 {
        let key = self.next();
        let length = key.len() as u64;
        on!(self, pool, id, {
            let none = None.map(&id);
            let query = sqlx::query(INSERT).bind(id(Uuid::new_v4())).bind(none);
            let made = query.bind(key).bind(1_i64).execute(pool).await;
            made.expect("an insert");
        });
        length
    }

    async fn transaction(&self, rows: usize) -> u64 {
        on!(self, pool, id, {
            let mut transaction = pool.begin().await.expect("a transaction");
            for _ in 0..rows {
                let none = None.map(&id);
                let query = sqlx::query(INSERT).bind(id(Uuid::new_v4())).bind(none);
                let query = query.bind(self.next()).bind(1_i64);
                query.execute(&mut *transaction).await.expect("an insert");
            }
            transaction.commit().await.expect("a commit");
        });
        rows as u64
    }

    async fn insert_many(&self, rows: usize) -> u64 {
        let sql = many("keys");
        on!(self, pool, id, {
            let mut transaction = pool.begin().await.expect("a transaction");
            for first in (0..rows).step_by(BATCH) {
                if rows - first < BATCH {
                    for _ in first..rows {
                        let none = None.map(&id);
                        let query = sqlx::query(INSERT).bind(id(Uuid::new_v4())).bind(none);
                        let query = query.bind(self.next()).bind(1_i64);
                        query.execute(&mut *transaction).await.expect("an insert");
                    }
                    continue;
                }
                let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
                for _ in 0..BATCH {
                    let none = None.map(&id);
                    query = query.bind(id(Uuid::new_v4())).bind(none);
                    query = query.bind(self.next()).bind(1_i64);
                }
                query.execute(&mut *transaction).await.expect("many rows");
            }
            transaction.commit().await.expect("a commit");
        });
        rows as u64
    }

    async fn stream(&self) -> u64 {
        let sql = "SELECT id, owner, key, created_at FROM keys ORDER BY id";
        on!(self, pool, _id, {
            let mut stream = sqlx::query(sql).fetch(pool);
            let mut rows = 0;
            while let Some(row) = stream.try_next().await.expect("a row") {
                rows += u64::from(!std::hint::black_box(row.key()).key.is_empty());
            }
            rows
        })
    }

    async fn plant(&self, rows: usize) {
        let first = self.next.fetch_add(rows, Ordering::Relaxed);
        let sql = match &self.pool {
            Pool::Sqlite(_) => format!(
                "INSERT INTO bare_owners VALUES ('owner'); \
                 WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
                 INSERT INTO bare_keys SELECT lower(hex(randomblob(16))), 'owner', 'key-' || (i + {first}), 1 FROM n"
            ),
            Pool::Postgres(_) => format!(
                "INSERT INTO owners VALUES (gen_random_uuid(), 'owner'); \
                 INSERT INTO keys (id, owner, key, created_at) SELECT gen_random_uuid(), o.id, \
                   'tree-' || (i + {first}), 1 FROM owners o, generate_series(1, {rows}) i"
            ),
        };
        on!(self, pool, _id, {
            let planted = sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await;
            planted.expect("a tree");
        });
    }

    async fn fell(&self) -> u64 {
        let sql = match &self.pool {
            Pool::Sqlite(_) => "DELETE FROM bare_owners",
            Pool::Postgres(_) => "DELETE FROM owners",
        };
        on!(self, pool, _id, {
            let deleted = sqlx::query(sql).execute(pool).await.expect("a delete");
            u64::from(deleted.rows_affected() == 0)
        })
    }
}
