//! Where the nodes meet, and what happens to it and to them.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
};

use tidings_testkit::Database;

use crate::process::Program;

/// Where the nodes meet.
pub(super) enum Engine {
    Postgres(Database),
    Sqlite(tempfile::TempDir),
}

/// What happens to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// One is killed, and started again.
    Kill,
    /// One is stopped for a while, mostly for longer than its bound.
    Stop,
    /// The database loses every connection (PostgreSQL), or is locked (SQLite).
    Cut,
    /// The server recovers from a crash (PostgreSQL).
    Crash,
}

impl Engine {
    fn url(&self) -> String {
        match self {
            Self::Postgres(database) => database.url(),
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("a.db").display()),
        }
    }

    pub(super) fn node(&self, node: usize) -> Program {
        let (url, name) = (self.url(), format!("n{node}"));
        let cluster = match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        };
        let flags = ["--database", &url, "--cluster", cluster, "--node-id", &name];
        let more = ["--log", "error", "--max-staleness", "1s"];
        Program::start(Path::new("/"), &[&flags[..], &more].concat())
    }

    /// The deed that a number stands for.
    pub(super) fn deed(&self, number: u64) -> Deed {
        match (number % 8, self) {
            (0..=2, _) => Deed::Kill,
            (3..=5, _) | (7, Self::Sqlite(_)) => Deed::Stop,
            (7, Self::Postgres(_)) => Deed::Crash,
            _ => Deed::Cut,
        }
    }

    pub(super) fn cut(&self) {
        match self {
            Self::Postgres(database) => {
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
        let Self::Postgres(database) = self else {
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
            Self::Postgres(database) => database.psql(sql),
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
