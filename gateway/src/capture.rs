//! `tidings capture install | remove | status`: the triggers that record every program's writes.
//!
//! Exit status: 0; 1 if `status` finds that writes would be missed; 2 if the call is wrong or
//! refused; 3 if the database cannot be reached.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser};
use tidings::{
    Entity as _, Schema,
    core::Chain,
    store::{
        postgres::log::{self as postgres, InstallOptions, Installed, PgLogError, Status, Wake},
        sqlite::log::{self as sqlite, SqliteLogError},
    },
};

use crate::entities::{Acl, Consumer, KeyAuthCredential};

const MISSED: u8 = 1;
const WRONG_USE: u8 = 2;
const UNREACHABLE: u8 = 3;

/// Runs the command, and returns the program's exit status.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    match run_on_database(matches) {
        Ok(status) => status,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "tidings: {}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

/// The last message of a failed command, and its exit status.
struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    fn wrong_use(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: WRONG_USE,
        }
    }
}

impl From<PgLogError> for Failure {
    fn from(error: PgLogError) -> Self {
        Self {
            status: if error.is_unreachable() {
                UNREACHABLE
            } else {
                WRONG_USE
            },
            message: in_one_line(&error),
        }
    }
}

impl From<SqliteLogError> for Failure {
    fn from(error: SqliteLogError) -> Self {
        Self {
            status: match error {
                SqliteLogError::Open { .. }
                | SqliteLogError::FileGone { .. }
                | SqliteLogError::Busy(_) => UNREACHABLE,
                _ => WRONG_USE,
            },
            message: in_one_line(&error),
        }
    }
}

/// Returns an error and its causes as one line.
pub(crate) fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string().replace('\n', " ")
}

/// Installs the triggers, on either engine.
enum Installer {
    Postgres(postgres::Installer),
    Sqlite(sqlite::Installer),
}

impl Installer {
    async fn connect(url: &str) -> Result<Self, Failure> {
        Ok(if url.starts_with("sqlite:") {
            Self::Sqlite(sqlite::Installer::open(url).await?)
        } else {
            Self::Postgres(postgres::Installer::connect(url).await?)
        })
    }

    async fn install(&mut self, wake: Wake) -> Result<Installed, Failure> {
        let schemas = schemas();
        match self {
            Self::Postgres(installer) => {
                Ok(installer.install(&schemas, InstallOptions { wake }).await?)
            }
            Self::Sqlite(_) if wake != Wake::Poll => Err(Failure::wrong_use(
                "--notify needs a PostgreSQL database: nodes check a SQLite file by themselves",
            )),
            Self::Sqlite(installer) => Ok(installer.install(&schemas).await?),
        }
    }

    async fn remove(&mut self) -> Result<Vec<String>, Failure> {
        Ok(match self {
            Self::Postgres(installer) => installer.remove().await?,
            Self::Sqlite(installer) => installer.remove().await?,
        })
    }

    async fn status(&mut self) -> Result<Status, Failure> {
        let schemas = schemas();
        Ok(match self {
            Self::Postgres(installer) => installer.status(&schemas).await?,
            Self::Sqlite(installer) => installer.status(&schemas).await?,
        })
    }
}

