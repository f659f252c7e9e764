//! Tables, their schemas, and a reader that keeps what it is told.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgConnection};
use tidings_core::{
    Auto, Field, Foreign, OnDelete, Operation, Row, Schema, Value,
    clock::SystemClock,
    log::{Body, Cursor, Extent, Log as _, Mark, Read, RowChange, RowRecord},
    spawn::CurrentRuntime,
};
use tidings_store::postgres::log::{InstallOptions, PgLog, PgLogSettings, install};
use tidings_testkit::{Database, Server};
use uuid::Uuid;

/// Consumers, their credentials (which cascade and go with a changed consumer), and numbers in
/// partitions.
pub(crate) const TABLES: &str = "
    create table consumers (id uuid primary key, username text unique, note text);
    create table credentials (
        id bigint primary key, key text unique,
        consumer uuid references consumers on delete cascade
    );
    create table numbers (id bigint primary key, text text) partition by range (id);
    create table numbers_low partition of numbers for values from (minvalue) to (100);
    create table numbers_high partition of numbers for values from (100) to (maxvalue);
";

pub(crate) fn schemas() -> Vec<&'static Schema> {
    static SCHEMAS: OnceLock<[Schema; 3]> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let consumer = Foreign {
            entity: "consumers".to_owned(),
            key: "id".to_owned(),
            on_delete: OnDelete::Cascade,
            evict_on_update: true,
        };
        let consumers = Schema::builder("consumers")
            .field(Field::of::<Uuid>("id").primary_key().auto(Auto::Random))
            .field(Field::of::<Option<String>>("username").unique())
            .field(Field::of::<Option<String>>("note"))
            .build();
        let credentials = Schema::builder("credentials")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<String>>("key").unique())
            .field(Field::of::<Option<Uuid>>("consumer").refers_to(consumer))
            .cache_key(&["key"])
            .build();
        let numbers = Schema::builder("numbers")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<String>>("text"))
            .build();
        [consumers, credentials, numbers]
    });
    schemas.iter().collect()
}

/// A database with the tables, captured.
pub(crate) async fn captured() -> Database {
    captured_on(Server::shared()).await
}

pub(crate) async fn captured_on(server: &Server) -> Database {
    let database = server.database().await;
    database.psql(TABLES);
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &schemas(), InstallOptions::default()).await;
    assert_eq!(installed.expect("captured").changed.len(), 5);
    database
}

pub(crate) fn log_of(database: &Database, schemas: Vec<&'static Schema>) -> PgLog {
    PgLog::new(settings_of(database, schemas))
}

pub(crate) fn settings_of(database: &Database, schemas: Vec<&'static Schema>) -> PgLogSettings {
    PgLogSettings {
        options: database.options(),
        schemas,
        recorded: Vec::new(),
        look: Duration::ZERO,
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(CurrentRuntime),
        retire: None,
    }
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql)
        .execute(connection)
        .await
        .expect("SQL that works");
}

/// A reader that applies what it reads at once.
pub(crate) struct Reader {
    pub(crate) log: PgLog,
    pub(crate) cursor: Cursor,
    pub(crate) limit: usize,
}

/// One thing that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Row(Mark, RowRecord),
    Entity(String),
}

impl Reader {
    pub(crate) async fn at_head(database: &Database) -> Self {
        Self::of(log_of(database, schemas())).await
    }

    pub(crate) async fn of(log: PgLog) -> Self {
        let head = log.head(None).await.expect("a head");
        Self {
            log,
            cursor: head.cursor,
            limit: 1_000,
        }
    }

    /// Reads one page.
    pub(crate) async fn page(&mut self) -> (Vec<Told>, Extent) {
        let read = self.log.read(&self.cursor, self.limit, None).await;
        let Read::Batch(batch) = read.expect("a read") else {
            panic!("a gap");
        };
        self.cursor = batch.cursor;
        let told = batch
            .records
            .into_iter()
            .filter_map(|record| match record.body {
                Body::Row(row) => Some(Told::Row(record.mark, row)),
                Body::Entity(entity) => Some(Told::Entity(entity.to_string())),
                Body::Unreadable { entity } => panic!("a record of {entity:?} is not readable"),
                Body::Evict(_) => None,
            });
        (told.collect(), batch.extent)
    }

    /// Reads until nothing is left.
    pub(crate) async fn all(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        loop {
            let (mut told, extent) = self.page().await;
            all.append(&mut told);
            if extent == Extent::All {
                return all;
            }
        }
    }

    /// Reads until nothing is left; each row as its operation and its key.
    pub(crate) async fn operations(&mut self) -> Vec<String> {
        let all = self.all().await;
        let text = |told: &Told| match told {
            Told::Row(_, row) => format!("{} {} {}", row.operation, row.entity, row.key.to_json()),
            Told::Entity(entity) => format!("touched {entity}"),
        };
        all.iter().map(text).collect()
    }

    /// Reads until nothing is left, and puts together what each transaction did to each row of an
    /// entity.
    pub(crate) async fn changes(&mut self, schema: &'static Schema) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut told = BTreeSet::new();
        for read in self.all().await {
            let Told::Row(mark, row) = read else {
                continue;
            };
            if *row.entity != *schema.name()
                || !told.insert((mark.number(), row.key.to_json().to_string()))
            {
                continue;
            }
            let group = self
                .log
                .group(mark, &row.entity, &row.key)
                .await
                .expect("a group");
            if let Some(change) = RowChange::fold(&group) {
                let row =
                    |fields: Option<&tidings_core::log::Fields>| fields.map(|it| it.to_row(schema));
                changes.push(Change {
                    operation: change.operation,
                    old: row(change.old),
                    new: row(change.new),
                });
            }
        }
        changes
    }
}

/// What a transaction did to a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) operation: Operation,
    pub(crate) old: Option<Row>,
    pub(crate) new: Option<Row>,
}

pub(crate) fn text(row: Option<&Row>, field: usize) -> Option<String> {
    match row?.0.get(field)? {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}
