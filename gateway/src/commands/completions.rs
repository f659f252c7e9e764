//! `tidings completions`: scripts that let a shell complete command lines of this program.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use clap_complete::Shell;

use super::{
    ended::{Ended, Failure},
    output::{Form, Output},
};

const SHELL: &str = "SHELL";

pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Prints a completion script for a shell")
        .long_about(
            "Prints a completion script for a shell.\n\n  \
             bash: tidings completions bash > ~/.local/share/bash-completion/completions/tidings\n  \
             zsh:  tidings completions zsh > \"${fpath[1]}/_tidings\"\n  \
             fish: tidings completions fish > ~/.config/fish/completions/tidings.fish",
        )
        .arg(
            Arg::new(SHELL)
                .required(true)
                .value_parser(PossibleValuesParser::new(["bash", "zsh", "fish"]))
                .help("The shell"),
        )
}

/// Prints the script for a whole command line.
pub(super) fn run(matches: &ArgMatches, mut whole: Command) -> ExitCode {
    let shell = matches.get_one::<String>(SHELL);
    let Some(shell) = shell.and_then(|shell| shell.parse::<Shell>().ok()) else {
        return Failure::wrong_use("expected bash, zsh or fish").report();
    };

    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, "tidings", &mut script);
    let script = String::from_utf8_lossy(&script);
    match Output::new(Form::Table).write(&script) {
        Ok(()) => Ended::Well.status(),
        Err(failure) => failure.report(),
    }
}
