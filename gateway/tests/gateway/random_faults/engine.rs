//! Where the nodes meet, and what happens to it and to them.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tidings::core::entropy::{Entropy as _, SeededEntropy};
use tidings_testkit::{Database, Link, Proxy};

use super::load::NODES;
use crate::process::Program;

/// Where the nodes meet.
pub(super) enum Engine {
    /// Each node has a link of its own to it.
    Postgres(Database, Vec<Proxy>),
    Sqlite(tempfile::TempDir),
}

/// How many numbers stand for a deed.
pub(super) const DEEDS: u64 = 12;

/// What happens to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// One is killed, and started again.
    Kill,
    /// One is told to end, ends in order, and is started again.
    Restart,
    /// One is stopped for a while, mostly for longer than its bound.
    Stop,
    /// The database loses every connection (PostgreSQL), or is locked (SQLite).
    Cut,
    /// The server recovers from a crash (PostgreSQL).
    Crash,
    /// The link of one node closes its connections and refuses new ones for a while.
    Refuse,
    /// The link of one node is slow for a while.
    Delay,
    /// The server's ends of one node's connections are gone, and the node is not told.
    HalfOpen,
    /// Nothing passes over the link of one node for a while, mostly for longer than its bound.
    BlackHole,
}

impl Deed {
    /// What a deed makes of a link, and for how long; none if it is not done to one.
    pub(super) fn on_link(self, chance: &SeededEntropy) -> Option<(Link, Duration)> {
        let millis = |least: u64, more: u64| Duration::from_millis(least + chance.below(more));
        match self {
            Self::Refuse => Some((Link::Refusing, millis(200, 2_500))),
            Self::Delay => Some((Link::Slow(millis(5, 100)), millis(500, 2_500))),
            Self::HalfOpen => Some((Link::HalfOpen, millis(200, 2_500))),
            Self::BlackHole => Some((Link::Silent, millis(500, 3_500))),
            Self::Kill | Self::Restart | Self::Stop | Self::Cut | Self::Crash => None,
        }
    }
}

impl Engine {
    /// Makes the links of all nodes to a database.
    pub(super) async fn postgres(database: Database) -> Self {
        let mut links = Vec::new();
        for _ in 0..NODES {
            links.push(Proxy::to(&database).await);
        }
        Self::Postgres(database, links)
    }

    fn url(&self, node: usize) -> String {
        match self {
            Self::Postgres(database, links) => links[node].url(database),
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("a.db").display()),
        }
    }

    /// Starts a node that serves for a time what it has not proven.
    pub(super) fn node(&self, node: usize, bound: &str) -> Program {
        let (url, name) = (self.url(node), format!("n{node}"));
        let cluster = match self {
            Self::Postgres(..) => "postgres",
            Self::Sqlite(_) => "sqlite",
        };
        let flags = ["--database", &url, "--cluster", cluster, "--node-id", &name];
        let more = ["--log", "error", "--max-staleness", bound];
        Program::start(Path::new("/"), &[&flags[..], &more].concat())
    }

    /// The deed that a number stands for.
    pub(super) fn deed(&self, number: u64) -> Deed {
        match (number % DEEDS, self) {
            (0..=1, _) | (8, Self::Sqlite(_)) => Deed::Kill,
            (2..=3, _) | (9, Self::Sqlite(_)) => Deed::Restart,
            (4..=5, _) | (10..=11, Self::Sqlite(_)) => Deed::Stop,
            (6, _) | (7, Self::Sqlite(_)) => Deed::Cut,
            (7, Self::Postgres(..)) => Deed::Crash,
            (8, Self::Postgres(..)) => Deed::Refuse,
            (9, Self::Postgres(..)) => Deed::Delay,
            (10, Self::Postgres(..)) => Deed::HalfOpen,
            (_, Self::Postgres(..)) => Deed::BlackHole,
            (_, Self::Sqlite(_)) => Deed::Stop,
        }
    }

    /// Changes the link of a node, where it has one.
    pub(super) fn link(&self, node: usize, link: Link) {
        if let Self::Postgres(_, links) = self {
            links[node].set(link);
        }
    }

    pub(super) fn cut(&self) {
        match self {
            Self::Postgres(database, _) => {
                let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                              where datname = current_database() and pid <> pg_backend_pid()";
                drop(catch_unwind(AssertUnwindSafe(|| database.psql(others))));
            }
            Self::Sqlite(folder) => {
                let lock = ".timeout 2000\nBEGIN IMMEDIATE;\n.shell sleep 0.4\nCOMMIT;\n";
                drop(sqlite3(folder.path(), lock));
            }
        }
    }

    /// Kills a process of the server, which makes it recover as after a crash.
    pub(super) fn crash(&self) {
        let Self::Postgres(database, _) = self else {
            return;
        };
        let victim = "select pid from pg_stat_activity where backend_type = 'walwriter'";
        let found = catch_unwind(AssertUnwindSafe(|| database.psql(victim)));
        if let Ok(victim) = found {
            let killed = Command::new("kill").args(["-9", victim.trim()]).status();
            drop(killed); // it may be recovering still
        }
    }

    /// The keys that there are.
    pub(super) fn keys(&self) -> Vec<String> {
        let sql = "select key from keyauth_credentials";
        let text = match self {
            Self::Postgres(database, _) => database.psql(sql),
            Self::Sqlite(folder) => sqlite3(folder.path(), &format!(".timeout 5000\n{sql};\n")),
        };
        text.lines().map(str::to_owned).collect()
    }
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