/// Returns the command, for the command line.
pub(crate) fn command() -> Command {
    let output = Arg::new("output")
        .long("output")
        .value_parser(PossibleValuesParser::new(["table", "json"]))
        .default_value("table")
        .help("A table, or one JSON object per line");

    let notify = Arg::new("notify")
        .long("notify")
        .action(ArgAction::SetTrue)
        .help("Lets the triggers wake the nodes: costs up to half of the commits per second, and PREPARE TRANSACTION fails");
    let force = Arg::new("force")
        .long("force")
        .action(ArgAction::SetTrue)
        .requires("notify")
        .help("Allows --notify even if prepared transactions are in use");

    Command::new("capture")
        .about("Manages the triggers that record the writes of other programs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(database_option())
        .subcommand(
            Command::new("install")
                .about("Installs the triggers; leaves correct ones alone")
                .args([notify, force]),
        )
        .subcommand(
            Command::new("remove")
                .about("Removes the triggers; refused while a node runs on the database"),
        )
        .subcommand(
            Command::new("status")
                .about("Shows what is recorded; exits with 1 if writes would be missed")
                .arg(output),
        )
}

/// Returns the option that names the database.
pub(crate) fn database_option() -> Arg {
    Arg::new("database")
        .long("database")
        .value_name("URL")
        .help("The database: postgres://USER@HOST:PORT/DATABASE or sqlite://PATH")
        .long_help(
            "The database: postgres://USER@HOST:PORT/DATABASE or sqlite://PATH.\n\nAlso TIDINGS_DATABASE, or a file named by \
             TIDINGS_DATABASE_FILE",
        )
        .global(true)
}

/// Returns the entities of the program.
pub(crate) fn schemas() -> Vec<&'static Schema> {
    vec![
        Consumer::schema(),
        KeyAuthCredential::schema(),
        Acl::schema(),
    ]
}

/// Returns the database's address from the flag, the variable or the file that a variable names, or
/// an error that says what is wrong with them.
pub(crate) fn database(matches: &ArgMatches) -> Result<String, String> {
    if let Some(url) = matches.get_one::<String>("database") {
        return Ok(url.clone());
    }
    if let Ok(url) = std::env::var("TIDINGS_DATABASE") {
        return Ok(url);
    }

    let Some(file) = std::env::var_os("TIDINGS_DATABASE_FILE").map(PathBuf::from) else {
        let expected = "expected postgres://USER@HOST:PORT/DATABASE or sqlite://PATH";
        return Err(format!("--database is missing: {expected}"));
    };
    let read = std::fs::read_to_string(&file);
    let read = read.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}

fn run_on_database(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::wrong_use("expected install, remove or status"));
    };

    let url = database(matches).map_err(Failure::wrong_use)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::wrong_use(error.to_string()))?;
    runtime.block_on(async {
        let mut installer = Installer::connect(&url).await?;
        match name {
            "install" => install(&mut installer, matches).await,
            "remove" => remove(&mut installer).await,
            _ => status(&mut installer, matches).await,
        }
    })
}

async fn install(installer: &mut Installer, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let wake = match (matches.get_flag("notify"), matches.get_flag("force")) {
        (true, true) => Wake::NotifyAtAnyPrice,
        (true, false) => Wake::Notify,
        (false, _) => Wake::Poll,
    };
    let installed = installer.install(wake).await?;

    let mut text = String::new();
    for table in &installed.changed {
        text.push_str(&format!("{table}: installed\n"));
    }
    for table in &installed.unchanged {
        text.push_str(&format!("{table}: in place\n"));
    }
    print(&text);

    if wake != Wake::Poll {
        let _ = writeln!(
            io::stderr(),
            "tidings: every captured write now notifies: commits go through one lock, and PREPARE TRANSACTION fails after \
             such a write"
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(installer: &mut Installer) -> Result<ExitCode, Failure> {
    let tables = installer.remove().await?;
    let lines = tables.iter().map(|table| format!("{table}: removed\n"));
    print(&lines.collect::<String>());
    Ok(ExitCode::SUCCESS)
}

async fn status(installer: &mut Installer, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let status = installer.status().await?;
    let json = matches
        .get_one::<String>("output")
        .is_some_and(|output| output == "json");
    if json {
        print(&as_json(&status));
    } else {
        print(&status.to_string());
    }

    Ok(if status.is_in_place() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(MISSED)
    })
}

fn as_json(status: &Status) -> String {
    let lines = status.tables.iter().map(|table| {
        let line = serde_json::json!({
            "entity": table.entity,
            "table": table.table,
            "captured": table.problems.is_empty(),
            "missed": table.problems,
            "notify": status.notify,
        });
        format!("{line}\n")
    });
    lines.collect()
}

/// Writes to standard output; a reader that has gone is no reason to fail.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
