//! `tidings doctor`, and what the members report in their rows.

use std::path::Path;

use serde_json::Value as Json;
use sqlx::{Connection as _, SqliteConnection};
use tidings_testkit::Server;

use super::{json, members, named, node, until};
use crate::process::{Program, command, get};

/// Runs `doctor`: its exit status and its rows.
fn doctor(program: &Program, timeout: &str) -> (Option<i32>, Vec<Json>) {
    let admin = format!("http://{}", program.admin);
    let flags = [
        "doctor",
        "--timeout",
        timeout,
        "--output",
        "json",
        "--admin",
        &admin,
    ];
    let output = command(Path::new("/"), &flags).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().map(serde_json::from_str);
    let rows = rows.collect::<Result<_, _>>();
    let said = String::from_utf8_lossy(&output.stderr);
    (
        output.status.code(),
        rows.unwrap_or_else(|error| panic!("{error}: {text}{said}")),
    )
}

/// Runs `doctor` until two members are well.
async fn until_both_are_well(program: &Program) -> Vec<Json> {
    let mut rows = Vec::new();
    until("both are well", || {
        let (status, found) = doctor(program, "10s");
        rows = found;
        status == Some(0) && rows.len() == 2
    })
    .await;
    rows
}

async fn examine(a: &Program, b: &Program) {
    for row in until_both_are_well(a).await {
        assert!(row["millis"].as_f64().is_some(), "{row}");
        assert_eq!(row["version"], env!("CARGO_PKG_VERSION"), "{row}");
        assert_eq!(row["retention_seconds"], 3_600.0, "{row}");
        assert_eq!(row["schemas"].as_str().map(str::len), Some(12), "{row}");
        let clock = row["clock_offset_seconds"].as_f64();
        assert!(clock.is_some_and(|offset| offset.abs() < 1.0), "{row}");
    }

    let mut found = (None, Vec::new());
    until(
        "it is stopped, and not while it holds a file of SQLite",
        || {
            b.signal("STOP");
            found = doctor(a, "300ms");
            if found.0 == Some(3) {
                b.signal("CONT");
            }
            found.0 != Some(3)
        },
    )
    .await;
    let (status, rows) = found;
    assert_eq!(status, Some(1), "{rows:?}");
    let problems = rows[1]["problems"].to_string();
    assert!(
        problems.contains("silent") && rows[1]["millis"].is_null(),
        "{problems}"
    );
    assert_eq!(rows[0]["problems"], Json::Array(Vec::new()));
    b.signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_a_silent_member_and_what_does_not_match() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    examine(&a, &b).await;
    drop(b);

    // One that was killed is silent, and another keeps the log for longer than the rest.
    let c = node(&database, "c", &["--cluster-retention", "2h"]);
    until("it is a member", || members(&c).len() == 3).await;
    let (status, rows) = doctor(&a, "1s");
    assert_eq!(status, Some(1));
    let problems: Vec<_> = rows.iter().map(|row| row["problems"].to_string()).collect();
    assert!(problems[1].contains("silent"), "{problems:?}");
    assert_eq!(
        problems[2],
        "[\"retention of the log: 2h 0m, and 1h 0m on a\"]"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_works_on_a_shared_file_and_on_a_node_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let member = |name| {
        let flags = ["--database", &url, "--cluster", "sqlite", "--node-id", name];
        Program::start(Path::new("/"), &flags)
    };
    let (a, b) = (member("a"), member("b"));
    examine(&a, &b).await;

    let flags = ["--database", "sqlite::memory:", "--node-id", "a"];
    let alone = Program::start(Path::new("/"), &flags);
    let (status, rows) = doctor(&alone, "10s");
    assert_eq!((status, rows.len()), (Some(0), 1), "{rows:?}");
    let admin = format!("http://{}", alone.admin);
    let table = command(Path::new("/"), &["doctor", "--admin", &admin])
        .output()
        .expect("it runs");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.starts_with("NODE  ANSWERED") && table.contains("well"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_member_is_shown_with_its_last_report() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    let both = named(&[("a", "live"), ("b", "live")]);
    until("both are live", || members(&a) == both).await;
    b.signal("STOP");
    let late = named(&[("a", "live"), ("b", "late")]);
    until("the stopped one is late", || members(&a) == late).await;

    let view = json(&get(a.admin, "/cluster", ""));
    let (live, late) = (&view["members"][0], &view["members"][1]);
    let position = late["position"].as_str();
    assert!(position.is_some(), "{late}");
    assert!(late["lag_seconds"].as_f64().is_some(), "{late}");
    let moment = |row: &Json| {
        row["reported_at"]
            .as_i64()
            .unwrap_or_else(|| panic!("{row}"))
    };
    assert!(moment(late) <= moment(live), "{view}");
    assert_eq!(late["reason"], "it did not report in time");
    b.signal("CONT");
}

/// The columns that a log lacks if it was made before members reported these facts.
const SAID: [&str; 5] = [
    "facts",
    "asked_at",
    "reported_at",
    "report_took",
    "clock_ahead",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_older_gets_what_its_members_say() {
    let database = Server::shared().database().await;
    drop(node(&database, "a", &[]));
    for column in SAID {
        database.psql(&format!("alter table tidings.members drop column {column}"));
    }
    let (a, _b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    until_both_are_well(&a).await;

    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let member = |name| {
        let flags = ["--database", &url, "--cluster", "sqlite", "--node-id", name];
        Program::start(Path::new("/"), &flags)
    };
    drop(member("a"));
    let mut file = SqliteConnection::connect(&url).await.expect("a file");
    for column in SAID {
        let drop = format!("ALTER TABLE tidings_members DROP COLUMN {column}");
        let dropped = sqlx::query(sqlx::AssertSqlSafe(drop))
            .execute(&mut file)
            .await;
        dropped.expect("the column was there");
    }
    file.close().await.expect("it closes");
    let (a, _b) = (member("a"), member("b"));
    until_both_are_well(&a).await;
}
