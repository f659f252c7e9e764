//! The program as a process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    child: Option<Child>,
    out: BufReader<ChildStdout>,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
}

const PORTS: [&str; 4] = [
    "--proxy-listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
];

/// The command without any setting of the person who runs the tests. A run of minutes names a copy
/// of the program, which no build replaces in between.
pub(crate) fn command(folder: &Path, flags: &[&str]) -> Command {
    let program = std::env::var_os("TIDINGS_TESTED_PROGRAM");
    let mut command = Command::new(program.unwrap_or(env!("CARGO_BIN_EXE_tidings").into()));
    command.current_dir(folder).env_clear().args(flags);
    command
}

/// Runs it to its end.
pub(crate) fn output(folder: &Path, flags: &[&str]) -> Output {
    command(folder, flags).output().expect("the program runs")
}

impl Program {
    /// Starts it on free ports with two workers, and reads its banner.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        Self::start_with(folder, flags, |_| ())
    }

    /// The same, with a command that is changed further.
    pub(crate) fn start_with(
        folder: &Path,
        flags: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = command(folder, &[&PORTS[..], &["--workers", "2"], flags].concat());
        change(&mut command);
        Self::of(command)
    }

    /// The same, without a setting for workers.
    pub(crate) fn start_alone(folder: &Path, flags: &[&str]) -> Self {
        Self::of(command(folder, &[&PORTS[..], flags].concat()))
    }

    /// The same, of any command that ends in the program.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output is piped"));
        let proxy = listening(&mut out, "proxy");
        let admin = listening(&mut out, "admin");
        Self {
            child: Some(child),
            out,
            proxy,
            admin,
        }
    }

    /// Reads one more line of its banner.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line comes");
        line.trim_end().to_owned()
    }

    /// Stops listening to what it writes to standard error.
    pub(crate) fn deafen(&mut self) {
        self.child().stderr = None;
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it is ours")
    }

    /// Gives the process away, whose output stays unread.
    pub(crate) fn into_child(mut self) -> Child {
        self.child.take().expect("it is ours")
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it is ours").id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Returns whether it is stopped now.
    pub(crate) fn is_stopped(&self) -> bool {
        let id = self.child.as_ref().expect("it is ours").id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it is there");
        // Its name, in brackets, comes before.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| state.starts_with('T'))
    }

    /// Waits for its end: its status, and what it wrote to standard output and error since the
    /// banner.
    pub(crate) fn ended(mut self) -> (Option<i32>, String, String) {
        let status = self.child().wait().expect("it ends");
        let (mut out, mut err) = (String::new(), String::new());
        self.out
            .read_to_string(&mut out)
            .expect("its output is text");
        if let Some(mut stderr) = self.child().stderr.take() {
            stderr
                .read_to_string(&mut err)
                .expect("its errors are text");
        }
        (status.code(), out, err)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn listening(out: &mut BufReader<ChildStdout>, side: &str) -> SocketAddr {
    let mut line = String::new();
    out.read_line(&mut line).expect("a line comes");
    let address = line
        .trim_end()
        .strip_prefix(&format!("{side} listening on "));
    address
        .unwrap_or_else(|| panic!("no banner: {line:?}"))
        .parse()
        .expect("an address")
}

/// One request on a connection of its own: the whole answer.
pub(crate) fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A GET that closes its connection.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"),
    )
}

/// A POST of a form that closes its connection.
pub(crate) fn post(address: SocketAddr, path: &str, form: &str) -> String {
    ask(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        ),
    )
}
