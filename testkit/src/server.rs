//! [`Server`] and [`Database`]: a PostgreSQL server for tests, and an empty database on it.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::port::{free_port, started};

/// The user that runs the server if the tests run as root, because PostgreSQL refuses to.
pub(crate) const USER: &str = "postgres";

/// A running PostgreSQL server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    pub(crate) directory: PathBuf,
    databases: AtomicU32,
    /// The process that keeps the server running until its standard input closes.
    keeper: Child,
}

/// How a server ends before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly shutdown: nothing is lost.
    Clean,
    /// At once, as in a power failure: commits that did not wait for the disk may be lost.
    Crash,
}

/// A database of a [`Server`], empty when it is made.
#[derive(Debug)]
pub struct Database {
    name: String,
    port: u16,
}

impl Server {
    /// Returns the server of this test binary, which the first call starts.
    ///
    /// # Panics
    ///
    /// No PostgreSQL is installed, or it does not start: its log is part of the message.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tidings_testkit::Server;
    ///
    /// # async fn example() {
    /// let database = Server::shared().database().await; // one for each test
    /// database.psql("create table flags (name text primary key)");
    /// println!("connect to {}", database.url());
    /// # }
    /// ```
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server for one test, which may kill it.
    ///
    /// # Panics
    ///
    /// As [`shared`](Self::shared).
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[], copy_template)
    }

    /// Starts a server for one test with these settings, such as `wal_writer_delay=2s`, besides the
    /// usual ones.
    ///
    /// # Panics
    ///
    /// As [`shared`](Self::shared).
    #[must_use]
    pub fn start_under(settings: &[&str]) -> Self {
        Self::start_with(settings, copy_template)
    }

    /// Starts a server whose data directory a closure makes in the server's directory, with these
    /// settings besides the usual ones.
    pub(crate) fn start_with(settings: &[&str], fill: impl Fn(&Path) -> io::Result<()>) -> Self {
        started(|| Self::try_start(settings, &fill))
            .unwrap_or_else(|error| panic!("PostgreSQL does not start: {error}"))
    }

    fn try_start(settings: &[&str], fill: impl Fn(&Path) -> io::Result<()>) -> io::Result<Self> {
        let directory = own_directory("tidings-postgres-")?;
        fill(&directory)?;

        let port = free_port()?;
        let keeper = Self::keeper(&directory, port, settings)?;
        let server = Self {
            port,
            directory,
            databases: AtomicU32::new(0),
            keeper,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts the server under a shell that ends it when the pipe to its standard input closes, and
    /// starts it again when it ends on [`restart`](Self::restart).
    fn keeper(directory: &Path, port: u16, settings: &[&str]) -> io::Result<Child> {
        let script = r#"
            trap '' INT TERM HUP
            cd "$DIRECTORY"
            keep() {
                while [ ! -e end ]; do
                    "$@" >> log 2>&1 &
                    echo $! > pid
                    wait $!
                    [ -e again ] || return
                    rm again
                done
            }
            keep "$@" &
            kept=$!
            cat > /dev/null
            touch end
            while kill -0 $kept 2> /dev/null; do
                kill -INT "$(cat pid)" 2> /dev/null
                sleep 0.02
            done
            cd /
            [ -e "$DIRECTORY/keep" ] || rm -rf "$DIRECTORY"
        "#;

        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("sh");
        command.args(as_user(directory)).arg(binary("postgres")?);
        command.arg("-D").arg(directory.join("data"));

        let sockets = format!("unix_socket_directories={}", directory.display());
        let port = port.to_string();
        let usual = [
            "listen_addresses=127.0.0.1",
            &sockets,
            "wal_level=logical",
            "max_connections=300",
            "max_prepared_transactions=50",
            "fsync=off",
        ];
        for setting in usual.iter().chain(settings) {
            command.arg("-c").arg(setting);
        }

        command.arg("-p").arg(port);
        command.env("DIRECTORY", directory).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    /// Asks over the socket in the server's own directory: on a port that another server took
    /// first, that one would answer.
    fn wait_until_ready(&self) -> io::Result<()> {
        let wait = r#"
            for i in $(seq 1500); do
                "$0" -q -h "$2" -p "$1" && exit 0
                [ ! -s "$2/pid" ] || kill -0 "$(cat "$2/pid")" || exit 1
                sleep 0.02
            done
            exit 1
        "#;

        let waited = Command::new("sh")
            .arg("-c")
            .arg(wait)
            .arg(binary("pg_isready")?)
            .arg(self.port.to_string())
            .arg(&self.directory)
            .status()?;
        if waited.success() {
            return Ok(());
        }

        let mut log = String::new();
        let read = fs::File::open(self.directory.join("log"));
        read.and_then(|mut file| file.read_to_string(&mut log))?;
        Err(io::Error::other(log))
    }

    /// Makes an empty database.
    ///
    /// # Panics
    ///
    /// The server cannot be reached.
    pub async fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");

        let mut admin = self
            .options("postgres")
            .connect()
            .await
            .expect("the server");

        let sql = sqlx::AssertSqlSafe(format!("create database {name}"));
        let made = sqlx::raw_sql(sql).execute(&mut admin).await;
        made.expect("a database is made");
        admin.close().await.expect("the connection ends");

        Database {
            name,
            port: self.port,
        }
    }

    /// Returns a database that the server already has, as a standby has those of its primary.
    #[must_use]
    pub fn existing(&self, name: &str) -> Database {
        Database {
            name: name.to_owned(),
            port: self.port,
        }
    }

    /// Ends the server and starts it again on its port. Returns once it answers.
    ///
    /// # Panics
    ///
    /// It does not end, or does not start.
    pub fn restart(&self, end: End) {
        let signal = match end {
            End::Clean => "-INT",
            End::Crash => "-QUIT",
        };
        let restart = r#"
            before=$(cat "$0/pid")
            touch "$0/again"
            kill "$1" "$before" || exit 1
            for i in $(seq 1500); do
                [ ! -s "$0/pid" ] || [ "$(cat "$0/pid")" = "$before" ] || exit 0
                sleep 0.02
            done
            exit 1
        "#;

        let mut shell = Command::new("sh");
        shell.arg("-c").arg(restart);
        let ended = run(shell.arg(&self.directory).arg(signal));
        ended.expect("the server ends");
        self.wait_until_ready().expect("the server starts again");
    }

    /// Returns the port of the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the id of the server's process.
    ///
    /// # Panics
    ///
    /// The server has not written it.
    #[must_use]
    pub fn process(&self) -> u32 {
        let text = fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let text = text.expect("a running server says its process");
        let first = text.lines().next().and_then(|line| line.parse().ok());
        first.expect("the first line is the process")
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        options(self.port, database)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closes the pipe, so that the keeper stops the server.
        drop(self.keeper.stdin.take());
        let ended = self.keeper.wait();
        debug_assert!(ended.is_ok(), "the keeper is our child");
    }
}

impl Database {
    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port of its server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns how to connect to it.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        options(self.port, &self.name)
    }

    /// Returns its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Connects to it.
    ///
    /// # Panics
    ///
    /// The server cannot be reached.
    pub async fn connect(&self) -> PgConnection {
        self.options()
            .connect()
            .await
            .expect("the server of the tests")
    }

    /// Runs a script in `psql`, as another program would. Returns what it printed.
    ///
    /// # Panics
    ///
    /// A statement fails.
    pub fn psql(&self, script: &str) -> String {
        let ran = self.try_psql(script);
        ran.unwrap_or_else(|error| panic!("psql: {error}"))
    }

    /// Runs a script in `psql` on a server that may be down. Returns what it printed.
    ///
    /// # Errors
    ///
    /// A statement fails, or `psql` cannot be run.
    pub fn try_psql(&self, script: &str) -> io::Result<String> {
        let mut psql = Command::new(binary("psql")?);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .arg(self.url());
        let ran = psql.stdin(spooled(script)?).output()?;
        if !ran.status.success() {
            let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
            return Err(io::Error::other(errors));
        }
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }
}

