//! Where the nodes meet, and what happens to it.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tidings_testkit::{Broker, Database, End, Link, Protocol, Proxy, Server};
use tokio::task::AbortHandle;

use super::{
    again::say_again,
    faults::{self, Fault},
    load::{NODES, World},
};
use crate::{
    process::{Program, command},
    wall::WallClocks,
};

/// How long the log keeps records: the shortest that is allowed.
const RETENTION: &str = "10s";

/// How long a server that does not wait for the disk lets commits wait at most, plus what the
/// machine adds; by its documentation three times `wal_writer_delay`.
pub(super) const UNSAFE: Duration = Duration::from_secs(5);
const WRITER_DELAY: &str = "wal_writer_delay=1s";

/// The variable that tells a node which rule to leave out, if it was built for that.
const WITHOUT_RULE: &str = "WITHOUT_RULE";

/// Whether the database says that a commit is done before it is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commits {
    Synchronous,
    Asynchronous,
}

/// What crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Server,
    /// One of the server's processes, after which all recover.
    Process,
}

/// Where the nodes meet, their clocks, and what wakes them.
pub(super) struct Engine {
    place: Place,
    carrier: Option<Carrier>,
    walls: WallClocks,
    /// What nodes leave out.
    pub(super) without: Option<String>,
}

enum Place {
    /// Each node has a link of its own to it.
    Postgres {
        server: Server,
        database: Database,
        links: Vec<Proxy>,
        commits: Commits,
    },
    Sqlite(tempfile::TempDir),
}

/// A broker, to which each node has a link of its own, and a publisher that repeats messages.
struct Carrier {
    broker: Mutex<Broker>,
    links: Vec<Proxy>,
    again: AbortHandle,
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.again.abort();
    }
}

impl Engine {
    fn at(place: Place, carrier: Option<Carrier>) -> Self {
        Self {
            place,
            carrier,
            walls: WallClocks::new(NODES),
            without: std::env::var("TIDINGS_FAULTS_WITHOUT").ok(),
        }
    }

    /// Starts a server of its own, with a link for each node.
    pub(super) async fn postgres(commits: Commits, carrier: Option<Protocol>) -> Self {
        let server = Server::start_under(&[WRITER_DELAY]);
        let database = server.database().await;
        if commits == Commits::Asynchronous {
            let name = database.name();
            database.psql(&format!(
                "alter database {name} set synchronous_commit = off"
            ));
        }
        let mut links = Vec::new();
        for _ in 0..NODES {
            links.push(Proxy::to(&database).await);
        }
        let place = Place::Postgres {
            server,
            database,
            links,
            commits,
        };

        let carrier = match carrier {
            None => None,
            Some(protocol) => Some(Carrier::start(protocol).await),
        };
        Self::at(place, carrier)
    }

