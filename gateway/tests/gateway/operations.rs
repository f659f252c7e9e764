//! The program in an operator's hands: what it says, reloads and survives.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixDatagram,
};

use tempfile::TempDir;

use crate::process::{Program, ask, get, output, post};

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn status_code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn the_log_of_a_day_tells_its_story_and_the_service_manager_is_told_too() {
    let folder = folder();
    let config = folder.path().join("tidings.toml");
    fs::write(&config, "log = \"info\"\n").expect("a file");
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    let told = || {
        let mut text = [0; 128];
        let read = manager.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..read]).into_owned()
    };

    let path = config.to_str().expect("a plain path");
    let program = Program::start_with(folder.path(), &["--config", path], |command| {
        command.env("NOTIFY_SOCKET", &socket);
    });
    assert_eq!(told(), "READY=1\n");
    fs::write(&config, "allow-groups = \"staff\"\nttl = \"5s\"\n").expect("a file");
    for _ in 0..2 {
        program.signal("HUP");
        assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(told(), "READY=1\n");
    }
    fs::write(&config, "worker = 3\n").expect("a file");
    program.signal("HUP");
    assert!(told().starts_with("RELOADING=1\n"));
    assert_eq!(told(), "READY=1\n");
    program.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");

    let (status, _, log) = program.ended();
    assert_eq!(status, Some(0), "{log}");
    let mut rest = log.as_str();
    for part in [
        "starting version=",
        "database=\"sqlite://tidings.db\"",
        "ready node=",
        "proxy=127.0.0.1:",
        "these apply at the next start",
        "ttl",
        "settings read again",
        "groups=\"staff\"",
        "the settings were not read again",
        "did you mean workers?",
        "stopping",
        "stopped",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?} in {rest}"));
        rest = &rest[at..];
    }
    let waiting = log.matches("these apply at the next start").count();
    assert_eq!(waiting, 2, "said as long as it is so: {log}");
}

#[test]
fn a_reload_applies_to_requests_and_a_broken_file_changes_nothing() {
    let folder = folder();
    let config = folder.path().join("tidings.toml");
    fs::write(&config, "").expect("a file");
    let path = config.to_str().expect("a plain path");
    let program = Program::start(
        folder.path(),
        &["--config", path, "--database", "sqlite::memory:"],
    );
    assert!(post(program.admin, "/consumers", "username=bob").starts_with("HTTP/1.1 201"));
    assert!(post(program.admin, "/consumers/bob/key-auth", "key=abcd").starts_with("HTTP/1.1 201"));
    let asked = |name: &str| {
        let answer = get(program.proxy, "/", &format!("{name}: abcd\r\n"));
        status_code(&answer).to_owned()
    };
    assert_eq!(asked("apikey"), "200");

    fs::write(&config, "key-names = \"token\"\n").expect("a file");
    program.signal("HUP");
    // Applied when the new name counts; until then it is refused.
    while asked("token") != "200" {}
    assert_eq!(asked("apikey"), "401");

    fs::write(&config, "key-names = \"apikey\"\nno-such-key = 1\n").expect("a file");
    program.signal("HUP");
    fs::write(&config, "key-names = \"third\"\n").expect("a file");
    program.signal("HUP");
    while asked("third") != "200" {}
    program.signal("TERM");
    assert_eq!(program.ended().0, Some(0));
}

