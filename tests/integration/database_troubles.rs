//! A database file that another program meddles with, seen over HTTP.

use http::Method;
use serde_json::{Value as Json, json};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::gateway::{Served, served_with};

/// A gateway on a file, and a connection of another program to it.
async fn on_a_file() -> (TempDir, Served, SqliteConnection) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("tidings.db");
    let served = served_with(|settings| {
        settings.database = format!("sqlite://{}", file.display());
        settings.workers = 1;
        settings.allow_groups = Some(vec!["staff".to_owned()]);
    })
    .await;
    let options = SqliteConnectOptions::new().filename(&file);
    let other = options.connect().await.expect("the file is there");
    (folder, served, other)
}

async fn run(other: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql)
        .execute(other)
        .await
        .expect("SQLite runs it");
}

/// P8: every one of them is answered that the database is unavailable, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn writes_behind_a_locked_file_are_503s_and_reads_go_on() {
    let (_folder, served, mut other) = on_a_file().await;
    run(&mut other, "BEGIN IMMEDIATE").await;
    let write = async |name: &str| {
        let mut admin = served.admin().await;
        admin.post("/consumers", json!({"username": name})).await
    };
    let (a, b, c) = tokio::join!(write("a"), write("b"), write("c"));
    for refused in [a, b, c, write("d").await] {
        let refused = refused.expect(503).json();
        assert_eq!(
            (&refused["code"], &refused["name"]),
            (&json!(8), &json!("database unavailable"))
        );
    }
    let list = served
        .admin()
        .await
        .get("/consumers")
        .await
        .expect(200)
        .json();
    assert_eq!(list["data"], json!([]));
    run(&mut other, "ROLLBACK").await;
    let written = async {
        loop {
            let written = write("a").await;
            if written.status != 503 {
                break written;
            }
        }
    };
    written.await.expect(201);
    served.stop().await;
}

/// S1: which entries handlers would have evicted by hand is not known, so everything is evicted.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_doubt_leaves_no_groups_in_the_cache() {
    let (_folder, served, mut other) = on_a_file().await;
    let mut admin = served.admin().await;
    let bob = admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201)
        .json();
    admin
        .post("/consumers/bob/key-auth", json!({"key": "k"}))
        .await
        .expect(201);
    admin
        .post("/consumers/bob/acls", json!({"group": "staff"}))
        .await
        .expect(201);
    served.proxy().await.with_key("k").await.expect(200);
    let groups = format!("/cache/acl_groups%3A{}", bob["id"].as_str().expect("an id"));
    admin.get(&groups).await.expect(200);

    // A reference that is checked at the commit, and leads nowhere.
    run(
        &mut other,
        "CREATE TABLE elsewhere (id INTEGER PRIMARY KEY);
         CREATE TABLE dangling (id INTEGER REFERENCES elsewhere DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER breaks AFTER INSERT ON acls BEGIN INSERT INTO dangling VALUES (1); END;",
    )
    .await;
    let headers = [("content-type", "application/json")];
    let body = json!({"group": "more"}).to_string();
    let path = "/consumers/bob/acls";
    let refused = admin.send(Method::POST, path, &headers, Some(body)).await;
    assert_eq!(refused.expect(503).json()["code"], 8);
    admin.get(&groups).await.expect(404);
    let metrics = admin.get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let told = "tidings_changes_total{what=\"in_doubt\"} 1\n";
    assert!(metrics.contains(told), "{metrics}");

    run(&mut other, "DROP TRIGGER breaks").await;
    served.proxy().await.with_key("k").await.expect(200);
    let list: Json = admin.get(path).await.expect(200).json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(1), "{list}");
    served.stop().await;
}
