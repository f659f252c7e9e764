//! What the program refuses to start with, as an operator sees it, and the extremes that it starts
//! with.

use std::{fs, net::TcpListener};

use tempfile::TempDir;
use tidings_gateway::{Environment, Gateway, Settings};

use crate::process::command;

/// Runs the program with variables; its status and what it wrote to standard error.
fn refused(flags: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = TempDir::new().expect("a folder");
    // What is not refused ends at a port that is taken, and does not become a server.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("an address").to_string();
    let ports = ["--proxy-listen", "127.0.0.1:0", "--admin-listen", &taken];
    let output = command(folder.path(), &[&ports, flags].concat())
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_slip_in_the_file_of_settings_does_not_print_its_lines() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("tidings.toml");
    fs::write(&path, "workers = 2\nadmin-token = \"s3cret\" \"\n").expect("a file");
    let (status, said) = refused(&["--config", path.to_str().expect("a plain path")], &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    assert!(said.contains("line 2, column"), "{said}");
}

#[test]
fn an_empty_token_is_refused_and_not_taken_for_none() {
    let (status, said) = refused(&[], &[("TIDINGS_ADMIN_TOKEN", "")]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("TIDINGS_ADMIN_TOKEN"), "{said}");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_name() {
    let (status, said) = refused(&[], &[("TIDINGS_WORKRS", "2")]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("TIDINGS_WORKRS") && said.contains("did you mean TIDINGS_WORKERS?"),
        "{said}"
    );
}

#[test]
fn variables_that_an_orchestrator_sets_for_a_service_of_our_name_are_let_be() {
    let variables = [
        ("TIDINGS_SERVICE_HOST", "10.0.0.1"),
        ("TIDINGS_SERVICE_PORT_PROXY", "8000"),
        ("TIDINGS_PORT", "tcp://10.0.0.1:8000"),
        ("TIDINGS_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("TIDINGS_ADMIN_PORT_8001_TCP", "tcp://10.0.0.1:8001"),
    ];
    let env: Environment = variables.into_iter().collect();
    Settings::resolve(["tidings"], &env).expect("nothing of ours is misspelt");
}

#[test]
fn a_secret_comes_from_a_file_and_only_from_one_place() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, "s3cret\n").expect("a file");
    let path = path.to_str().expect("a plain path");
    let resolve = |variables: &[(&str, &str)]| {
        let env: Environment = variables.iter().copied().collect();
        Settings::resolve(["tidings"], &env)
    };

    let settings = resolve(&[("TIDINGS_ADMIN_TOKEN_FILE", path)]).expect("allowed settings");
    let token = settings.admin_token.expect("the token is set");
    assert_eq!(token.expose(), "s3cret");

    let both = [
        ("TIDINGS_ADMIN_TOKEN_FILE", path),
        ("TIDINGS_ADMIN_TOKEN", "x"),
    ];
    let said = resolve(&both).expect_err("one too many").to_string();
    assert!(said.contains("remove one of them"), "{said}");

    let missing = [("TIDINGS_DATABASE_FILE", "/nowhere/url")];
    let said = resolve(&missing).expect_err("no such file").to_string();
    assert!(
        said.contains("TIDINGS_DATABASE_FILE") && said.contains("/nowhere/url"),
        "{said}"
    );
}

#[test]
fn a_limit_of_a_part_is_a_limit_of_its_option() {
    for (flag, value) in [
        ("--workers", "129"),
        ("--ttl", "876001h"),
        ("--neg-ttl", "876001h"),
        ("--cache-size", "67108864g"),
        ("--cache-size", "63k"),
    ] {
        let (status, said) = refused(&[flag, value], &[]);
        assert_eq!(status, Some(2), "{flag} {value}: {said}");
        assert!(
            said.contains(flag) && said.contains(value) && said.contains("expected"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_with_the_extremes_of_every_setting() {
    let extremes: [&[&str]; 4] = [
        &["--workers=1", "--cache-size=64k", "--header-size=8k"],
        &["--workers=128", "--header-size=1m"],
        &["--cache-size=67108863g", "--workers=2"],
        &[
            "--ttl=876000h",
            "--neg-ttl=876000h",
            "--max-staleness=30d",
            "--stale-policy=refuse",
            "--audit-reads=1000",
            "--cluster-retention=30d",
            "--header-timeout=24h",
            "--idle-timeout=24h",
            "--body-timeout=24h",
            "--connect-timeout=24h",
            "--upstream-timeout=24h",
            "--workers=2",
        ],
    ];
    for flags in extremes {
        let all = [
            &[
                "tidings",
                "--proxy-listen=127.0.0.1:0",
                "--admin-listen=127.0.0.1:0",
                "--database=sqlite::memory:",
            ],
            flags,
        ]
        .concat();
        let settings = Settings::resolve(all, &Environment::empty()).expect("allowed settings");
        let started = Gateway::start(settings).await;
        let gateway = started.unwrap_or_else(|error| panic!("{flags:?}: {error:?}"));
        gateway.shutdown().await;
    }
}
