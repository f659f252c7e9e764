//! `tidings keys`: creates, lists and revokes API keys.
//!
//! A key is shown once, when it is created. Lists mask it, whatever the node answers: other people
//! may see the screen.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::{
    ended::{Ended, Failure},
    output::{Cell, Form, Paint, Tone},
    session::{Confirmation, Session, confirm, confirm_option, word, word_of},
    words::said,
};

/// How many rows a page has.
const PAGE: usize = 1_000;

pub(super) fn command() -> Command {
    let key = Arg::new("key")
        .long("key")
        .value_name("KEY")
        .value_parser(clap::builder::NonEmptyStringValueParser::new())
        .help("The key [default: one that the node generates]");
    let new = Arg::new("new")
        .long("new")
        .action(ArgAction::SetTrue)
        .help("Also creates the consumer, if it does not exist");

    Command::new("keys")
        .about("Creates, lists and revokes API keys")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("create")
                .about("Creates a key for a consumer, and shows it this one time")
                .arg(word_of("CONSUMER", "Its username or id").required(true))
                .args([key, new]),
        )
        .subcommand(
            Command::new("list")
                .about(
                    "Lists the keys of a consumer, or all keys, masked",
                )
                .arg(word_of("CONSUMER", "Its username or id")),
        )
        .subcommand(
            Command::new("revoke")
                .about("Revokes a key; exits with 1 if there is no such key, or if it is not confirmed in time")
                .arg(word_of("KEY", "The key, or its id").required(true))
                .arg(confirm_option()),
        )
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    match matches.subcommand() {
        Some(("create", matches)) => create(&session, matches).await,
        Some(("list", matches)) => list(&session, matches).await,
        Some(("revoke", matches)) => revoke(&session, matches).await,
        Some(_) | None => Err(Failure::wrong_use("expected create, list or revoke")),
    }
}

async fn create(session: &Session, matches: &ArgMatches) -> Result<Ended, Failure> {
    let consumer = word(matches, "CONSUMER")?;
    let caller = &session.caller;
    if matches.get_flag("new") {
        let body = json!({ "username": consumer });
        let path = caller.path(&["consumers"]);
        let made = caller.ask(Method::POST, &path, Some(&body), Duration::ZERO);
        let made = made.await?;
        // A consumer that already exists will do.
        if made.status != StatusCode::CONFLICT {
            made.successful()?;
        }
    }

    let body = match matches.get_one::<String>("key") {
        Some(key) => json!({ "key": key }),
        None => json!({}),
    };
    let path = caller.path(&["consumers", consumer, "key-auth"]);
    let answer = caller.ask(Method::POST, &path, Some(&body), Duration::ZERO);
    let answer = answer.await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(Failure::refused(format!(
            "there is no consumer {consumer:?}: --new creates it"
        )));
    }
    let made = answer.successful()?.body;

    let output = session.output;
    let written = match output.form {
        Form::Json => output.json(&made),
        Form::Table => output.write(&output.paint.facts(&[
            ("key", vec![Cell::plain(said(&made["key"]))]),
            ("id", vec![Cell::plain(said(&made["id"]))]),
            ("consumer", vec![Cell::plain(consumer)]),
        ])),
    };

    // A key that was not shown may never be shown again, so this must not look like a success.
    written.map_err(|_| {
        let id = said(&made["id"]);
        Failure::refused(format!(
            "the key was created but could not be shown; its id is {id}"
        ))
    })?;
    Ok(Ended::Well)
}

async fn list(session: &Session, matches: &ArgMatches) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let consumer = matches.get_one::<String>("CONSUMER");
    let path = match consumer {
        Some(consumer) => caller.path(&["consumers", consumer, "key-auth"]),
        None => caller.path(&["key-auths"]),
    };

    let mut next = Some(format!("{path}?size={PAGE}"));
    let mut is_first = true;
    while let Some(path) = next {
        let answer = caller.ask(Method::GET, &path, None, Duration::ZERO).await?;
        let page = match (answer.status, consumer) {
            (StatusCode::NOT_FOUND, Some(consumer)) => {
                return Err(Failure::refused(format!(
                    "there is no consumer {consumer:?}"
                )));
            }
            _ => answer.successful()?.body,
        };
        let rows = page["data"].as_array().map_or(&[][..], Vec::as_slice);
        let rows: Vec<Json> = rows.iter().map(masked).collect();
        match output.form {
            Form::Json => {
                let lines = rows.iter().map(|row| format!("{row}\n"));
                output.write(&lines.collect::<String>())?;
            }
            Form::Table if rows.is_empty() && is_first => {}
            Form::Table => {
                let table = table(&rows, output.paint);
                let rows_alone = || table.split_once('\n').map_or("", |(_, rows)| rows);
                output.write(if is_first { &table } else { rows_alone() })?;
            }
        }

        is_first = false;
        next = caller.next(&page, &path)?;
    }

    Ok(Ended::Well)
}

