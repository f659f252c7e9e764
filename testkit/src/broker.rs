//! [`Broker`]: a throwaway NATS or Redis server.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::port::{free_port, started, wait_for_listener};

/// Where NATS keeps its streams, within the server's directory.
const JETSTREAM: &str = "streams";

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// NATS with JetStream, by Debian's `nats-server`.
    Nats,
    /// Redis, by Debian's `redis-server`.
    Redis,
}

/// Whether what a Redis server holds outlives a [`stop`](Broker::stop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    InMemory,
    InFile,
}

impl Durability {
    fn word(self) -> &'static str {
        match self {
            Self::InMemory => "no",
            Self::InFile => "yes",
        }
    }
}

/// A running server, which a test may stop and start again on its port.
///
/// A shell that waits for the end of a pipe stops it, however the test ends.
#[derive(Debug)]
pub struct Broker {
    protocol: Protocol,
    port: u16,
    durability: Durability,
    /// Lines of its configuration that say who may do what; `None` if anyone may do anything.
    users: Option<String>,
    directory: TempDir,
    /// Its standard input is what keeps the server running; `None` while it is stopped.
    keeper: Option<Child>,
}

impl Broker {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// It is not installed, or does not start.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tidings_testkit::{Broker, Protocol};
    ///
    /// let mut broker = Broker::start(Protocol::Redis);
    /// println!("connect to {}", broker.url());
    /// broker.stop(); // clients lose their connections
    /// broker.restart(); // on the same port
    /// ```
    #[must_use]
    pub fn start(protocol: Protocol) -> Self {
        Self::begin(protocol, None, Durability::InMemory)
    }

    /// Starts a Redis server that writes every command to a file, and reads it again when it is
    /// started again.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_durable() -> Self {
        Self::begin(Protocol::Redis, None, Durability::InFile)
    }

    /// Starts a server that lets users do what lines of its configuration file say.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_for(protocol: Protocol, users: &str) -> Self {
        Self::begin(protocol, Some(users), Durability::InMemory)
    }

    fn begin(protocol: Protocol, users: Option<&str>, durability: Durability) -> Self {
        started(|| Self::try_start(protocol, users, durability)).unwrap_or_else(|error| {
            panic!("{protocol:?} does not start: {error}; scripts/prepare installs it")
        })
    }

    fn try_start(
        protocol: Protocol,
        users: Option<&str>,
        durability: Durability,
    ) -> io::Result<Self> {
        let mut broker = Self {
            protocol,
            port: free_port()?,
            durability,
            users: users.map(str::to_owned),
            directory: tempfile::tempdir()?,
            keeper: None,
        };
        broker.run()?;

        Ok(broker)
    }

    /// Starts the server again after [`stop`](Self::stop), on its port.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn restart(&mut self) {
        self.run().expect("the port is still free");
    }

    /// Kills the server.
    ///
    /// # Panics
    ///
    /// The shell that keeps it cannot be waited for.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().expect("the shell ends");
        }
    }

    /// Cuts bytes from the end of what a [durable](Self::start_durable) server has written, as a
    /// loss of power may; call it while the server is stopped.
    ///
    /// # Panics
    ///
    /// There is no such file, or it is shorter.
    pub fn lose_from_file(&self, bytes: u64) {
        let folder = self.directory.path().join("appendonlydir");
        let files = std::fs::read_dir(&folder).expect("a durable server");
        let newest = files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|it| it == "aof"))
            .find(|path| path.to_string_lossy().contains(".incr."));
        let path = newest.expect("what was appended");
        let file = std::fs::File::options().write(true).open(&path);
        let file = file.expect("it can be written");
        let length = file.metadata().expect("it has a length").len();
        let kept = length.checked_sub(bytes).expect("it is longer");
        file.set_len(kept).expect("it is cut");
    }

    /// Returns the length of the files that a [durable](Self::start_durable) server writes.
    ///
    /// # Panics
    ///
    /// There are none.
    #[must_use]
    pub fn file_length(&self) -> u64 {
        let folder = self.directory.path().join("appendonlydir");
        let files = std::fs::read_dir(&folder).expect("a durable server");
        let lengths = files.map(|file| file.expect("a file").metadata().expect("a length").len());
        lengths.sum()
    }

    /// Returns what it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns its address.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_by(self.port)
    }

    /// Returns its address by another port, for example that of a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn url_by(&self, port: u16) -> String {
        let scheme = match self.protocol {
            Protocol::Nats => "nats",
            Protocol::Redis => "redis",
        };
        format!("{scheme}://127.0.0.1:{port}")
    }

    /// Returns its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address for a user of a name, whose password is that name too.
    #[must_use]
    pub fn url_of(&self, user: &str) -> String {
        self.url().replace("://", &format!("://{user}:{user}@"))
    }

    /// Returns the files in which NATS keeps the messages of a stream, the oldest first.
    ///
    /// # Panics
    ///
    /// There is no such stream.
    #[must_use]
    pub fn blocks(&self, stream: &str) -> Vec<PathBuf> {
        let account = self.directory.path().join(JETSTREAM).join("jetstream/$G");
        let messages = account.join("streams").join(stream).join("msgs");
        let entries = messages.read_dir().expect("the stream has a directory");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        let mut blocks: Vec<_> = paths.filter(|path| is_block(path)).collect();
        blocks.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        blocks
    }

    fn run(&mut self) -> io::Result<()> {
        let script = r#"
            trap '' INT TERM HUP
            "$@" > /dev/null 2>&1 &
            cat > /dev/null
            kill -KILL $!
            wait
        "#;

        let port = self.port.to_string();
        let users = self.directory.path().join("users.conf");
        if let Some(lines) = &self.users {
            std::fs::write(&users, lines)?;
        }

        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("sh");

        match self.protocol {
            Protocol::Nats => {
                command.args(["nats-server", "-a", "127.0.0.1", "-p", &port]);
                command.args(["-js", "-sd", JETSTREAM]);
                if self.users.is_some() {
                    command.arg("-c").arg(users);
                }
            }
            Protocol::Redis => {
                command.arg("redis-server");
                if self.users.is_some() {
                    command.arg(users);
                }

                command.args([
                    "--bind",
                    "127.0.0.1",
                    "--port",
                    &port,
                    "--save",
                    "",
                    "--appendonly",
                    self.durability.word(),
                    // Else what was acknowledged may not be in the file for two seconds.
                    "--appendfsync",
                    "always",
                ]);
            }
        }

        command.current_dir(self.directory.path());
        command.env("PATH", path()).stdin(Stdio::piped());
        self.keeper = Some(command.spawn()?);
        wait_for_listener(self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_block(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "blk")
}

/// Returns a `PATH` that has `nats-server`: Debian installs it where not every user's path leads.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}
