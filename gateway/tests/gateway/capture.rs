//! `tidings capture`, as a process.

use std::path::Path;

use tidings::Entity as _;
use tidings_gateway::{Acl, Consumer, KeyAuthCredential};
use tidings_testkit::{Database, Server};

use crate::process::command;

/// Exit status, standard output and standard error.
fn run(flags: &[&str]) -> (i32, String, String) {
    let output = command(Path::new("/"), flags)
        .output()
        .expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().expect("it ends by itself");
    (status, text(&output.stdout), text(&output.stderr))
}

async fn database() -> Database {
    let database = Server::shared().database().await;
    for schema in [
        Consumer::schema(),
        KeyAuthCredential::schema(),
        Acl::schema(),
    ] {
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| match field.name() {
                "id" => "id uuid primary key".to_owned(),
                name => format!("\"{name}\" text"),
            })
            .collect();
        let name = schema.name();
        database.psql(&format!("create table {name} ({})", columns.join(", ")));
    }
    database
}

#[tokio::test]
async fn install_status_and_remove_say_what_they_find_and_do() {
    let database = database().await;
    let url = database.url();
    let (status, out, _) = run(&["capture", "status", "--database", &url]);
    assert_eq!(status, 1, "{out}");
    assert!(
        out.contains("public.consumers (consumers): every change: the log is not installed"),
        "{out}"
    );

    let (status, out, err) = run(&["capture", "install", "--database", &url]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "public.consumers: installed\npublic.keyauth_credentials: installed\npublic.acls: installed\n"
    );
    let (status, out, _) = run(&["capture", "install", "--database", &url]);
    assert_eq!(
        (status, out.lines().next()),
        (0, Some("public.consumers: in place"))
    );
    assert_eq!(run(&["capture", "status", "--database", &url]).0, 0);

    database.psql("alter table acls disable trigger tidings_delete");
    let (status, out, _) = run(&["capture", "status", "--output", "json", "--database", &url]);
    assert_eq!(status, 1);
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        lines[2]["missed"],
        serde_json::json!(["delete: the trigger is disabled"])
    );
    assert_eq!(
        (&lines[0]["captured"], &lines[2]["captured"]),
        (&true.into(), &false.into())
    );

    let (status, out, _) = run(&["capture", "remove", "--database", &url]);
    assert_eq!((status, out.lines().count()), (0, 3), "{out}");
}

#[tokio::test]
async fn a_file_of_sqlite_is_captured_by_the_same_commands() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", directory.path().join("a.db").display());
    let store = tidings::store::Store::open(&url).await.expect("a store");
    let (status, _, err) = run(&["capture", "install", "--database", &url]);
    assert_eq!(status, 2);
    assert!(err.contains("there is no table consumers"), "{err}");

    let node = tidings::Node::builder()
        .store(store)
        .entity::<Consumer>()
        .entity::<KeyAuthCredential>()
        .entity::<Acl>()
        .start()
        .await
        .expect("a node");
    assert_eq!(run(&["capture", "status", "--database", &url]).0, 1);
    let (status, out, err) = run(&["capture", "install", "--database", &url]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "consumers: installed\nkeyauth_credentials: installed\nacls: installed\n"
    );
    let (status, out, _) = run(&["capture", "status", "--database", &url]);
    assert_eq!(
        (status, out.lines().next()),
        (0, Some("consumers (consumers): captured"))
    );
    let (status, _, err) = run(&["capture", "install", "--notify", "--database", &url]);
    assert_eq!(status, 2);
    assert!(
        err.contains("--notify needs a PostgreSQL database"),
        "{err}"
    );

    // A node that runs on the file would miss every change.
    let (status, _, err) = run(&["capture", "remove", "--database", &url]);
    assert_eq!(status, 2);
    assert!(err.contains("a node runs on this file"), "{err}");
    node.store().close().await.expect("closed");
    let (status, out, _) = run(&["capture", "remove", "--database", &url]);
    assert_eq!((status, out.lines().count()), (0, 3), "{out}");
}

#[tokio::test]
async fn what_is_wrong_is_said_and_no_secret_is_shown() {
    let (status, _, err) = run(&["capture", "install"]);
    assert_eq!(status, 2);
    assert!(err.contains("--database is missing"), "{err}");
    let missing = ["capture", "install", "--database", "sqlite:///nowhere/x.db"];
    let (status, _, err) = run(&missing);
    assert_eq!(status, 3);
    assert!(err.contains("/nowhere/x.db"), "{err}");
    let (status, _, err) = run(&["capture", "frobnicate", "--database", "postgres://h/d"]);
    assert_eq!(status, 2);
    assert!(err.contains("frobnicate"), "{err}");
    let (status, _, err) = run(&[
        "capture",
        "status",
        "--database",
        "postgres://u:hunter2@h:port/d",
    ]);
    assert_eq!(status, 2);
    assert!(
        err.contains("the database URL is not valid") && !err.contains("hunter2"),
        "{err}"
    );
    let (status, _, err) = run(&[
        "capture",
        "status",
        "--database",
        "postgres://u:hunter2@127.0.0.1:1/d",
    ]);
    assert_eq!(status, 3, "{err}");
    assert!(!err.contains("hunter2"), "{err}");

    let database = database().await;
    let (status, _, err) = run(&[
        "capture",
        "install",
        "--notify",
        "--database",
        &database.url(),
    ]);
    assert_eq!(status, 2);
    assert!(err.contains("PREPARE TRANSACTION"), "{err}");
    let (status, _, err) = run(&[
        "capture",
        "install",
        "--notify",
        "--force",
        "--database",
        &database.url(),
    ]);
    assert_eq!(status, 0);
    assert!(err.contains("commits go through one lock"), "{err}");
}
