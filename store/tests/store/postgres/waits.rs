//! How long a start and a migration wait for others.

use std::{pin::pin, time::Duration};

use futures_util::future::{Either, select};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tidings_core::{Field, Schema};
use tidings_store::{Migrations, Store};

use super::{
    migrations_here::{leak, run, words},
    support::{Fixture, place},
};

/// A start and a migration wait longer for their turn than for a table. The last wait for a table
/// is longer than the brief ones, which never succeed if readers overlap.
#[tokio::test]
async fn the_last_try_at_a_table_waits_for_longer_and_turns_of_others_are_not_counted() {
    let place = place().await;
    let limit = Duration::from_secs(2);
    let first = leak(words().field(Field::of::<Option<String>>("word")));
    let second = leak(
        words()
            .field(Field::of::<Option<String>>("word"))
            .field(Field::of::<Option<i64>>("new")),
    );
    let third = leak(
        words()
            .field(Field::of::<Option<String>>("word"))
            .field(Field::of::<Option<i64>>("new"))
            .field(Field::of::<Option<i64>>("newer")),
    );
    let start = async |schema: &'static Schema| {
        let store = Store::options(&place.url).timeout(limit).open().await?;
        let attached = Fixture::attach(store.clone(), &[schema]).await;
        store.close().await?;
        attached.map(drop)
    };
    start(first).await.unwrap();
    let (mut turn, mut holder) = (
        place.database.connect().await,
        place.database.connect().await,
    );

    let waiting_for = |seconds: f64, which: &str| {
        format!(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND {which} AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND waitstart < clock_timestamp() - make_interval(secs => {seconds})"
        )
    };
    let longer_than_the_limit = waiting_for(2.5, "locktype = 'advisory'");
    let longer_than_briefly = waiting_for(0.6, "relation = 'words'::regclass");
    for (schema, migrates) in [(second, false), (third, true)] {
        let lock = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tidings layout', 0))";
        run(&mut turn, lock).await.unwrap();
        run(&mut holder, "BEGIN; SELECT count(*) FROM words")
            .await
            .unwrap();
        let changing = async {
            if migrates {
                let migrations = Migrations::of(&place.url).schema(schema);
                migrations.patience(limit * 2).apply().await.map(drop)
            } else {
                start(schema).await
            }
        };
        let watching = async {
            until_some(&mut turn, &longer_than_the_limit).await;
            run(&mut turn, "COMMIT").await.unwrap();
            until_some(&mut turn, &longer_than_briefly).await;
            run(&mut holder, "COMMIT").await.unwrap();
        };
        let (changing, watching) = (pin!(changing), pin!(watching));
        match select(changing, watching).await {
            Either::Left((ended, _)) => panic!("it did not wait for long: {ended:?}"),
            Either::Right(((), changing)) => changing.await.unwrap(),
        }
    }
}

/// Returns once a query finds rows.
async fn until_some(connection: &mut PgConnection, sql: &str) {
    loop {
        let asking = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
        let found = asking.fetch_one(&mut *connection).await.unwrap();
        if found.get::<i64, _>(0) > 0 {
            return;
        }
    }
}
