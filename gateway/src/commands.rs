//! The commands of the program besides `serve`. Most talk to the admin side of a running node.
//!
//! A command prints its result on standard output, as a table or as JSON, and an error as one line
//! on standard error. Its exit status is 0 for success; 1 if the answer is no (not confirmed, a
//! silent node, not found); 2 for wrong use; 3 if it cannot reach the node, or the node cannot
//! reach its database. Every wait has a limit, except where the user asks for none (`--watch`,
//! `tail`).
//!
//! To add a command, write its file and add a line to [`COMMANDS`].

// The order of these lines is the order of the layers, lowest first.
// How a command ends.
mod ended;
// Values and times in words.
mod words;
// Output: tables, JSON, colours.
mod output;
// Server-sent events, parsed from the bytes of a stream.
mod sse;
// Requests to the admin side of a node.
mod client;
// Options and answers that the commands that ask a node share.
mod session;
// A view that is refreshed.
mod watch;
// Lists and explanations of what is cached; a part of `cache`.
mod cached;
// The commands, each in a file.
mod audit;
mod cache;
mod cluster;
mod doctor;
mod keys;
mod status;
mod tail;
// Completion scripts for shells; made from all other commands.
mod completions;

use std::{ffi::OsString, future::Future, pin::Pin, process::ExitCode};

use clap::{ArgMatches, Command};

use self::{
    ended::{Ended, Failure},
    session::Session,
};
use crate::{Settings, capture, migrate, settings::Environment};

/// One command.
struct Entry {
    command: fn() -> Command,
    run: Run,
}

/// How a command runs.
enum Run {
    /// By itself.
    Alone(fn(&ArgMatches) -> ExitCode),
    /// By asking a node.
    Asking(fn(Session, ArgMatches) -> Asking),
}

type Asking = Pin<Box<dyn Future<Output = Result<Ended, Failure>>>>;

/// All of them, in the order of the help.
const COMMANDS: &[Entry] = &[
    Entry {
        command: status::command,
        run: Run::Asking(|session, matches| Box::pin(status::run(session, matches))),
    },
    Entry {
        command: cluster::command,
        run: Run::Asking(|session, matches| Box::pin(cluster::run(session, matches))),
    },
    Entry {
        command: keys::command,
        run: Run::Asking(|session, matches| Box::pin(keys::run(session, matches))),
    },
    Entry {
        command: tail::command,
        run: Run::Asking(|session, matches| Box::pin(tail::run(session, matches))),
    },
    Entry {
        command: cache::command,
        run: Run::Asking(|session, matches| Box::pin(cache::run(session, matches))),
    },
    Entry {
        command: doctor::command,
        run: Run::Asking(|session, matches| Box::pin(doctor::run(session, matches))),
    },
    Entry {
        command: audit::command,
        run: Run::Asking(|session, matches| Box::pin(audit::run(session, matches))),
    },
    Entry {
        command: migrate::command,
        run: Run::Alone(migrate::run),
    },
    Entry {
        command: capture::command,
        run: Run::Alone(capture::run),
    },
    Entry {
        command: completions::command,
        run: Run::Alone(|matches| completions::run(matches, whole())),
    },
];

/// Runs the command that the arguments name, and returns the program's exit status; `None` if they
/// name no command, or `serve`.
#[must_use]
pub fn command(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let arguments = Settings::arguments(arguments);
    let matches = match whole().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return Some(ended::usage(&error)),
    };
    let (name, flags) = matches.subcommand()?;
    let mut commands = COMMANDS.iter();
    let entry = commands.find(|entry| (entry.command)().get_name() == name)?;

    if let Some(misplaced) = misplaced(&arguments, name) {
        return Some(Failure::wrong_use(misplaced).report());
    }
    Some(match entry.run {
        Run::Alone(run) => run(flags),
        Run::Asking(run) => ask(run, &matches, flags),
    })
}

/// Returns the command line with all commands.
fn whole() -> Command {
    let commands = COMMANDS.iter().map(|entry| match entry.run {
        Run::Alone(_) => (entry.command)(),
        Run::Asking(_) => session::with_options((entry.command)()),
    });
    Settings::command().subcommands(commands)
}

/// Returns the message about an option of `serve` that precedes another command, which would ignore
/// it. (The parser does not say where an option was if the command has one of the same name.)
fn misplaced(arguments: &[OsString], command: &str) -> Option<String> {
    let words = arguments.iter().skip(1).map(|it| it.to_string_lossy());
    let mut before = words.take_while(|word| word != command);
    let name = before.find_map(|word| {
        let option = word.strip_prefix("--")?.split('=').next()?;
        Settings::names().find(|name| *name != session::TOKEN && *name == option)
    })?;
    Some(format!(
        "--{name} is an option of serve: `tidings {command}` does not take it"
    ))
}

fn ask(
    run: fn(Session, ArgMatches) -> Asking,
    matches: &ArgMatches,
    flags: &ArgMatches,
) -> ExitCode {
    // The innermost command has the options, and those in front of it count too.
    let mut all = vec![matches, flags];
    while let Some((_, inner)) = all.last().and_then(|last| last.subcommand()) {
        all.push(inner);
    }

    all.reverse();
    let session = match Session::new(all, &Environment::of_process()) {
        Ok(session) => session,
        Err(error) => return ExitCode::from(error.report()),
    };

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(session, flags.clone())),
        Err(error) => Err(Failure::unreachable(format!("no runtime: {error}"))),
    };

    match ended {
        Ok(ended) => ended.status(),
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        whole().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in whole().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
