//! [`Session`]: options and answers that the commands that ask a node share.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use serde_json::Value as Json;

use super::{
    client::{Answer, Caller},
    ended::Failure,
    output::{Form, Output},
};
use crate::settings::{Client, Environment, SettingsError, span};

/// The name of the option with the token, which `serve` has too.
pub(super) const TOKEN: &str = "admin-token";
const OUTPUT: &str = "output";
const CONFIRM: &str = "confirm";

/// A client of one node, and where to write its answers.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) output: Output,
}

impl Session {
    /// Makes a session from the command line; the options of the innermost command come first.
    pub(super) fn new(
        flags: Vec<&ArgMatches>,
        environment: &Environment,
    ) -> Result<Self, SettingsError> {
        let mut forms = flags.iter();
        let is_json = forms.any(|flags| {
            let form = flags.try_get_one::<String>(OUTPUT).ok().flatten();
            form.is_some_and(|form| form == "json")
        });
        let client = Client::resolve(flags, environment)?;
        Ok(Self {
            caller: Caller::new(client),
            output: Output::new(if is_json { Form::Json } else { Form::Table }),
        })
    }
}

/// Adds the options that all of these commands have.
pub(super) fn with_options(command: Command) -> Command {
    let output = Arg::new(OUTPUT)
        .long("output")
        .value_name("FORM")
        .value_parser(PossibleValuesParser::new(["table", "json"]))
        .help("The output format: a table, or one JSON object per line [default: table]")
        .hide_possible_values(true);
    let options = Client::options().into_iter().chain([output]);
    let options = options.map(|option| option.global(true).help_heading("Options"));
    command.args(options)
}

/// Makes the option that waits for every node.
pub(super) fn confirm_option() -> Arg {
    Arg::new(CONFIRM)
        .long("confirm")
        .value_name("TIME")
        .value_parser(span)
        .help("Waits until every node has applied the change, at most this long (500ms, 2s, 1m)")
        .long_help(
            "Waits until every node has applied the change, or must have stopped serving the old value, at most this long \
             (500ms, 2s, 1m).\n\nIf it is not confirmed in time, the exit status is 1 and the error names the nodes",
        )
}

/// Returns how long to wait for every node, if that was asked for.
pub(super) fn confirm(matches: &ArgMatches) -> Option<Duration> {
    matches.get_one::<Duration>(CONFIRM).copied()
}

/// Returns a required word of the command line.
pub(super) fn word<'a>(matches: &'a ArgMatches, name: &str) -> Result<&'a str, Failure> {
    let word = matches.get_one::<String>(name);
    // The parser has refused a command line without it.
    let word = word.ok_or_else(|| Failure::wrong_use(format!("{name} is missing")))?;
    Ok(word)
}

/// Makes an argument that is a word, and not empty.
pub(super) fn word_of(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .value_name(name)
        .value_parser(clap::builder::NonEmptyStringValueParser::new())
        .help(help)
}

/// Whether every node has applied a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    NotAsked,
    Everywhere,
    /// All but these.
    Except(Vec<String>),
}

impl Confirmation {
    /// Reads the confirmation from the answer to a write; `within` is the time that it was given,
    /// if it was asked for. An answer that does not mention a confirmation confirms nothing.
    pub(super) fn of(answer: &Answer, within: Option<Duration>) -> Self {
        let silent = answer.body["unconfirmed"].as_array();
        match (answer.header("x-tidings-confirmed"), silent, within) {
            (_, Some(silent), _) => {
                let names = silent.iter().filter_map(Json::as_str);
                Self::Except(names.map(str::to_owned).collect())
            }
            (Some("all"), None, _) => Self::Everywhere,
            (_, None, Some(_)) => Self::Except(vec![
                "the node that was asked (its answer does not say)".into(),
            ]),
            (_, None, None) => Self::NotAsked,
        }
    }

    /// Returns its two fields of the JSON output: whether it is confirmed, and by whom it is not.
    pub(super) fn to_json(&self) -> (Json, Json) {
        match self {
            Self::NotAsked => (Json::Null, Json::Null),
            Self::Everywhere => (true.into(), Vec::<Json>::new().into()),
            Self::Except(silent) => (false.into(), silent.clone().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_to_be_confirmed_and_is_not_spoken_of_is_not_confirmed() {
        let answer = |confirmed: Option<&'static str>, body| {
            let mut headers = HeaderMap::new();
            if let Some(confirmed) = confirmed {
                headers.insert("x-tidings-confirmed", confirmed.parse().expect("a value"));
            }
            let status = StatusCode::OK;
            Answer {
                status,
                headers,
                body,
            }
        };
        let asked = Some(Duration::from_secs(1));
        let silent = answer(None, Json::Null);
        assert_eq!(Confirmation::of(&silent, None), Confirmation::NotAsked);
        let unsaid = Confirmation::of(&silent, asked);
        assert!(matches!(unsaid, Confirmation::Except(_)), "{unsaid:?}");

        let all = answer(Some("all"), Json::Null);
        assert_eq!(Confirmation::of(&all, asked), Confirmation::Everywhere);
        let some = answer(Some("2/3"), json!({"unconfirmed": ["c"]}));
        let except = Confirmation::Except(vec!["c".to_owned()]);
        assert_eq!(Confirmation::of(&some, asked), except);
    }
}
