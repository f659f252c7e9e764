//! Servers that a store can and cannot work with, and the lock on a database.

use tidings_store::{Error, Pooler, Store, postgres::log::Installer};

use super::{
    database::place,
    support::{Fixture, places},
};
use crate::entities::{Consumer, consumer};

#[tokio::test]
async fn a_second_node_on_a_database_is_refused_until_the_first_lets_go() {
    let place = place().await;
    let store = Store::open(&place.url).await.unwrap();
    let error = Store::open(&place.url).await.unwrap_err();
    assert!(matches!(error, Error::DatabaseInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(place.database.name()), "{error}");
    store.close().await.unwrap();

    let store = Store::open(&place.url).await.unwrap();
    drop(store);
    let store = Store::open(&place.url).await.unwrap();

    // The lock does not affect another database of the same server.
    let other = self::place().await;
    let other = Store::open(&other.url).await.unwrap();
    other.close().await.unwrap();
    store.close().await.unwrap();
}

/// A node that lost its lock does not write while another node has it.
#[tokio::test]
async fn a_node_that_lost_the_lock_to_another_is_refused_its_writes() {
    let place = place().await;
    let fixture = Fixture::at(&place.url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    consumers.insert(consumer("before")).await.unwrap();

    place.database.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = \
         (SELECT oid FROM pg_database WHERE datname = current_database());",
    );
    let other = Fixture::at(&place.url).await.unwrap();

    // The proof that the lock is held is renewed every second.
    let mut refused = None;
    for _ in 0..100_000 {
        let written = consumers.upsert_by("username", "beside", Consumer::default());
        if let Err(error) = written.await {
            refused = Some(error);
            break;
        }
    }
    assert!(
        matches!(refused, Some(Error::DatabaseInUse { .. })),
        "{refused:?}"
    );
    other.store.close().await.unwrap();
    consumers.insert(consumer("after")).await.unwrap();
}

#[tokio::test]
async fn databases_that_do_not_fit_are_refused_by_reason() {
    let place = place().await;
    let (url, name) = (&place.url, place.database.name());
    place.database.psql(&format!(
        "CREATE DATABASE {name}_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
         CREATE DATABASE {name}_frozen;
         ALTER DATABASE {name}_frozen SET default_transaction_read_only = on;"
    ));
    for (database, expected) in [("latin", "its encoding is LATIN1"), ("frozen", "read-only")] {
        let error = Store::open(&format!("{url}_{database}")).await.unwrap_err();
        assert!(matches!(error, Error::Unfit { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }

    let error = Store::open(&format!("{url}_nowhere")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    // No line of the server's own source.
    let said = tidings_core::Chain(&error).to_string();
    let names_it = said.ends_with("_nowhere\" does not exist (code 3D000)");
    assert!(names_it, "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_no_secret_is_told() {
    let options = Store::options("postgres://kim:s3cret@127.0.0.1:1/shop");
    let options = options.timeout(std::time::Duration::from_millis(100));
    assert!(!format!("{options:?}").contains("s3cret"));
    let error = options.open().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("s3cret"));
    let said = tidings_core::Chain(&error).to_string();
    assert!(said.contains("127.0.0.1:1/shop"), "{said}");
    let url = "postgres://kim:s3cret@127.0.0.1:1/shop";
    let error = Installer::connect(url).await.unwrap_err();
    let said = tidings_core::Chain(&error).to_string();
    assert!(
        error.is_unreachable() && said.contains("127.0.0.1:1/shop"),
        "{said}"
    );
    assert!(!format!("{error:?} {said}").contains("s3cret"));

    for url in [
        "postgres://kim:s3cret@h:x/shop",
        "mysql://kim:s3cret@h/shop",
    ] {
        let error = Store::open(url).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("s3cret"), "{error}");
    }
}

/// If encryption is required, no plain connection is made.
#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    let place = place().await;
    let options = Store::options(format!("{}?sslmode=require", place.url));
    let error = options.open().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn settings_out_of_range_are_refused_by_name() {
    let place = place().await;
    for (options, named) in [
        (Store::options(&place.url).connections(0), "connections"),
        (Store::options(&place.url).connections(1_001), "connections"),
        (
            Store::options(&place.url).timeout(std::time::Duration::ZERO),
            "timeout",
        ),
    ] {
        let error = options.open().await.unwrap_err();
        assert!(
            matches!(error, Error::Setting { option, .. } if option == named),
            "{error:?}"
        );
    }
}

/// A pooler gives each transaction another session, so neither statements nor locks may be kept in
/// one.
#[tokio::test]
async fn behind_a_transaction_pooler_no_statement_is_kept_in_a_session() {
    let place = place().await;
    let options = Store::options(&place.url).pooler(Pooler::Transaction);
    let store = options.connections(1).open().await.unwrap();
    let schemas = super::support::schemas();
    let fixture = Fixture::attach(store, &schemas).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));

    let mut kept = 0;
    for place in places().await {
        drop(place);
        kept += 1;
    }
    assert_eq!(kept, 1);
    let second = Store::options(&place.url).pooler(Pooler::Transaction);
    second.open().await.unwrap();
}
