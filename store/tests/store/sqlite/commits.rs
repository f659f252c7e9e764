//! Commits that SQLite refuses.

use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tidings_store::Error;

use super::support::Fixture;
use crate::entities::{Consumer, consumer};

/// Makes the database refuse the commit of rows with the username `poison`.
async fn poison(path: &std::path::Path) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);
         CREATE TABLE dangling (id INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER poison AFTER INSERT ON consumers WHEN NEW.username = 'poison'
         BEGIN INSERT INTO dangling VALUES (1); END;",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

/// G2
#[tokio::test]
async fn a_commit_that_fails_evicts_and_leaves_the_writer_as_good_as_new() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    let fixture = Fixture::at(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    poison(&path).await;
    let consumers = fixture.dao::<Consumer>();
    for _ in 0..3 {
        let error = consumers.insert(consumer("poison")).await.unwrap_err();
        assert!(matches!(error, Error::Commit(_)), "{error:?}");
        let doubted = fixture.sink.take_in_doubt();
        assert_eq!(doubted.len(), 1);
        assert_eq!(doubted[0].evict[0].as_str(), "consumers:poison");
        assert_eq!(fixture.sink.take(), []);
        assert_eq!(
            consumers.select_by("username", "poison").await.unwrap(),
            None
        );

        let bob = consumers.insert(consumer("bob")).await.unwrap();
        assert_eq!(fixture.sink.take().len(), 1);
        consumers.delete(bob.id).await.unwrap().unwrap();
        assert_eq!(fixture.sink.take().len(), 1);
    }
}