#[test]
fn the_status_side_answers_without_a_token_and_to_the_end() {
    let folder = folder();
    let flags = [
        "--status-listen",
        "127.0.0.1:0",
        "--admin-token",
        "s3cret",
        "--database",
        "sqlite::memory:",
        "--plugins",
        "none",
    ];
    let mut program = Program::start(folder.path(), &flags);
    let status: SocketAddr = program
        .line()
        .strip_prefix("status listening on ")
        .expect("a line of the banner")
        .parse()
        .expect("an address");
    assert_eq!(status_code(&get(status, "/livez", "")), "200");
    assert_eq!(status_code(&get(status, "/readyz", "")), "200");
    assert_eq!(status_code(&get(status, "/consumers", "")), "404");
    assert_eq!(status_code(&get(program.admin, "/consumers", "")), "401");

    get(program.proxy, "/", "");
    let metrics = get(status, "/metrics", "");
    for line in [
        "tidings_http_requests_total{status=\"2xx\"} 1",
        "tidings_http_refusals_total{cause=\"no_key\"} 0",
        "tidings_http_request_seconds_count 1",
        "tidings_http_connections_total 1",
        "tidings_http_request_body_bytes_total 0",
        "tidings_log_lines_lost_total 0",
        "# TYPE tidings_upstream_seconds histogram",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(line), "no {line:?} in {metrics}");
    }

    let posted = post(program.proxy, "/", "a=1");
    let body = posted.split("\r\n\r\n").nth(1).expect("a body").len();
    let answered = status_code(&posted).to_owned();
    assert_eq!(answered, "200");
    let metrics = get(status, "/metrics", "");
    assert!(
        metrics.contains("tidings_http_request_body_bytes_total 3"),
        "{metrics}"
    );
    let out = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tidings_http_response_body_bytes_total "));
    let out: usize = out.expect("a count").parse().expect("a number");
    assert!(out > body, "both answers: {out}");

    // A request that runs keeps it draining.
    let mut busy = TcpStream::connect(program.proxy).expect("it listens");
    busy.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
        .expect("it reads");
    program.signal("TERM");
    while status_code(&get(status, "/readyz", "")) != "503" {}
    let answer = get(status, "/readyz", "");
    assert!(answer.contains("draining"), "{answer}");
    assert_eq!(status_code(&get(status, "/livez", "")), "200");
    busy.write_all(b"abc").expect("it reads");
    let mut text = String::new();
    busy.read_to_string(&mut text).expect("it answers");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert_eq!(program.ended().0, Some(0));
}

#[test]
fn each_request_is_one_line_of_the_access_log_and_never_shows_a_key() {
    for (form, parts) in [
        (
            "text",
            [
                "127.0.0.1 \"GET /a%22b HTTP/1.1\" 401 ",
                "error=unknown_key trace=4bf92f3577b34da6a3ce929d0e0e4736",
            ],
        ),
        (
            "json",
            [
                "\"url.path\":\"/a%22b\"",
                "\"http.response.status_code\":401",
            ],
        ),
    ] {
        let folder = folder();
        let flags = [
            "--access-log",
            form,
            "--log",
            "off",
            "--database",
            "sqlite::memory:",
        ];
        let program = Program::start(folder.path(), &flags);
        let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
        get(program.proxy, "/a%22b?apikey=s3cret", trace);
        program.signal("TERM");
        let (_, _, log) = program.ended();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(parts.iter().all(|part| log.contains(part)), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
        if form == "json" {
            let line: serde_json::Value = serde_json::from_str(&log).expect("JSON");
            assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(line["error.type"], "unknown_key");
        }
    }
}

#[test]
fn connections_beyond_the_limit_wait_and_the_admin_side_answers() {
    let folder = folder();
    let flags = [
        "--max-connections",
        "2",
        "--plugins",
        "none",
        "--database",
        "sqlite::memory:",
    ];
    let program = Program::start(folder.path(), &flags);
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\n";
    let mut all: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(program.proxy).expect("the kernel queues it");
            stream.write_all(request).expect("the kernel takes it");
            stream
        })
        .collect();
    assert_eq!(status_code(&get(program.admin, "/status", "")), "200");
    let open = || {
        let metrics = get(program.admin, "/metrics", "");
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("tidings_http_connections "));
        line.expect("the gauge").to_owned()
    };
    while open() != "2" {}

    // One after the other ends, and the one that waits gets its turn.
    for stream in &mut all {
        stream.write_all(b"x").expect("it reads");
    }
    for stream in &mut all {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    program.signal("TERM");
    assert_eq!(program.ended().0, Some(0));
}