    pub(super) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        Self::at(Place::Sqlite(folder), None)
    }

    fn url(&self, node: usize) -> String {
        match &self.place {
            Place::Postgres {
                database, links, ..
            } => links[node].url(database),
            Place::Sqlite(folder) => format!("sqlite://{}", file(folder.path())),
        }
    }

    /// Starts a node with a bound on staleness.
    pub(super) fn node(&self, node: usize, bound: &str) -> Program {
        let (url, name) = (self.url(node), format!("n{node}"));
        let cluster = match (&self.carrier, &self.place) {
            (Some(carrier), _) => carrier.url(node),
            (None, Place::Postgres { .. }) => "postgres".to_owned(),
            (None, Place::Sqlite(_)) => "sqlite".to_owned(),
        };
        let flags = [
            "--database",
            &url,
            "--cluster",
            &cluster,
            "--node-id",
            &name,
        ];
        let times = ["--max-staleness", bound, "--cluster-retention", RETENTION];
        let flags = [&flags[..], &times, &["--log", "error"]].concat();
        Program::start_with(Path::new("/"), &flags, |command| {
            self.walls.apply(node, command);
            if let Some(rule) = &self.without {
                command.env(WITHOUT_RULE, rule);
            }
        })
    }

    /// What may happen here, some of it more often than the rest.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let of_place = match &self.place {
            Place::Postgres {
                commits: Commits::Synchronous,
                ..
            } => vec![faults::POSTGRES],
            Place::Postgres {
                commits: Commits::Asynchronous,
                ..
            } => vec![faults::POSTGRES, faults::CRASHES],
            Place::Sqlite(_) => vec![faults::SQLITE],
        };
        let of_carrier = self.carrier.as_ref().map(|_| faults::BROKER);
        let all = [faults::NODES_ALONE].into_iter().chain(of_place);
        all.chain(of_carrier).flatten().copied().collect()
    }

    /// Moves the time of day of a node.
    pub(super) fn walls(&self) -> &WallClocks {
        &self.walls
    }

    /// Changes the link of a node to its database, where it has one.
    pub(super) fn link(&self, node: usize, link: Link) {
        if let Place::Postgres { links, .. } = &self.place {
            links[node].set(link);
        }
    }

    /// Changes the link of a node to the broker, where there is one.
    pub(super) fn broker_link(&self, node: usize, link: Link) {
        if let Some(carrier) = &self.carrier {
            carrier.links[node].set(link);
        }
    }

    /// Kills the broker, and starts it again after some time.
    pub(super) fn broker_down(&self, while_down: impl FnOnce()) {
        if let Some(carrier) = &self.carrier {
            let mut broker = carrier
                .broker
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            broker.stop();
            while_down();
            broker.restart();
        }
    }

    pub(super) fn cut(&self) {
        match &self.place {
            Place::Postgres { .. } => {
                let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                              where datname = current_database() and pid <> pg_backend_pid()";
                drop(self.sql(others));
            }
            Place::Sqlite(folder) => {
                let lock = ".timeout 2000\nBEGIN IMMEDIATE;\n.shell sleep 0.4\nCOMMIT;\n";
                drop(sqlite3(folder.path(), lock));
            }
        }
    }

    /// Ends the server in order, and starts it again.
    pub(super) fn bounce(&self) {
        if let Place::Postgres { server, .. } = &self.place {
            server.restart(End::Clean);
        }
    }

    /// What a crash empties; `None` if the server does not answer.
    fn volatile(&self) -> Option<String> {
        self.sql("select coalesce((select id::text from tidings.epoch_volatile), '')")
    }

    /// Makes the server crash as a whole, or one of its processes, and waits until it has recovered
    /// if that may have lost something.
    pub(super) fn crash(&self, extent: Extent, world: &World) {
        let before = self.volatile();
        self.kill_server(extent);
        if self.commits() == Commits::Synchronous {
            return;
        }
        for _ in 0..200 {
            let now = self.volatile();
            if now.is_some() && now != before {
                return;
            }
            world.passes(Duration::from_millis(50));
        }
        panic!("the server has not crashed");
    }

    fn kill_server(&self, extent: Extent) {
        let Place::Postgres { server, .. } = &self.place else {
            return;
        };
        match extent {
            Extent::Server => return server.restart(End::Crash),
            Extent::Process => {}
        }
        let victim = "select pid from pg_stat_activity where backend_type = 'walwriter'";
        if let Some(victim) = self.sql(victim) {
            let killed = Command::new("kill").args(["-9", victim.trim()]).status();
            drop(killed); // it may be recovering still
        }
    }

    /// Whether a crash may lose what was acknowledged.
    pub(super) fn commits(&self) -> Commits {
        match &self.place {
            Place::Postgres { commits, .. } => *commits,
            Place::Sqlite(_) => Commits::Synchronous,
        }
    }

    /// Makes what was committed so far safe from a crash.
    pub(super) fn save(&self) {
        if let Place::Postgres { .. } = &self.place {
            drop(self.sql("checkpoint"));
        }
    }

    /// Deletes the log with its triggers, and makes it again, without regard to what is written in
    /// between. The cluster's key stays, as it does when capture is removed.
    pub(super) fn recreate(&self) {
        match &self.place {
            Place::Postgres { database, .. } => {
                let Some(key) = self.sql(
                    "select 'update tidings.start set key = ''' || key::text || ''', starts = ' || starts::text \
                     from tidings.start",
                ) else {
                    return; // the server is not there yet
                };
                if self.sql("drop schema tidings cascade").is_none() {
                    return;
                }
                install(&database.url());
                drop(self.sql(&key));
            }
            Place::Sqlite(folder) => {
                let script = format!(
                    "import sqlite3\n\
                     db = sqlite3.connect({:?}, isolation_level=None, timeout=5)\n\
                     db.execute('BEGIN IMMEDIATE')\n\
                     ours = db.execute(\"SELECT type, name FROM sqlite_schema WHERE name LIKE 'tidings%' \"\n\
                     \x20   \"AND name NOT IN ('tidings_steps', 'tidings_start') AND type IN ('trigger', 'table') ORDER BY type DESC\").fetchall()\n\
                     for kind, name in ours: db.execute(f'DROP {{kind}} \"{{name}}\"')\n\
                     db.execute('COMMIT')\n",
                    file(folder.path())
                );
                let ran = Command::new("python3").args(["-c", &script]).output();
                // Otherwise the file is busy.
                if ran.expect("python3 runs").status.success() {
                    install(&self.url(0));
                }
            }
        }
    }

    /// Keeps what the database has now; `None` if it is busy.
    pub(super) fn back_up(&self) -> Option<()> {
        let Place::Sqlite(folder) = &self.place else {
            return None;
        };
        let copy = folder.path().join("copy.db");
        drop(std::fs::remove_file(&copy)); // there is none at first
        sqlite3(
            folder.path(),
            &format!(".timeout 5000\n.backup {}\n", copy.display()),
        );
        copy.exists().then_some(())
    }

    /// Puts back what was kept.
    pub(super) fn put_back(&self) {
        if let Place::Sqlite(folder) = &self.place {
            let copy = folder.path().join("copy.db");
            let restore = format!(".timeout 5000\n.restore {}\n", copy.display());
            sqlite3(folder.path(), &restore);
        }
    }

    /// A number that the log has not reached yet.
    pub(super) fn newest(&self) -> Option<u64> {
        let text = match &self.place {
            Place::Postgres { .. } => self.sql("select pg_snapshot_xmax(pg_current_snapshot())")?,
            Place::Sqlite(folder) => sqlite3(
                folder.path(),
                ".timeout 5000\nSELECT coalesce(max(id), 0) + 1 FROM tidings_log;\n",
            ),
        };
        text.trim().parse().ok()
    }

    /// Whether the log has forgotten what comes after that number.
    pub(super) fn has_forgotten(&self, newest: u64) -> bool {
        let text = match &self.place {
            Place::Postgres { .. } => self.sql("select below from tidings.pruned"),
            Place::Sqlite(folder) => Some(sqlite3(
                folder.path(),
                ".timeout 5000\nSELECT last FROM tidings_pruned;\n",
            )),
        };
        let forgotten = text.and_then(|text| text.trim().parse().ok());
        forgotten.is_some_and(|forgotten: u64| forgotten > newest)
    }

    /// The keys that there are. Waits until the database answers.
    pub(super) fn keys(&self, world: &World) -> BTreeSet<String> {
        let sql = "select key from keyauth_credentials";
        for _ in 0..200 {
            let text = match &self.place {
                Place::Postgres { .. } => self.sql(sql),
                Place::Sqlite(folder) => {
                    Some(sqlite3(folder.path(), &format!(".timeout 5000\n{sql};\n")))
                }
            };
            if let Some(text) = text {
                return text.lines().map(str::to_owned).collect();
            }
            world.passes(Duration::from_millis(100));
        }
        panic!("the database does not answer");
    }

    /// Asks the server beside the nodes; `None` if it does not answer.
    fn sql(&self, sql: &str) -> Option<String> {
        let Place::Postgres { database, .. } = &self.place else {
            return None;
        };
        let answer = database.try_psql(sql);
        answer.inspect_err(|error| eprintln!("psql: {error}")).ok()
    }
}

impl Carrier {
    async fn start(protocol: Protocol) -> Self {
        let broker = Broker::start(protocol);
        let mut links = Vec::new();
        for _ in 0..NODES {
            links.push(Proxy::to_port(broker.port()).await);
        }
        let again = tokio::spawn(say_again(broker.port(), protocol, 7));
        Self {
            again: again.abort_handle(),
            broker: Mutex::new(broker),
            links,
        }
    }

    fn url(&self, node: usize) -> String {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker.url_by(self.links[node].port())
    }
}

/// Makes the log and its triggers, as an operator does.
fn install(url: &str) {
    let install = ["capture", "install", "--database", url];
    for _ in 0..10 {
        let ran = command(Path::new("/"), &install).output();
        if ran.expect("the program runs").status.success() {
            return;
        }
    }
    panic!("capture cannot be installed");
}

fn file(folder: &Path) -> String {
    folder.join("a.db").display().to_string()
}

fn sqlite3(folder: &Path, script: &str) -> String {
    let mut program = Command::new("sqlite3")
        .arg(folder.join("a.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sqlite3 runs");
    let mut input = program.stdin.take().expect("its input is piped");
    input.write_all(script.as_bytes()).expect("it reads");
    drop(input);
    let output = program.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
