//! The commands that ask a node: the program as its own client.

// What `tail` says.
mod tail;

use std::{
    net::TcpListener,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::process::{Program, command, get, post};

/// Runs a command against a node.
fn run(program: &Program, arguments: &[&str]) -> Output {
    let admin = format!("http://{}", program.admin);
    let mut command = command(Path::new("/"), arguments);
    command.args(["--admin", &admin]);
    command.output().expect("the program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command says as JSON: one object a line.
fn objects(output: &Output) -> Vec<Json> {
    let text = out(output);
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command that succeeds; the one object that it says.
fn object(program: &Program, arguments: &[&str]) -> Json {
    let output = run(program, &[arguments, &["--output", "json"]].concat());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        err(&output)
    );
    let mut objects = objects(&output);
    assert_eq!(objects.len(), 1, "{arguments:?}");
    objects.remove(0)
}

fn node(folder: &TempDir) -> Program {
    Program::start(folder.path(), &["--node-id", "a"])
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

#[test]
fn a_key_is_created_listed_without_its_secret_and_revoked() {
    let folder = folder();
    let program = node(&folder);
    let none = run(&program, &["keys", "create", "bob"]);
    assert_eq!(none.status.code(), Some(1), "{}", err(&none));
    assert!(err(&none).contains("no consumer \"bob\""), "{}", err(&none));

    let none = run(&program, &["keys", "list", "bob"]);
    assert_eq!(none.status.code(), Some(1), "{}", err(&none));
    assert!(err(&none).contains("no consumer \"bob\""), "{}", err(&none));

    let made = object(
        &program,
        &[
            "keys",
            "create",
            "bob",
            "--new",
            "--key",
            "k 1/ü-long-enough",
        ],
    );
    assert_eq!(made["key"], "k 1/ü-long-enough");
    let generated = run(&program, &["keys", "create", "bob", "--new"]);
    assert_eq!(generated.status.code(), Some(0), "{}", err(&generated));
    assert!(
        out(&generated).contains("key       "),
        "{}",
        out(&generated)
    );
    let taken = run(
        &program,
        &["keys", "create", "bob", "--key", "k 1/ü-long-enough"],
    );
    assert_eq!(taken.status.code(), Some(1), "{}", err(&taken));

    let listed = run(&program, &["keys", "list"]);
    assert_eq!(listed.status.code(), Some(0), "{}", err(&listed));
    let text = out(&listed);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(
        text.starts_with("ID ") && text.contains("k 1/****"),
        "{text}"
    );
    assert!(
        !text.contains("long-enough") && !text.contains('\x1b'),
        "{text}"
    );
    let listed = run(&program, &["keys", "list", "bob", "--output", "json"]);
    assert_eq!(objects(&listed).len(), 2);
    assert!(!out(&listed).contains("long-enough"), "{}", out(&listed));

    let revoked = object(
        &program,
        &["keys", "revoke", "k 1/ü-long-enough", "--confirm", "2s"],
    );
    assert_eq!(revoked["revoked"], true);
    assert_eq!(revoked["confirmed"], true);
    assert!(revoked["position"].is_string(), "{revoked}");
    let again = run(&program, &["keys", "revoke", "k 1/ü-long-enough"]);
    assert_eq!(again.status.code(), Some(1), "{}", out(&again));
    let by_id = objects(&run(&program, &["keys", "list", "--output", "json"]));
    let id = by_id[0]["id"].as_str().expect("an id");
    let revoked = run(&program, &["keys", "revoke", id]);
    assert_eq!(out(&revoked), format!("revoked {id}\n"));
    assert_eq!(out(&run(&program, &["keys", "list"])), "");
}

#[test]
fn lists_go_through_all_pages() {
    let folder = folder();
    let program = node(&folder);
    assert!(post(program.admin, "/consumers", "username=bob").starts_with("HTTP/1.1 201"));
    for n in 0..1_001 {
        let form = format!("key=key-{n}");
        let answer = post(program.admin, "/consumers/bob/key-auth", &form);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    let listed = run(&program, &["keys", "list", "--output", "json"]);
    assert_eq!(objects(&listed).len(), 1_001);
    let listed = run(&program, &["keys", "list", "bob"]);
    let text = out(&listed);
    assert_eq!(text.lines().count(), 1_002);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("ID")).count(),
        1
    );
}

#[test]
fn what_is_cached_is_shown_and_forgotten() {
    let folder = folder();
    let program = node(&folder);
    object(
        &program,
        &["keys", "create", "bob", "--new", "--key", "abcd"],
    );
    let key = "keyauth_credentials:abcd";
    let missing = run(&program, &["cache", "get", key]);
    assert_eq!(missing.status.code(), Some(1), "{}", out(&missing));
    assert!(get(program.proxy, "/", "apikey: abcd\r\n").starts_with("HTTP/1.1 200"));
    assert_eq!(object(&program, &["cache", "get", key])["key"], "abcd");
    assert!(get(program.proxy, "/", "apikey: nope\r\n").starts_with("HTTP/1.1 401"));
    let absent = run(&program, &["cache", "get", "keyauth_credentials:nope"]);
    assert_eq!(out(&absent), "an absence is cached\n");

    let evicted = run(&program, &["cache", "evict", key]);
    assert_eq!(out(&evicted), "evicted on a\n");
    assert_eq!(run(&program, &["cache", "get", key]).status.code(), Some(1));
    let evicted = object(&program, &["cache", "evict", key, "--confirm", "2s"]);
    assert_eq!(
        (&evicted["confirmed"], &evicted["cluster"]),
        (&true.into(), &true.into())
    );
    let purged = object(&program, &["cache", "purge", "--cluster"]);
    assert_eq!(purged["confirmed"], Json::Null);
    let gone = run(&program, &["cache", "get", "keyauth_credentials:nope"]);
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn a_node_says_how_it_is() {
    let folder = folder();
    let program = node(&folder);
    let status = object(&program, &["status"]);
    assert_eq!(status["node_id"], "a");
    let cluster = object(&program, &["cluster"]);
    assert_eq!(cluster["state"], "alone");
    let text = out(&run(&program, &["status"]));
    assert!(
        text.starts_with("node      a\n") && text.contains("database  connected (sqlite)"),
        "{text}"
    );
    let text = out(&run(&program, &["cluster"]));
    assert!(text.contains("state     alone\n"), "{text}");
}

#[test]
fn a_view_is_refreshed_until_its_reader_has_gone() {
    use std::io::{BufRead as _, BufReader};

    let folder = folder();
    let program = node(&folder);
    let admin = format!("http://{}", program.admin);
    let flags = ["status", "--watch", "--output", "json", "--admin", &admin];
    let mut command = command(Path::new("/"), &flags);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    for _ in 0..2 {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line comes");
        let status: Json = serde_json::from_str(&line).expect("an object");
        assert_eq!(status["node_id"], "a");
    }
    drop(lines);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_exit_status_says_who_is_to_blame() {
    let folder = folder();
    let program = Program::start(folder.path(), &["--admin-token", "s3cret"]);
    let refused = run(&program, &["status"]);
    assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
    assert!(
        err(&refused).contains("TIDINGS_ADMIN_TOKEN_FILE"),
        "{}",
        err(&refused)
    );
    let wrong = run(&program, &["status", "--admin-token", "guess"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!err(&wrong).contains("guess"), "{}", err(&wrong));
    for (flags, variable) in [
        (&["status", "--admin-token", "s3cret"][..], None),
        (&["--admin-token", "s3cret", "status"], None),
        (&["status"], Some(("TIDINGS_ADMIN_TOKEN", "s3cret"))),
    ] {
        let admin = format!("http://{}", program.admin);
        let mut command = command(folder.path(), flags);
        command.envs(variable).env("TIDINGS_ADMIN", &admin);
        let output = command.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {}", err(&output));
    }
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret\n").expect("a file");
    let admin = format!("http://{}", program.admin);
    let mut by_file = command(folder.path(), &["cluster", "--admin", &admin]);
    let by_file = by_file
        .env("TIDINGS_ADMIN_TOKEN_FILE", &path)
        .output()
        .expect("it runs");
    assert_eq!(by_file.status.code(), Some(0), "{}", err(&by_file));

    let proxy = format!("http://{}", program.proxy);
    let side = command(Path::new("/"), &["status", "--admin", &proxy])
        .output()
        .expect("it runs");
    assert_eq!(side.status.code(), Some(2));
    assert!(err(&side).contains("proxy side"), "{}", err(&side));

    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nowhere = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let away = command(Path::new("/"), &["cluster", "--admin", &nowhere])
        .output()
        .expect("it runs");
    assert_eq!(away.status.code(), Some(3));
    assert_eq!(err(&away).lines().count(), 1, "{}", err(&away));
    assert!(err(&away).contains(&nowhere), "{}", err(&away));
}

#[test]
fn what_is_wrong_with_a_call_is_said_with_what_would_be_right() {
    let folder = folder();
    for (flags, hint) in [
        (&["stauts"][..], "'status'"),
        (&["keys", "crate", "bob"], "'create'"),
        (&["keys", "create"], "<CONSUMER>"),
        (
            &["cache", "evict", "k", "--confirm", "soon"],
            "500ms, 2s or 1m",
        ),
        (&["status", "--output", "yaml"], "json"),
        (&["status", "--admin", "localhost:8001"], "http://HOST:PORT"),
        (
            &["--workers", "2", "status"],
            "--workers is an option of serve",
        ),
        (&["status", "--workers", "2"], "--workers"),
        (&["--admin", "http://127.0.0.1:1"], "--admin"),
    ] {
        let output = command(folder.path(), flags).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(err(&output).contains(hint), "{flags:?}: {}", err(&output));
        assert!(output.stdout.is_empty(), "{flags:?}");
    }
}

#[test]
fn help_lists_the_commands_and_each_has_its_own() {
    let folder = folder();
    let help = |flags: &[&str]| {
        let output = command(folder.path(), flags).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{flags:?}: {}", err(&output));
        out(&output)
    };
    let all = help(&["--help"]);
    for name in [
        "serve",
        "status",
        "cluster",
        "keys",
        "cache",
        "capture",
        "completions",
    ] {
        assert!(all.contains(&format!("\n  {name} ")), "{name}: {all}");
        let own = help(&[name, "--help"]);
        assert!(own.contains(&format!("Usage: tidings {name}")), "{own}");
    }
    assert!(!help(&["status", "--help"]).contains("--workers"));
    assert!(help(&["keys", "revoke", "--help"]).contains("--admin <URL>"));
}

#[test]
fn completions_know_the_commands() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish"] {
        let output = command(folder.path(), &["completions", shell])
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        let script = out(&output);
        assert!(
            script.contains("revoke") && script.contains("proxy-listen"),
            "{shell}"
        );
    }
    let other = command(folder.path(), &["completions", "tcsh"])
        .output()
        .expect("it runs");
    assert_eq!(other.status.code(), Some(2));
}

#[test]
fn what_is_cached_is_listed_and_explained() {
    let folder = folder();
    let program = node(&folder);
    object(
        &program,
        &["keys", "create", "bob", "--new", "--key", "abcd"],
    );
    assert_eq!(
        out(&run(&program, &["cache", "list", "keyauth_credentials"])),
        ""
    );
    let key = "keyauth_credentials:abcd";
    let unknown = run(&program, &["cache", "explain", "consumers:nothing"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", out(&unknown));

    assert!(get(program.proxy, "/", "apikey: abcd\r\n").starts_with("HTTP/1.1 200"));
    let listed = run(
        &program,
        &["cache", "list", "keyauth_credentials", "--output", "json"],
    );
    assert_eq!(listed.status.code(), Some(0), "{}", err(&listed));
    let rows = objects(&listed);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["kind"], "value");
    let text = out(&run(&program, &["cache", "list"]));
    assert!(
        text.starts_with("ENTITY ") && !text.contains("abcd"),
        "{text}"
    );

    let told = object(&program, &["cache", "explain", key]);
    assert_eq!(
        (&told["kind"], &told["loaded"]["by"]),
        (&"value".into(), &"miss".into())
    );
    assert_eq!(
        run(&program, &["cache", "evict", key]).status.code(),
        Some(0)
    );
    let text = out(&run(&program, &["cache", "explain", key]));
    assert!(
        text.contains("holds   nothing\n") && text.contains("invalidated"),
        "{text}"
    );
}
