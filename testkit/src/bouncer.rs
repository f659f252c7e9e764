//! [`Bouncer`]: a throwaway pgbouncer in transaction mode.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    Database, Server,
    port::{free_port, started, wait_for_listener},
    server::{as_user, own_directory},
};

/// A running pgbouncer, which lends sessions of a server for one transaction at a time.
///
/// A shell that waits for the end of a pipe stops it, however the test ends.
#[derive(Debug)]
pub struct Bouncer {
    port: u16,
    /// Its standard input is what keeps the pooler running.
    keeper: Child,
}

impl Bouncer {
    /// Starts a pgbouncer in front of a server, with this many sessions for each database.
    ///
    /// # Panics
    ///
    /// It is not installed, or does not start.
    #[must_use]
    pub fn before(server: &Server, sessions: usize) -> Self {
        started(|| Self::try_start(server, sessions)).unwrap_or_else(|error| {
            panic!("pgbouncer does not start: {error}; scripts/prepare installs it")
        })
    }

    fn try_start(server: &Server, sessions: usize) -> io::Result<Self> {
        let directory = own_directory("tidings-pgbouncer-")?;
        let port = free_port()?;
        let settings = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = {sessions}\n\
             logfile = {}/log\n",
            server.port(),
            directory.display()
        );
        let path = directory.join("pgbouncer.ini");
        fs::write(&path, settings)?;

        let keeper = Self::keeper(&directory, &path)?;
        let bouncer = Self { port, keeper };
        wait_for_listener(port)?;
        Ok(bouncer)
    }

    fn keeper(directory: &Path, settings: &Path) -> io::Result<Child> {
        let script = r#"
            trap '' INT TERM HUP
            "$@" > /dev/null 2>&1 &
            cat > /dev/null
            kill -KILL $!
            wait
            rm -rf "$DIRECTORY"
        "#;

        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("sh");
        command.args(as_user(directory)).arg(program());
        command.arg(settings).env("DIRECTORY", directory);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn()
    }

    /// Returns the address of a database through the pooler.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        let name = database.name();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // Ends the pipe, on which the keeper stops the pooler.
        drop(self.keeper.stdin.take());
        let ended = self.keeper.wait();
        debug_assert!(ended.is_ok(), "the keeper is our child");
    }
}

/// Returns the program's path: Debian installs it in a directory that not every user has in `PATH`.
fn program() -> PathBuf {
    let packaged = PathBuf::from("/usr/sbin/pgbouncer");
    if packaged.exists() {
        packaged
    } else {
        PathBuf::from("pgbouncer")
    }
}
