//! Tables and their schemas, and logs on databases of their own.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use sqlx::{AssertSqlSafe, PgConnection};
use tidings_core::{
    Auto, Field, Foreign, OnDelete, OnUpdate, Schema, clock::SystemClock, spawn::CurrentRuntime,
};
use tidings_store::postgres::log::{InstallOptions, PgLog, PgLogSettings, install};
use tidings_testkit::{Database, Server};
use uuid::Uuid;

pub(crate) use crate::reader::{ReadItem, Reader, text};

/// Consumers, their credentials (which cascade, and are evicted with a changed consumer), and
/// numbers in partitions.
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
            on_update: OnUpdate::Evict,
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
        check_capture_every: Duration::ZERO,
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

impl Reader {
    pub(crate) async fn at_head(database: &Database) -> Self {
        Self::of(log_of(database, schemas())).await
    }
}
