//! Starting the program, and not starting it.

use std::{fs, net::TcpListener};

use tempfile::TempDir;
use tidings::Timestamp;
use tidings_gateway::{Consumer, Gateway, Settings};
use uuid::Uuid;

use tidings_testkit::Server;

use crate::process::{Program, get, output, post};

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

#[test]
fn the_first_start_from_an_empty_folder_serves_and_says_what_to_try() {
    let folder = folder();
    let program = Program::start(folder.path(), &[]);
    let (proxy, admin) = (program.proxy, program.admin);
    assert!(get(proxy, "/", "").contains("No API key found in request"));
    assert!(post(admin, "/consumers", "username=bob").starts_with("HTTP/1.1 201"));
    assert!(post(admin, "/consumers/bob/key-auth", "key=abcd").starts_with("HTTP/1.1 201"));
    assert!(get(proxy, "/?apikey=abcd", "").starts_with("HTTP/1.1 200"));
    program.signal("TERM");
    let (status, out, _) = program.ended();
    assert_eq!(status, Some(0));
    assert!(
        out.contains(&format!("curl http://{admin}/consumers -d username=bob")),
        "{out}"
    );

    let again = Program::start(folder.path(), &[]);
    assert!(
        get(again.proxy, "/", "apikey: abcd\r\n").starts_with("HTTP/1.1 200"),
        "rows are kept"
    );
    again.signal("INT");
    let (status, out, _) = again.ended();
    assert_eq!(
        (status, out.as_str()),
        (Some(0), ""),
        "only the first start has advice"
    );
}

#[test]
fn the_advice_of_the_first_start_is_for_the_plugins_that_run() {
    let said = |flags: &[&str]| {
        let folder = folder();
        let program = Program::start(folder.path(), flags);
        program.signal("TERM");
        program.ended().1
    };
    let out = said(&["--plugins", "none"]);
    assert!(!out.contains("No one has a key"), "{out}");
    let out = said(&["--allow-groups", "staff"]);
    let member = "/consumers/bob/acls --data-urlencode 'group=staff'";
    assert!(out.contains(member), "{out}");
}

