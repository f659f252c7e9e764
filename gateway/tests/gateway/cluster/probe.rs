//! `POST /cluster/probe`: a sign of life of every node, through the log.

use std::path::Path;

use serde_json::Value as Json;
use tidings_testkit::Server;

use super::{admin, json, node, status, until};
use crate::process::{Program, get};

/// What a probe found.
fn probe(program: &Program, timeout: &str) -> Json {
    try_probe(program, timeout).unwrap_or_else(|answer| panic!("{answer}"))
}

/// What a probe found, or the answer that says why there was none.
fn try_probe(program: &Program, timeout: &str) -> Result<Json, String> {
    let path = format!("/cluster/probe?timeout={timeout}");
    let answer = admin(program.admin, "POST", &path, "");
    match status(&answer) {
        200 => Ok(json(&answer)),
        _ => Err(answer),
    }
}

fn millis(found: &Json, node: &str) -> Option<f64> {
    found["nodes"][node].as_f64()
}

/// Two members; one of them stops and goes on.
async fn tell_a_silent_member(a: &Program, b: &Program) {
    until("both are there", || {
        probe(a, "5s")["nodes"]
            .as_object()
            .is_some_and(|it| it.len() == 2)
    })
    .await;
    let found = probe(a, "10s");
    for name in ["a", "b"] {
        let millis = millis(&found, name).unwrap_or_else(|| panic!("{name} is silent: {found}"));
        assert!(millis >= 0.0, "{found}");
    }
    let position = found["position"].as_str().expect("a position");
    let path = format!("/cluster/confirm?position={position}");
    let confirmed = get(b.admin, &path, "");
    assert_eq!(status(&confirmed), 200, "{confirmed}");

    let mut found = Json::Null;
    until(
        "it is stopped, and not while it holds a file of SQLite",
        || {
            b.signal("STOP");
            match try_probe(a, "300ms") {
                Ok(probed) => found = probed,
                Err(_) => b.signal("CONT"),
            }
            !found.is_null()
        },
    )
    .await;
    assert!(millis(&found, "a").is_some(), "{found}");
    assert_eq!(found["nodes"]["b"], Json::Null, "{found}");
    assert_eq!(found["nodes"].as_object().expect("nodes").len(), 2);
    b.signal("CONT");
    until("it answers again", || {
        millis(&probe(a, "1s"), "b").is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_says_how_long_each_member_took_and_which_is_silent() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    tell_a_silent_member(&a, &b).await;

    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let member = |name| {
        let flags = ["--database", &url, "--cluster", "sqlite", "--node-id", name];
        Program::start(Path::new("/"), &flags)
    };
    let (a, b) = (member("a"), member("b"));
    tell_a_silent_member(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_answers_a_probe_by_itself() {
    let database = Server::shared().database().await;
    let with_a_log = node(&database, "a", &["--cluster", "none"]);
    let flags = ["--database", "sqlite::memory:", "--node-id", "a"];
    let without = Program::start(Path::new("/"), &flags);
    for program in [&with_a_log, &without] {
        let found = probe(program, "10s");
        assert!(millis(&found, "a").is_some(), "{found}");
        assert_eq!(found["nodes"].as_object().expect("nodes").len(), 1);
        assert!(found["position"].is_string(), "{found}");
    }
    for (method, path, expected) in [
        ("POST", "/cluster/probe?timeout=soon", 400),
        ("POST", "/cluster/probe?confirm=1s", 400),
        ("GET", "/cluster/probe", 405),
    ] {
        let refused = admin(without.admin, method, path, "");
        assert_eq!(status(&refused), expected, "{method} {path}: {refused}");
    }
}
