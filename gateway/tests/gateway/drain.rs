//! The end of the program in good order.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use tempfile::TempDir;

use crate::process::Program;

/// A request whose body the program waits for.
fn in_flight(program: &Program) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(program.proxy).expect("it listens"));
    let head =
        "POST /late HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    stream
        .get_mut()
        .write_all(head.as_bytes())
        .expect("it reads");
    let mut line = String::new();
    stream.read_line(&mut line).expect("it answers");
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.read_line(&mut line).expect("it answers");
    stream
}

#[test]
fn a_request_in_flight_is_answered_and_the_status_is_zero() {
    for signal in ["TERM", "INT"] {
        let folder = TempDir::new().expect("a folder");
        let program = Program::start(
            folder.path(),
            &["--plugins", "none", "--database", "sqlite::memory:"],
        );
        let mut busy = in_flight(&program);
        let mut idle = TcpStream::connect(program.proxy).expect("it listens");
        idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .expect("it reads");
        idle.read_exact(&mut [0; 16]).expect("it answers");
        program.signal(signal);
        // The idle connection ends first: then the program is draining.
        idle.read_to_end(&mut Vec::new()).expect("it closes");
        busy.get_mut().write_all(b"abc").expect("it reads");
        let mut answer = String::new();
        busy.read_to_string(&mut answer).expect("it answers");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("/late"),
            "{answer}"
        );
        assert_eq!(program.ended().0, Some(0));
    }
}

#[test]
fn a_request_that_never_ends_is_cut_and_the_status_is_zero() {
    let folder = TempDir::new().expect("a folder");
    let flags = [
        "--plugins",
        "none",
        "--database",
        "sqlite::memory:",
        "--drain-timeout",
        "50ms",
    ];
    let program = Program::start(folder.path(), &flags);
    let mut busy = in_flight(&program);
    program.signal("TERM");
    let (status, _, err) = program.ended();
    assert_eq!(status, Some(0));
    assert!(err.contains("requests unfinished"), "{err}");
    assert_eq!(busy.read_to_string(&mut String::new()).unwrap_or(0), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = TempDir::new().expect("a folder");
    let program = Program::start(
        folder.path(),
        &["--plugins", "none", "--database", "sqlite::memory:"],
    );
    let _busy = in_flight(&program);
    let mut idle = TcpStream::connect(program.proxy).expect("it listens");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .expect("it reads");
    idle.read_exact(&mut [0; 16]).expect("it answers");
    program.signal("TERM");
    idle.read_to_end(&mut Vec::new())
        .expect("it closes: the program is draining");
    program.signal("TERM");
    assert_eq!(program.ended().0, Some(130));
}

#[test]
fn no_one_is_let_in_while_it_drains() {
    let folder = TempDir::new().expect("a folder");
    let program = Program::start(
        folder.path(),
        &["--plugins", "none", "--database", "sqlite::memory:"],
    );
    let mut busy = in_flight(&program);
    program.signal("TERM");
    // The socket closes a moment after the signal; while it is open a connection may still be made.
    let refused = loop {
        match TcpStream::connect(program.proxy) {
            // The kernel resets one that was queued at the moment in which the socket closed.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => break error,
            // One that came just before the socket closed ends; one that no worker will accept
            // would hang here.
            Ok(mut late) => drop(late.read(&mut [0])),
        }
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    busy.get_mut().write_all(b"abc").expect("it reads");
    let mut answer = String::new();
    busy.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(program.ended().0, Some(0));
}
