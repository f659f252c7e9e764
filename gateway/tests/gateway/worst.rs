//! Everything that can hang does: a log that no one reads, a database that another program has
//! locked, and no descriptor left. Requests are still served, and the program ends on a signal.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::process::{Program, command, get};

/// Longer than any answer takes; a test that reaches it hangs.
const NEVER: Duration = Duration::from_secs(20);

/// One request on a connection of its own, by a client that does not wait indefinitely.
fn asked(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(NEVER)).expect("a limit");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The status of a process that ends within this time.
fn status_within(mut child: Child, limit: Duration) -> Option<i32> {
    let (sender, ended) = channel();
    let id = child.id().to_string();
    thread::spawn(move || sender.send(child.wait()));
    match ended.recv_timeout(limit) {
        Ok(status) => status.expect("it is our child").code(),
        Err(_) => {
            let _ = std::process::Command::new("kill")
                .args(["-9", &id])
                .status();
            panic!("it goes on after {limit:?}");
        }
    }
}

fn flood(program: &Program, requests: usize) {
    // Each writes some lines of 100 bytes and more: a pipe holds 64 KiB.
    for n in 0..requests {
        let path = format!("/{}", "x".repeat(200));
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = asked(program.proxy, &request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{n}: {answer:?}");
    }
}

#[test]
fn a_log_that_no_one_reads_stops_neither_requests_nor_the_end() {
    let folder = TempDir::new().expect("a folder");
    let flags = [
        "--plugins",
        "none",
        "--database",
        "sqlite::memory:",
        "--access-log",
        "text",
        "--log",
        "trace",
    ];
    let program = Program::start(folder.path(), &flags);
    flood(&program, 2_000);
    let metrics = get(program.admin, "/metrics", "");
    let lost = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tidings_log_lines_lost_total "))
        .expect("the count");
    assert_ne!(lost, "0", "what is lost is counted");
    program.signal("TERM");
    assert_eq!(status_within(program.into_child(), NEVER), Some(0));
}

/// A program in the worst of states, and what keeps it there.
async fn worst(folder: &TempDir) -> (Program, SqliteConnection, Vec<TcpStream>) {
    let limited = |flags: &[&str]| {
        let mut shell = std::process::Command::new("sh");
        shell
            .current_dir(folder.path())
            .env_clear()
            .args(["-c", "ulimit -n 64; exec \"$@\"", "sh"])
            .arg(command(folder.path(), &[]).get_program())
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        shell
    };
    let program = Program::of(limited(&[
        "--proxy-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--workers",
        "2",
        "--plugins",
        "none",
        "--log",
        "trace",
        "--access-log",
        "text",
    ]));
    flood(&program, 600);

    let options = SqliteConnectOptions::new().filename(folder.path().join("tidings.db"));
    let mut database = SqliteConnection::connect_with(&options)
        .await
        .expect("the file is there");
    database
        .execute("BEGIN IMMEDIATE")
        .await
        .expect("it is not locked");

    let form = "username=bob";
    let write = format!(
        "POST /consumers HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(program.admin).expect("it listens");
        stream.write_all(write.as_bytes()).expect("it reads");
        held.push(stream);
    }
    for _ in 0..200 {
        let mut stream = TcpStream::connect(program.proxy).expect("the kernel queues it");
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
            .expect("the kernel takes it");
        held.push(stream);
    }
    // The admin side has descriptors of its own.
    let answer = asked(
        program.admin,
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    (program, database, held)
}

#[tokio::test]
async fn with_everything_hanging_one_signal_ends_it_in_time() {
    let folder = TempDir::new().expect("a folder");
    let (program, _database, _held) = worst(&folder).await;
    program.signal("TERM");
    // Ten seconds, and what a busy machine takes to notice.
    assert_eq!(
        status_within(program.into_child(), Duration::from_secs(13)),
        Some(0)
    );
}

#[tokio::test]
async fn with_everything_hanging_a_second_signal_ends_it_at_once() {
    let folder = TempDir::new().expect("a folder");
    let (program, _database, _held) = worst(&folder).await;
    program.signal("TERM");
    // The proxy side stops accepting when it has noticed the first.
    while TcpStream::connect(program.proxy).is_ok() {}
    program.signal("INT");
    assert_eq!(
        status_within(program.into_child(), Duration::from_secs(5)),
        Some(130)
    );
}