/// Returns the table, with the names of its columns in the first line.
fn table(rows: &[Json], paint: Paint) -> String {
    let cells: Vec<_> = rows.iter().map(cells).collect();
    paint.table(&["id", "key", "consumer", "state"], &cells)
}

fn cells(row: &Json) -> Vec<Cell> {
    let state = match (&row["enabled"], &row["expires_at"]) {
        (Json::Bool(false), _) => Cell::new("disabled", Tone::Warning),
        (_, Json::Null) => Cell::new("enabled", Tone::Good),
        (_, until) => Cell::plain(format!("until {until}")),
    };
    vec![
        Cell::plain(format!("{:36}", said(&row["id"]))),
        Cell::plain(format!("{:8}", said(&row["key"]))),
        Cell::plain(format!("{:36}", said(&row["consumer"]["id"]))),
        state,
    ]
}

/// Returns a row with its key masked; of a long key the first characters remain.
fn masked(row: &Json) -> Json {
    let mut row = row.clone();
    if let Some(Json::String(key)) = row.get("key") {
        let shown = match key.chars().count() {
            16.. => key.chars().take(4).collect(),
            _ => String::new(),
        };
        row["key"] = format!("{shown}****").into();
    }
    row
}

async fn revoke(session: &Session, matches: &ArgMatches) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let key = word(matches, "KEY")?;
    let path = caller.path(&["key-auths", key]);
    let found = caller.ask(Method::GET, &path, None, Duration::ZERO).await?;
    let is_there = found.status != StatusCode::NOT_FOUND;
    let id = if is_there {
        found.successful()?.body["id"].clone()
    } else {
        Json::Null
    };

    // A key that does not exist may have been revoked a moment ago; that can be confirmed too.
    let confirm = confirm(matches);
    let asked = confirm.map(|it| format!("?confirm={}ms", it.as_millis()));
    let path = path + &asked.unwrap_or_default();
    let answer = caller.ask(Method::DELETE, &path, None, confirm.unwrap_or_default());
    let answer = answer.await?.successful()?;
    let confirmation = Confirmation::of(&answer, confirm);
    let position = answer.header("x-tidings-position");

    let written = match output.form {
        Form::Json => {
            let (confirmed, unconfirmed) = confirmation.to_json();
            output.json(&json!({
                "revoked": is_there, "id": id, "confirmed": confirmed, "unconfirmed": unconfirmed,
                "position": position,
            }))
        }
        Form::Table => {
            let what = if is_there {
                format!("revoked {}", said(&id))
            } else {
                "there is no such key".to_owned()
            };
            let paint = output.paint;
            let confirmed = match &confirmation {
                Confirmation::NotAsked => String::new(),
                Confirmation::Everywhere => paint.word("; every node refuses it", Tone::Good),
                Confirmation::Except(nodes) => {
                    let nodes = nodes.join(", ");
                    paint.word(&format!("; not confirmed by {nodes}"), Tone::Bad)
                }
            };
            output.write(&format!("{what}{confirmed}\n"))
        }
    };

    let is_confirmed = !matches!(confirmation, Confirmation::Except(_));
    Ended::well_if(is_there && is_confirmed).after(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_key_is_told_by_its_first_characters_only_if_they_give_little_away() {
        let key = |key: &str| said(&masked(&json!({ "key": key }))["key"]);
        assert_eq!(key("0123456789abcdef0123456789abcdef"), "0123****");
        assert_eq!(key("abcd"), "****");
        assert_eq!(masked(&json!({"key": null})), json!({"key": null}));
    }
}