/// Makes a directory that belongs to the user that runs the servers. The keeper removes it.
pub(crate) fn own_directory(prefix: &str) -> io::Result<PathBuf> {
    let directory = tempfile::Builder::new()
        .prefix(prefix)
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?
        .keep();
    let owner = fs::metadata(template()?)?;
    chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
    Ok(directory)
}

/// Makes the data directory of a new server.
pub(crate) fn copy_template(directory: &Path) -> io::Result<()> {
    run(Command::new("cp")
        .arg("-a")
        .arg(template()?)
        .arg(directory.join("data")))
}

fn spooled(script: &str) -> io::Result<fs::File> {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile()?;
    file.write_all(script.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

fn options(port: u16, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .database(database)
        .disable_statement_logging()
}

/// Returns the data directory that every server copies. The first test binary that needs it makes
/// it.
fn template() -> io::Result<PathBuf> {
    let initdb = binary("initdb")?;
    let version = Command::new(&initdb).arg("--version").output()?.stdout;
    let digits: Vec<u8> = version.into_iter().filter(u8::is_ascii_digit).collect();
    let version = String::from_utf8_lossy(&digits).into_owned();
    let place = std::env::temp_dir().join(format!("tidings-initdb-{version}-{}", user_id()?));
    if place.join("PG_VERSION").exists() {
        return Ok(place);
    }

    // Made elsewhere and moved into place whole, so that no one copies half of it.
    let made = tempfile::Builder::new()
        .prefix("tidings-initdb-new-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?;
    if user_id()? == 0 {
        run(Command::new("chown")
            .arg(format!("{USER}:"))
            .arg(made.path()))?;
    }

    let mut initdb = command_of_user(made.path(), &initdb);
    initdb.arg("-D").arg(made.path().join("data"));
    run(initdb.args([
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-sync",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    ]))?;

    match fs::rename(made.path().join("data"), &place) {
        Ok(()) => {}
        // Another binary was faster.
        Err(_) if place.join("PG_VERSION").exists() => {}
        Err(error) => return Err(error),
    }
    Ok(place)
}

/// Returns a command that does not run as root.
pub(crate) fn command_of_user(directory: &Path, program: &Path) -> Command {
    let mut words = as_user(directory).into_iter();
    match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Returns the words to put before a command so that it does not run as root.
pub(crate) fn as_user(directory: &Path) -> Vec<String> {
    if user_id().is_ok_and(|id| id == 0) {
        let reuid = format!("--reuid={USER}");
        let regid = format!("--regid={USER}");
        let directory = directory.display().to_string();
        let words = [
            "setpriv",
            &reuid,
            &regid,
            "--init-groups",
            "env",
            "-C",
            &directory,
            "LC_ALL=C.UTF-8",
        ];
        words.map(str::to_owned).to_vec()
    } else {
        Vec::new()
    }
}

pub(crate) fn user_id() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

/// Finds a program of PostgreSQL.
pub(crate) fn binary(name: &str) -> io::Result<PathBuf> {
    let named = std::env::var_os("TIDINGS_POSTGRES_BIN").map(PathBuf::from);
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let packaged = packaged.flatten().map(|entry| entry.path().join("bin"));
    let mut places: Vec<_> = packaged.collect();
    places.sort();

    let newest_first = named.into_iter().chain(places.into_iter().rev());
    let mut programs = newest_first.map(|place| place.join(name));
    programs.find(|program| program.exists()).ok_or_else(|| {
        io::Error::other(format!(
            "{name} of PostgreSQL is not installed: apt-get install postgresql"
        ))
    })
}

pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let ran = command.stdin(Stdio::null()).output()?;
    if ran.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    Err(io::Error::other(errors))
}