#[test]
fn no_key_is_in_the_log_also_when_it_cannot_be_looked_up() {
    let folder = folder();
    let program = Program::start(folder.path(), &["--log", "trace"]);
    let (proxy, admin) = (program.proxy, program.admin);
    assert!(post(admin, "/consumers", "username=bob").starts_with("HTTP/1.1 201"));
    let created = post(admin, "/consumers/bob/key-auth", "key=top-secret-1");
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    assert!(get(proxy, "/", "apikey: top-secret-1\r\n").starts_with("HTTP/1.1 200"));
    assert!(get(proxy, "/?apikey=top-secret-2", "").starts_with("HTTP/1.1 401"));

    let database = folder.path().join("tidings.db");
    fs::rename(&database, folder.path().join("gone.db")).expect("it is there");
    let answer = get(proxy, "/", "apikey: top-secret-3\r\n");
    assert!(answer.starts_with("HTTP/1.1 5"), "{answer}");

    program.signal("TERM");
    let (_, _, log) = program.ended();
    assert!(log.contains("keyauth_credentials:***"), "{log}");
    assert!(!log.contains("top-secret"), "{log}");
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for side in ["--proxy-listen", "--admin-listen"] {
        let other = if side == "--proxy-listen" {
            "--admin-listen"
        } else {
            "--proxy-listen"
        };
        let output = output(folder.path(), &[side, &address, other, "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address) && said.contains(side), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    assert!(
        !folder.path().join("tidings.db").exists(),
        "ports come before the database"
    );
}

#[test]
fn a_second_program_on_the_same_port_is_refused() {
    let folder = folder();
    let first = Program::start(folder.path(), &[]);
    let address = first.proxy.to_string();
    let second = [
        "--proxy-listen",
        &address,
        "--admin-listen",
        "127.0.0.1:0",
        "--database",
        "sqlite::memory:",
    ];
    assert_eq!(output(folder.path(), &second).status.code(), Some(1));
    assert!(
        get(first.proxy, "/", "").starts_with("HTTP/1.1 401"),
        "the first goes on"
    );
}

#[test]
fn a_second_program_on_the_same_database_is_refused() {
    let folder = folder();
    let first = Program::start(folder.path(), &[]);
    let output = output(
        folder.path(),
        &[
            "--proxy-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("tidings.db"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(
        get(first.proxy, "/", "").starts_with("HTTP/1.1 401"),
        "the first goes on"
    );
}

/// The program on PostgreSQL: a key that was made is let pass, and a second program is kept out.
#[test]
fn the_program_runs_on_postgresql_and_alone() {
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let database = runtime.block_on(async { Server::shared().database().await });
    let url = database.url();
    let alone = ["--database", &url, "--cluster", "none"];
    let first = Program::start(folder.path(), &alone);
    assert!(get(first.proxy, "/", "").starts_with("HTTP/1.1 401"));
    assert_eq!(
        database
            .psql("SELECT count(*) FROM consumers WHERE username IS NULL;")
            .trim(),
        "0"
    );

    let flags = [
        "--proxy-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let flags = [&flags[..], &alone].concat();
    let output = output(folder.path(), &flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("is in use by another node") && said.contains(database.name()),
        "{said}"
    );
}

#[test]
fn a_file_that_is_no_database_is_an_error_that_names_it() {
    let folder = folder();
    fs::write(
        folder.path().join("tidings.db"),
        "not a database, and longer than a header of one",
    )
    .expect("a file");
    for url in ["sqlite://tidings.db", "sqlite://no/such/folder/t.db"] {
        let flags = [
            "--database",
            url,
            "--proxy-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ];
        let output = output(folder.path(), &flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(url.trim_start_matches("sqlite://")), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

#[test]
fn wrong_settings_end_with_status_two() {
    let folder = folder();
    for flags in [
        &["--workers", "0"][..],
        &["--no-such-flag"],
        &["explode"],
        &["--workers", "1", "--workers", "2"],
    ] {
        let output = output(folder.path(), flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{flags:?}"
        );
    }
}

#[test]
fn help_explains_every_option() {
    let folder = folder();
    let help = output(folder.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8_lossy(&help.stdout);
    for option in [
        "proxy-listen",
        "admin-listen",
        "admin-token",
        "database",
        "cluster",
        "workers",
        "upstream",
        "cache-size",
        "ttl",
        "neg-ttl",
        "max-staleness",
        "stale-policy",
        "audit-reads",
        "allow-groups",
        "plugins",
        "node-id",
        "log",
        "log-format",
        "config",
        "header-timeout",
        "drain-timeout",
    ] {
        assert!(text.contains(&format!("--{option} ")), "{option}");
    }
    assert!(text.contains("TIDINGS_PROXY_LISTEN"));
    assert_eq!(output(folder.path(), &["--version"]).status.code(), Some(0));
}

#[test]
fn a_hundred_new_connections_are_spread_evenly_over_the_workers() {
    let folder = folder();
    let program = Program::start(folder.path(), &[]);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..100 {
        let answer = get(program.proxy, "/", "");
        let worker = answer
            .lines()
            .find_map(|line| line.strip_prefix("x-tidings-worker: "));
        *seen
            .entry(worker.expect("every answer names its worker").to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.values().all(|&count| count >= 25), "{seen:?}");
}

#[test]
fn a_log_without_a_reader_costs_no_request() {
    let folder = folder();
    let mut program = Program::start(
        folder.path(),
        &["--upstream", "http://127.0.0.1:1", "--plugins", "none"],
    );
    program.deafen();
    // Each of these writes a line to the log.
    for _ in 0..2 {
        let answer = get(program.proxy, "/", "");
        assert!(
            answer.contains("The upstream cannot be reached"),
            "{answer}"
        );
    }
    program.signal("TERM");
    assert_eq!(program.ended().0, Some(0));
}

#[test]
fn the_files_of_the_database_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    let program = Program::start(folder.path(), &[]);
    assert!(post(program.admin, "/consumers", "username=bob").starts_with("HTTP/1.1 201"));
    let mut names = Vec::new();
    for file in fs::read_dir(folder.path()).expect("the folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}: {mode:o}", file.file_name());
        names.push(file.file_name());
    }
    assert!(
        names.len() >= 3,
        "the file, its log and its lock: {names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_up_into_a_cache_that_is_too_small_stops_and_names_the_setting() {
    let folder = folder();
    let database = format!("sqlite://{}", folder.path().join("tidings.db").display());
    let settings = Settings {
        proxy_listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        database,
        ..Settings::default()
    };
    let gateway = Gateway::start(settings).await.expect("it starts");
    let consumers = gateway.node().dao::<Consumer>().expect("declared");
    for n in 0..600 {
        let consumer = Consumer {
            id: Uuid::nil(),
            username: Some(format!("{n}-{}", "x".repeat(400))),
            custom_id: None,
            created_at: Timestamp::from_unix(0),
            updated_at: Timestamp::from_unix(0),
            tags: None,
        };
        consumers.insert(consumer).await.expect("a new name");
    }
    gateway.shutdown().await;

    let flags = ["--cache-size", "64k", "--warm-up", "consumers"];
    let program = Program::start(folder.path(), &flags);
    program.signal("TERM");
    let (status, _, log) = program.ended();
    assert_eq!(status, Some(0));
    assert!(log.contains("--cache-size is too small"), "{log}");
}

/// `X-Consumer-Groups` lists groups with a comma between them.
#[test]
fn a_group_with_a_comma_is_refused_by_field_and_rule() {
    let folder = folder();
    let program = Program::start(folder.path(), &[]);
    post(program.admin, "/consumers", "username=bob");
    let refused = post(program.admin, "/consumers/bob/acls", "group=a,b");
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    for word in ["\"group\"", "pattern [^,]*"] {
        assert!(refused.contains(word), "{refused}");
    }
    let made = post(program.admin, "/consumers/bob/acls", "group=a b");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
}