#[test]
fn an_idle_connection_makes_room_for_one_that_has_something_to_say() {
    let folder = folder();
    let flags = [
        "--max-connections",
        "1",
        "--workers",
        "1",
        "--plugins",
        "none",
        "--database",
        "sqlite::memory:",
    ];
    let program = Program::start_alone(folder.path(), &flags);
    let mut idle = TcpStream::connect(program.proxy).expect("it listens");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("it reads");
    idle.read_exact(&mut [0; 16]).expect("it answers");
    assert_eq!(status_code(&get(program.proxy, "/", "")), "200");
    idle.read_to_end(&mut Vec::new())
        .expect("it was closed in order");
}

#[test]
fn a_span_of_each_request_has_the_names_of_the_http_conventions() {
    let folder = folder();
    let flags = [
        "--log",
        "off,tidings_gateway=debug",
        "--log-format",
        "json",
        "--upstream",
        "http://127.0.0.1:1",
        "--plugins",
        "none",
        "--database",
        "sqlite::memory:",
    ];
    let program = Program::start(folder.path(), &flags);
    get(program.proxy, "/a?apikey=s3cret", "");
    program.signal("TERM");
    let (_, _, log) = program.ended();
    assert!(!log.contains("s3cret"), "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("no answer from the upstream"));
    let line: serde_json::Value = serde_json::from_str(line.expect("the warning")).expect("JSON");
    let span = &line["span"];
    assert_eq!(span["name"], "request");
    assert_eq!(span["http.request.method"], "GET");
    assert_eq!(span["url.path"], "/a");
    assert_eq!(span["url.scheme"], "http");
    assert_eq!(span["network.protocol.version"], "1.1");
    assert_eq!(span["client.address"], "127.0.0.1");
}

#[test]
fn each_admin_write_is_in_the_log_however_many_there_are() {
    let folder = folder();
    let program = Program::start(folder.path(), &[]);
    for number in 0..30 {
        let form = format!("username=u{number}");
        assert_eq!(
            status_code(&post(program.admin, "/consumers", &form)),
            "201"
        );
        assert_eq!(
            status_code(&post(program.admin, "/consumers", &form)),
            "409"
        );
    }
    program.signal("TERM");
    let (status, _, log) = program.ended();
    assert_eq!(status, Some(0));

    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("an admin write request="), 30, "{log}");
    assert_eq!(lines("an admin write was refused"), 20, "{log}"); // anyone can have these
}

#[test]
fn a_log_at_debug_has_a_line_for_each_request_and_never_a_key() {
    let folder = folder();
    let program = Program::start(folder.path(), &["--log", "debug"]);
    let refused = get(program.proxy, "/orders?apikey=s3cret", "");
    assert_eq!(status_code(&refused), "401");
    assert_eq!(
        status_code(&get(program.admin, "/key-auths/s3cret", "")),
        "404"
    );
    program.signal("TERM");
    let (status, _, log) = program.ended();
    assert_eq!(status, Some(0));

    let line = |words: &[&str]| {
        let mut lines = log.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(line(&["answered", "/orders", "401"]), "{log}");
    assert!(
        line(&["an admin request was answered", "key-auths", "404"]),
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_database_that_does_not_answer_is_named_while_it_is_waited_for() {
    let folder = folder();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let url = format!("postgres://u:s3cret@{address}/db");
    let ports = [
        "--proxy-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let output = output(folder.path(), &[&ports[..], &["--database", &url]].concat());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    let waits = log.lines().next().unwrap_or_default();
    assert!(
        waits.contains("does not answer yet") && waits.contains("/db"),
        "{log}"
    );
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_name_that_no_row_can_have_is_a_mistake_and_not_missing() {
    let folder = folder();
    let program = Program::start(folder.path(), &[]);
    for path in ["/consumers/x%20", "/key-auths/%20k"] {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let answer = ask(program.admin, &request);
        assert_eq!(status_code(&answer), "400", "{path}: {answer}");
        assert!(
            answer.contains("schema violation") && answer.contains("fields"),
            "{answer}"
        );
    }
    assert_eq!(
        status_code(&get(program.admin, "/consumers/x%20", "")),
        "404"
    );
}
