//! `tidings migrate`, as a process.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tidings_testkit::Server;

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

/// A copy of a database that an earlier program made.
fn earlier() -> (tempfile::TempDir, PathBuf) {
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/5c99195/tidings.db"
    );
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tidings.db");
    std::fs::copy(fixture, &path).expect("a copy");
    (directory, path)
}

async fn sql(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.expect("a connection");
    let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection);
    ran.await.expect("it runs");
    connection.close().await.expect("it closes");
}

#[tokio::test]
async fn a_file_of_an_earlier_program_is_planned_applied_and_served() {
    let (directory, path) = earlier();
    let url = format!("sqlite://{}", path.display());
    let at = |flags: &[&str]| run(&[flags, &["--database", &url]].concat());

    let (status, planned, err) = at(&["migrate", "plan"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let added = "-- keyauth_credentials: adds the column enabled\n\
                 ALTER TABLE \"keyauth_credentials\" ADD COLUMN \"enabled\" INTEGER NOT NULL DEFAULT 1;\n";
    assert!(planned.contains(added), "{planned}");
    assert_eq!(at(&["migrate", "apply"]), (0, planned, String::new()));
    let nothing = "-- nothing to do: the tables are as the schemas ask\n";
    assert_eq!(
        at(&["migrate", "apply"]),
        (0, nothing.to_owned(), String::new())
    );

    sql(
        &path,
        "ALTER TABLE consumers ADD COLUMN nick TEXT; ALTER TABLE consumers ADD COLUMN theirs TEXT; \
         UPDATE consumers SET nick = username, theirs = 'x'",
    )
    .await;
    let (status, planned, _) = at(&["migrate", "plan"]);
    assert_eq!(status, 0, "{planned}");
    let loses = "-- loses the values of consumers.nick in 4 rows";
    assert!(planned.contains(loses), "{planned}");
    let (status, out, err) = at(&["migrate", "apply"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    for expected in [
        "consumers.nick in 4 rows",
        "consumers.theirs in 5 rows",
        "--allow-loss",
    ] {
        assert!(err.contains(expected), "{err}");
    }

    let keep = ["--keep", "consumers.theirs"];
    let (status, out, err) = at(&[&["migrate", "apply", "--allow-loss"], &keep[..]].concat());
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains("theirs in"), "{out}");
    assert_eq!(at(&[&["migrate", "plan"], &keep[..]].concat()).1, nothing);

    let program = crate::process::Program::start(directory.path(), &["--database", &url]);
    let (status, _, err) = at(&["migrate", "apply", "--allow-loss"]);
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("a node runs on the database"), "{err}");
    drop(program);
}

/// A table that serving cannot mend: the message names the command, and the command mends it.
#[tokio::test]
async fn serve_names_the_command_that_mends_what_it_refuses() {
    let (directory, path) = earlier();
    let url = format!("sqlite://{}", path.display());
    sql(
        &path,
        "DROP TABLE acls; CREATE TABLE acls (id TEXT NOT NULL PRIMARY KEY, \"group\" TEXT NOT NULL, \
         consumer TEXT NOT NULL REFERENCES consumers, created_at INTEGER NOT NULL, tags TEXT, \
         since TEXT NOT NULL)",
    )
    .await;

    let output = crate::process::output(directory.path(), &["--database", &url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why = "acls.since is NOT NULL without a default";
    assert!(said.contains(why), "{said}");
    assert!(said.contains("tidings migrate apply"), "{said}");
    assert_eq!(run(&["migrate", "apply", "--database", &url]).0, 0);
    drop(crate::process::Program::start(
        directory.path(),
        &["--database", &url],
    ));
}

#[tokio::test]
async fn a_server_is_migrated_and_what_is_wrong_has_its_exit_status() {
    let database = Server::shared().database().await;
    let url = database.url();
    let (status, out, err) = run(&["migrate", "plan", "--database", &url]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("CREATE TABLE \"consumers\""), "{out}");
    assert_eq!(run(&["migrate", "apply", "--database", &url]).0, 0);
    database.psql("ALTER TABLE acls ADD COLUMN since text; UPDATE acls SET since = 'x'");
    let (status, out, _) = run(&["migrate", "apply", "--database", &url]);
    let dropped = out.contains("DROP COLUMN \"since\"");
    assert_eq!((status, dropped), (0, true), "{out}");

    // The database refuses a statement: nothing was changed, and it can be reached.
    database
        .psql("ALTER TABLE acls ADD COLUMN till text; CREATE VIEW tills AS SELECT till FROM acls");
    let (status, out, err) = run(&["migrate", "apply", "--database", &url]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("DROP COLUMN \"till\""), "{err}");
    database.psql("DROP VIEW tills; ALTER TABLE acls DROP COLUMN till");

    let at_url = ["--database", &url];
    let keep = |column| [&["migrate", "plan"], &at_url[..], &["--keep", column]].concat();
    for (status, flags, says) in [
        (2, vec!["migrate"], "Usage"),
        (2, vec!["migrate", "undo"], "undo"),
        (2, vec!["migrate", "plan"], "--database is missing"),
        (
            2,
            vec!["migrate", "plan", "--database", "mysql://h/d"],
            "mysql",
        ),
        (
            2,
            vec!["migrate", "apply", "--database", "sqlite::memory:"],
            "memory",
        ),
        (2, keep("x"), "TABLE.COLUMN"),
        (2, keep("acls.id"), "acls.id"),
        (
            3,
            vec![
                "migrate",
                "apply",
                "--database",
                "postgres://u@127.0.0.1:1/d",
            ],
            "cannot be reached",
        ),
        (
            3,
            vec![
                "migrate",
                "apply",
                "--database",
                "sqlite:///no/such/folder/x",
            ],
            "no/such/folder",
        ),
    ] {
        let (found, _, err) = run(&flags);
        assert_eq!(found, status, "{flags:?}: {err}");
        assert!(err.contains(says), "{flags:?}: {err}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_database_is_named_once_with_what_would_help() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tidings.db");
    let url = format!("sqlite://{}", path.display());
    let all = [
        ["migrate", "plan"],
        ["migrate", "apply"],
        ["capture", "status"],
        ["capture", "install"],
    ];

    for command in [["capture", "status"], ["capture", "install"]] {
        let (status, _, err) = run(&[&command[..], &["--database", &url]].concat());
        let helps = err.contains("does not exist: `tidings migrate apply` makes it");
        assert!(status == 3 && helps && !path.exists(), "{status} {err}");
    }

    std::fs::write(&path, "neither a table nor a page of one".repeat(9)).expect("written");
    for command in all {
        let (status, _, err) = run(&[&command[..], &["--database", &url]].concat());
        let said = format!(
            "{} is not a database: file is not a database\n",
            path.display()
        );
        assert!(
            status == 3 && err.ends_with(&said),
            "{command:?}: {status} {err}"
        );
        assert_eq!(err.matches("file is not a database").count(), 1, "{err}");
    }
}
