//! The command line of `serve`, made from the rows of options, and the parts that other commands
//! use.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::row::{Heading, Row};

/// Builds the command line of a program that only serves: the options come before or after the word
/// `serve`, which can be left out.
pub(super) fn command(table: &[Row]) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("A TOML file with these options as keys (without the dashes in front)")
        .long_help("A TOML file with these options as keys (without the dashes in front).\n\nAlso TIDINGS_CONFIG")
        .value_parser(clap::value_parser!(OsString));
    let serve = Command::new("serve")
        .about("Runs the gateway; the default command")
        .arg(config.clone())
        .args(table.iter().map(arg));
    Command::new("tidings")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A gateway that checks API keys through a cache that stays coherent")
        .after_help(
            "Each option is also an environment variable (--proxy-listen is TIDINGS_PROXY_LISTEN) and a key of the \
             --config file.\nA flag overrides its variable, the variable overrides the file, and the file overrides the \
             default. SIGHUP reads the\nfile again and applies log, allow-groups and key-names.\n\n\
             Fixed limits: after a refusal, up to 256k of the request's body are read, for up to 5s. A connection that \
             closes with\nunread data is read for up to 2s more. Each worker keeps 128 idle connections to the upstream, \
             for 30s each. 1024 log\nlines are queued, and one place in the source writes at most 20 lines in 10s (except \
             for writes of the admin API).",
        )
        .arg(config)
        .args(table.iter().map(arg))
        .subcommand(serve)
}

/// Returns the options of one command, by rows.
pub(super) fn options(table: &[Row]) -> Vec<Arg> {
    table.iter().map(arg).collect()
}

fn arg(row: &Row) -> Arg {
    // The text is that of the field's documentation, as it is written in the source.
    let text = row.help.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches('.').replace('`', "");
    let help = format!("{text} [default: {}]", row.default_shown());

    let mut long = format!(
        "{help}\n\nAllowed: {}. Also {}",
        row.allowed(),
        row.variable()
    );
    if let Some(variable) = row.file_variable() {
        long.push_str(&format!(", or a file named by {variable}"));
    }

    let arg = Arg::new(row.name)
        .long(row.name)
        .help(help)
        .long_help(long)
        .help_heading(match row.heading {
            Heading::Common => "Options",
            Heading::Advanced => "Advanced options",
        })
        .value_parser(clap::value_parser!(OsString))
        .allow_hyphen_values(false)
        .action(ArgAction::Set);

    match row.value {
        Some(value) => arg.value_name(value),
        None => arg
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// Joins `--name -1` into `--name=-1`, so that the refusal names the option and what is allowed,
/// where clap would take `-1` for a flag and say nothing of either.
pub(super) fn with_negative_values<A>(args: A, table: &[Row]) -> Vec<OsString>
where
    A: IntoIterator,
    A::Item: Into<OsString>,
{
    let mut joined: Vec<OsString> = Vec::new();
    for arg in args {
        let arg = arg.into();
        let negative = arg.to_str().is_some_and(|text| {
            text.strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        });

        let option = joined
            .last_mut()
            .filter(|last| negative && is_flag_of_ours(last, table));

        match option {
            Some(option) => {
                option.push("=");
                option.push(arg);
            }
            None => joined.push(arg),
        }
    }

    joined
}

fn is_flag_of_ours(arg: &OsString, table: &[Row]) -> bool {
    arg.to_str()
        .and_then(|text| text.strip_prefix("--"))
        .is_some_and(|name| table.iter().any(|row| row.name == name))
}
