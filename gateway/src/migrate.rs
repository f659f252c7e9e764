//! `tidings migrate plan | apply`: changes the tables to what this program's entities ask for.
//!
//! Exit status: 0; 1 if `apply` refuses and changes nothing (values would be lost, a running node
//! is in the way, no migration can mend the tables, the database refuses a statement); 2 if the
//! call is wrong; 3 if the database cannot be reached, or fails.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use tidings::store::{Error, Migrations};

use crate::capture::{database, database_option, in_one_line, schemas};

const REFUSED: u8 = 1;
const WRONG_USE: u8 = 2;
const UNREACHABLE: u8 = 3;

pub(crate) fn command() -> Command {
    let allow_loss = Arg::new("allow-loss")
        .long("allow-loss")
        .action(ArgAction::SetTrue)
        .global(true)
        .help("Allows changes that lose values, for example of a removed field");
    let keep = Arg::new("keep")
        .long("keep")
        .value_name("TABLE.COLUMN")
        .action(ArgAction::Append)
        .global(true)
        .help("Keeps a column that the entity does not have, such as another program's; may be repeated");

    Command::new("migrate")
        .about("Brings the tables of a database to the form that this program needs")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args([database_option(), allow_loss, keep])
        .subcommand(
            Command::new("plan").about("Prints the SQL that apply would run, and changes nothing"),
        )
        .subcommand(
            Command::new("apply").about("Makes the changes, all of them or none, and prints them"),
        )
}

/// Runs the command, and returns the program's exit status.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let (status, message) = match migrate(matches) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Use(message)) => (WRONG_USE, message),
        Err(Failure::Store(error)) => (status_of(&error), in_one_line(&error)),
    };
    // A reader that has gone does not change the exit status.
    let _ = writeln!(io::stderr(), "tidings: {message}");
    ExitCode::from(status)
}

/// Why nothing was done.
enum Failure {
    Use(String),
    Store(Error),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Use(message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn migrate(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, flags)) = matches.subcommand() else {
        return Err("expected plan or apply".to_owned().into());
    };

    let mut migrations = schemas()
        .into_iter()
        .fold(Migrations::of(database(flags)?), Migrations::schema);
    for kept in flags.get_many::<String>("keep").into_iter().flatten() {
        let (table, column) = kept
            .split_once('.')
            .ok_or_else(|| format!("--keep {kept}: expected TABLE.COLUMN"))?;
        migrations = migrations.keep_column(table, column);
    }

    if flags.get_flag("allow-loss") {
        migrations = migrations.allow_loss();
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let plan = runtime.block_on(async {
        match name {
            "apply" => Ok(migrations.apply().await?.plan),
            _ => migrations.plan().await,
        }
    })?;

    let mut out = io::stdout().lock();
    let _ = write!(out, "{plan}").and_then(|()| out.flush());
    Ok(())
}

fn status_of(error: &Error) -> u8 {
    match error {
        Error::WouldLose { .. }
        | Error::NodeRuns { .. }
        | Error::Unmendable { .. }
        | Error::Incompatible { .. }
        | Error::Statement { .. } => REFUSED,
        Error::Url { .. } | Error::Unsupported { .. } | Error::Setting { .. } => WRONG_USE,
        _ => UNREACHABLE,
    }
}
