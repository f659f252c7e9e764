//! `tidings cache`: shows what a node has cached, and evicts it.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::{Method, StatusCode};
use serde_json::json;

use super::{
    cached,
    ended::{Ended, Failure},
    output::{Form, Tone, harmless},
    session::{Confirmation, Session, confirm, confirm_option, word, word_of},
};

const KEY: &str = "A cache key, such as keyauth_credentials:abcd; /schemas/ENTITY/cache-key?FIELD=VALUE on the admin side prints it";

pub(super) fn command() -> Command {
    let cluster = Arg::new("cluster")
        .long("cluster")
        .action(ArgAction::SetTrue)
        .help("Acts on every node [default: on the node that answers]");
    Command::new("cache")
        .about("Shows what a node has cached, and evicts it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("get")
                .about("Shows the value cached under a key; exits with 1 if there is none")
                .arg(word_of("KEY", KEY).required(true)),
        )
        .subcommand(
            Command::new("explain")
                .about("Shows why a key holds its value: its loads, its invalidations and their causes")
                .arg(word_of("KEY", KEY).required(true)),
        )
        .subcommand(
            Command::new("list")
                .about("Lists the cached keys, without values; secret parts of keys are masked")
                .arg(word_of("ENTITY", "Only keys of this entity")),
        )
        .subcommand(
            Command::new("evict")
                .about("Evicts a key")
                .arg(word_of("KEY", KEY).required(true))
                .args([cluster.clone(), confirm_option()]),
        )
        .subcommand(
            Command::new("purge")
                .about("Evicts everything")
                .args([cluster, confirm_option()]),
        )
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    let caller = &session.caller;
    match matches.subcommand() {
        Some(("get", matches)) => {
            let path = caller.path(&["cache", word(matches, "KEY")?]);
            get(&session, &path).await
        }
        Some(("explain", matches)) => {
            let path = caller.path(&["cache", word(matches, "KEY")?, "explain"]);
            cached::explain(&session, &path).await
        }
        Some(("list", matches)) => {
            let entity = matches.get_one::<String>("ENTITY");
            cached::list(&session, entity.map(String::as_str)).await
        }
        Some(("evict", matches)) => {
            let path = caller.path(&["cache", word(matches, "KEY")?]);
            forget(&session, matches, path, "evicted").await
        }
        Some(("purge", matches)) => {
            let path = caller.path(&["cache"]);
            forget(&session, matches, path, "purged").await
        }
        Some(_) | None => Err(Failure::wrong_use(
            "expected get, explain, list, evict or purge",
        )),
    }
}

async fn get(session: &Session, path: &str) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let answer = caller.ask(Method::GET, path, None, Duration::ZERO).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(Failure::refused("nothing is cached under this key"));
    }

    let value = answer.successful()?.body;
    match output.form {
        Form::Json => output.json(&value)?,
        Form::Table if value == json!({}) => output.write("an absence is cached\n")?,
        Form::Table => {
            let lines = format!("{value:#}");
            let lines = lines.lines().map(|line| harmless(line) + "\n");
            output.write(&lines.collect::<String>())?;
        }
    }

    Ok(Ended::Well)
}

async fn forget(
    session: &Session,
    matches: &ArgMatches,
    path: String,
    done: &str,
) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let confirm = confirm(matches);

    // Only an eviction on every node can be confirmed.
    let everywhere = matches.get_flag("cluster") || confirm.is_some();
    let query = match (everywhere, confirm) {
        (_, Some(confirm)) => format!("?cluster=true&confirm={}ms", confirm.as_millis()),
        (true, None) => "?cluster=true".to_owned(),
        (false, None) => String::new(),
    };
    let path = path + &query;
    let answer = caller.ask(Method::DELETE, &path, None, confirm.unwrap_or_default());
    let answer = answer.await?.successful()?;
    let confirmation = Confirmation::of(&answer, confirm);

    let written = match output.form {
        Form::Json => {
            let (confirmed, unconfirmed) = confirmation.to_json();
            output.json(&json!({
                "done": done, "cluster": everywhere, "confirmed": confirmed,
                "unconfirmed": unconfirmed, "position": answer.header("x-tidings-position"),
            }))
        }
        Form::Table => {
            let node = answer.header("x-tidings-node").unwrap_or("this node");
            let (told, tone) = match &confirmation {
                Confirmation::Everywhere => (format!("{done} on every node"), Tone::Good),
                Confirmation::Except(nodes) => {
                    let nodes = nodes.join(", ");
                    (format!("{done}; not confirmed by {nodes}"), Tone::Bad)
                }
                Confirmation::NotAsked if everywhere => (
                    format!(
                        "{done} on {node}, and on every other node as soon as it reads the log"
                    ),
                    Tone::Plain,
                ),
                Confirmation::NotAsked => (format!("{done} on {node}"), Tone::Plain),
            };
            output.write(&format!("{}\n", output.paint.word(&harmless(&told), tone)))
        }
    };

    let is_confirmed = !matches!(confirmation, Confirmation::Except(_));
    Ended::well_if(is_confirmed).after(written)
}
