//! `tidings audit`: cached entries compared with the database.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::process::{Program, command, get, post};

/// Runs `audit` against a node.
fn audit(admin: &str, arguments: &[&str]) -> Output {
    let mut command = command(Path::new("/"), &["audit", "--admin", admin]);
    command.args(arguments);
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes to the database as another program does.
fn sqlite3(folder: &Path, sql: &str) {
    let mut command = Command::new("sqlite3");
    command.args(["-cmd", ".timeout 5000"]);
    let done = command.arg(folder.join("tidings.db")).arg(sql).output();
    let done = done.expect("scripts/prepare installs it");
    assert!(done.status.success(), "{}", text(&done.stderr));
}

/// A node that is alone with its database sees only its own writes: what another program changes in
/// the file stays cached, and an audit finds it.
#[test]
fn an_audit_finds_what_another_program_has_changed_in_the_file_of_a_node_alone() {
    let folder = TempDir::new().expect("a folder");
    let program = Program::start(folder.path(), &["--node-id", "a"]);
    let admin = format!("http://{}", program.admin);
    post(program.admin, "/consumers", "username=bob");
    let made = post(program.admin, "/consumers/bob/key-auth", "key=k");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    for (key, status) in [("k", "200"), ("unknown", "401")] {
        let answer = get(program.proxy, "/", &format!("apikey: {key}\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }

    let clean = audit(&admin, &["--for", "1s", "--output", "json"]);
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean.stderr));
    let found: Json = serde_json::from_slice(&clean.stdout).expect("one object");
    assert!(found["checked"].as_u64() >= Some(3), "{found}");
    assert_eq!(
        (&found["inconsistent"], &found["skipped"]),
        (&0.into(), &0.into())
    );

    sqlite3(folder.path(), "update keyauth_credentials set enabled = 0;");
    let wrong = audit(&admin, &["--for", "1s", "--output", "json"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stderr));
    let found: Json = serde_json::from_slice(&wrong.stdout).expect("one object");
    assert!(found["per_million"].as_f64() > Some(0.0), "{found}");
    assert!(found["oldest_seconds"].as_f64() > Some(0.0), "{found}");
    assert_eq!(found["bound_seconds"], Json::Null);
    let shown = audit(&admin, &["--for", "1s"]);
    assert_eq!(shown.status.code(), Some(1));
    let said = text(&shown.stdout);
    assert!(
        said.starts_with("checked ") && said.contains("per million"),
        "{said}"
    );

    // What is evicted is loaded again, and right.
    let evict = ["cache", "evict", "keyauth_credentials:k", "--admin", &admin];
    let evicted = command(Path::new("/"), &evict).output();
    assert!(evicted.expect("the program runs").status.success());
    let answer = get(program.proxy, "/", "apikey: k\r\n");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let clean = audit(&admin, &["--for", "1s"]);
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean.stdout));
}

#[test]
fn a_wrong_call_ends_with_2_and_a_node_out_of_reach_with_3() {
    let folder = TempDir::new().expect("a folder");
    let program = Program::start(folder.path(), &["--node-id", "a"]);
    let admin = format!("http://{}", program.admin);
    for wrong in ["999ms", "11m", "soon", "0s"] {
        let refused = audit(&admin, &["--for", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
        let said = text(&refused.stderr);
        assert!(said.contains("expected a duration"), "{wrong}: {said}");
    }
    drop(program);
    let refused = audit(&admin, &["--for", "1s"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
}

#[test]
fn an_audit_that_had_nothing_to_compare_says_so() {
    let folder = TempDir::new().expect("a folder");
    let program = Program::start(folder.path(), &["--node-id", "a"]);
    let admin = format!("http://{}", program.admin);
    let found = audit(&admin, &["--for", "1s"]);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    let said = text(&found.stderr);
    assert!(said.contains("nothing was compared"), "{said}");
}
