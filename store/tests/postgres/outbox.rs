//! Changes recorded by an application's own SQL.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tidings_core::{CrudEvent, Entity, Operation};
use tidings_store::{
    outbox::{self, OutboxError},
    postgres::log::PgLog,
};
use tidings_testkit::Server;

use crate::support::{Reader, captured, run, settings_of};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "prices", cache_key("product"))]
struct Price {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    product: String,
    rate: f64,
    labels: Option<BTreeSet<String>>,
    more: Option<serde_json::Value>,
}

fn price(rate: f64) -> Price {
    Price {
        id: 7,
        product: "tea, \"green\" \\".to_owned(),
        rate,
        labels: Some(["a".to_owned(), "b c".to_owned()].into()),
        more: Some(serde_json::json!({"text": "\\\"", "number": 1e300})),
    }
}

async fn write(connection: &mut PgConnection, event: &CrudEvent<Price>, end: &str) {
    let mut transaction = connection.begin().await.expect("a transaction");
    run(&mut transaction, "insert into parts values (1)").await;
    outbox::record(&mut transaction, event)
        .await
        .expect("recorded");
    match end {
        "commit" => transaction.commit().await,
        _ => transaction.rollback().await,
    }
    .expect("an end");
}

#[tokio::test]
async fn a_recorded_change_is_told_if_its_transaction_commits_and_as_it_was_given() {
    let database = captured().await;
    database.psql("create table parts (id int)");
    let mut settings = settings_of(&database, Vec::new());
    settings.recorded = vec![Price::schema()];
    let mut reader = Reader::of(PgLog::new(settings)).await;
    let mut connection = database.connect().await;
    write(&mut connection, &CrudEvent::created(price(0.5)), "rollback").await;
    write(&mut connection, &CrudEvent::created(price(-0.0)), "commit").await;
    write(
        &mut connection,
        &CrudEvent::updated(price(-0.0), price(0.1 + 0.2)),
        "commit",
    )
    .await;
    write(
        &mut connection,
        &CrudEvent::deleted(price(0.1 + 0.2)),
        "commit",
    )
    .await;

    let entity =
        |row: Option<tidings_core::Row>| row.map(|row| Price::from_row(row).expect("a price"));
    let changes = reader.changes(Price::schema()).await;
    let received: Vec<_> = changes
        .into_iter()
        .map(|it| (it.operation, entity(it.old), entity(it.new)))
        .collect();
    assert_eq!(
        received,
        [
            (Operation::Create, None, Some(price(-0.0))),
            (Operation::Update, Some(price(-0.0)), Some(price(0.1 + 0.2))),
            (Operation::Delete, Some(price(0.1 + 0.2)), None),
        ]
    );
    assert!(
        received[0]
            .2
            .as_ref()
            .is_some_and(|price| price.rate.is_sign_negative())
    );
}

#[tokio::test]
async fn a_database_without_a_log_refuses_the_record() {
    let database = Server::shared().database().await;
    let mut connection = database.connect().await;
    let refused = outbox::record(&mut connection, &CrudEvent::created(price(1.0))).await;
    assert!(matches!(refused, Err(OutboxError::NoLog)), "{refused:?}");
}
