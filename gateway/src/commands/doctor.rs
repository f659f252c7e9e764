//! `tidings doctor`: probes every member through the log, and shows what does not match.
//!
//! Members are compared with the node that is asked. A clock may be off by a second: no promise
//! depends on the time of day, but the times of rows do.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value as Json, json};

use super::{
    ended::{Ended, Failure},
    output::{Cell, Form, Paint, Tone, harmless},
    session::Session,
    words::{said, seconds, spoken},
};
use crate::settings::span;

const TIMEOUT: &str = "timeout";
/// How far a clock may be off, in seconds.
const CLOCK: f64 = 1.0;

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about(
            "Probes every member through the log; exits with 1 if one is silent or does not match",
        )
        .arg(
            Arg::new(TIMEOUT)
                .long("timeout")
                .value_name("TIME")
                .value_parser(span)
                .default_value("2s")
                .help("How long the members may take to answer"),
        )
}

/// The findings about one member.
#[derive(Debug)]
struct Found {
    node: String,
    /// How many milliseconds it took to answer; `None` if it was silent.
    millis: Option<f64>,
    /// Its row in `/cluster`.
    row: Json,
    problems: Vec<String>,
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let timeout = matches.get_one::<Duration>(TIMEOUT).copied();
    let timeout = timeout.unwrap_or(Duration::from_secs(2));
    let path = caller.path(&["cluster", "probe"]);
    let path = format!("{path}?timeout={}ms", timeout.as_millis());
    let probe = caller.ask(Method::POST, &path, None, timeout).await?;
    let probe = probe.successful()?.body;
    let cluster = caller.get(&caller.path(&["cluster"])).await?.body;
    let found = examine(&probe, &cluster, timeout);

    let text = match output.form {
        Form::Json => {
            let lines = found.iter().map(|found| format!("{}\n", to_json(found)));
            lines.collect::<String>()
        }
        Form::Table => table(&found, output.paint),
    };
    let all_well = !found.is_empty() && found.iter().all(|it| it.problems.is_empty());
    Ended::well_if(all_well).after(output.write(&text))
}

/// Combines the answer to a probe with the members' rows, and notes what is wrong.
fn examine(probe: &Json, cluster: &Json, timeout: Duration) -> Vec<Found> {
    let asked = said(&cluster["node_id"]);
    let members = cluster["members"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |node: &str| members.iter().find(|row| row["node_id"] == node);
    let own = row(&asked).cloned().unwrap_or_default();

    let nodes = probe["nodes"].as_object().into_iter().flatten();
    let found = nodes.map(|(node, millis)| {
        let mut found = Found {
            node: node.clone(),
            millis: millis.as_f64(),
            row: row(node).cloned().unwrap_or_default(),
            problems: Vec::new(),
        };
        if found.millis.is_none() {
            let problem = format!("silent: no sign of life within {timeout:?}");
            found.problems.push(problem);
        }

        if *node == asked && matches!(said(&cluster["state"]).as_str(), "disconnected" | "capture")
        {
            let state = said(&cluster["state"]);
            found.problems.push(format!("its state is {state}"));
        }

        if !found.row.is_null() {
            compare(&mut found, &own, &asked);
        }
        found
    });
    let mut found: Vec<_> = found.collect();

    // A member that the probe does not know was not asked at all.
    for row in members {
        let node = said(&row["node_id"]);
        if !found.iter().any(|it| it.node == node) {
            found.push(Found {
                node,
                millis: None,
                row: row.clone(),
                problems: vec!["silent: it was not asked".to_owned()],
            });
        }
    }

    found
}

/// Notes where a member does not match the node that is asked.
fn compare(found: &mut Found, own: &Json, asked: &str) {
    let (row, problems) = (&found.row, &mut found.problems);
    for (field, what) in [
        ("version", "version"),
        ("retention_seconds", "retention of the log"),
        ("schemas", "schemas"),
    ] {
        match (&row[field], &own[field]) {
            (Json::Null, _) => problems.push(format!("it does not report its {what}")),
            (its, own) if its != own => {
                let (its, own) = (told(its), told(own));
                problems.push(format!("{what}: {its}, and {own} on {asked}"));
            }
            (_, _) => {}
        }
    }

    if let Some(offset) = row["clock_offset_seconds"].as_f64()
        && offset.abs() > CLOCK
    {
        let way = if offset > 0.0 { "ahead of" } else { "behind" };
        let offset = seconds(&offset.abs().into());
        problems.push(format!("clock: {offset} {way} the database's"));
    }
}

/// Formats a fact for people; a number is a time in seconds.
fn told(fact: &Json) -> String {
    match fact.as_f64() {
        Some(seconds) => spoken(&(seconds as u64).into()),
        None => said(fact),
    }
}

fn to_json(found: &Found) -> Json {
    let row = &found.row;
    json!({
        "node": found.node,
        "millis": found.millis,
        "state": row["state"],
        "version": row["version"],
        "retention_seconds": row["retention_seconds"],
        "schemas": row["schemas"],
        "clock_offset_seconds": row["clock_offset_seconds"],
        "problems": found.problems,
    })
}

fn table(found: &[Found], paint: Paint) -> String {
    let names = [
        "node",
        "answered",
        "version",
        "retention",
        "schemas",
        "clock",
        "verdict",
    ];
    let rows: Vec<_> = found.iter().map(cells).collect();
    let mut text = paint.table(&names, &rows);
    for found in found {
        for problem in &found.problems {
            let line = harmless(&format!("{}: {problem}", found.node));
            text.push_str(&paint.word(&line, Tone::Bad));
            text.push('\n');
        }
    }

    text
}

fn cells(found: &Found) -> Vec<Cell> {
    let row = &found.row;
    let answered = match found.millis {
        Some(millis) => Cell::plain(format!("{millis:.1}ms")),
        None => Cell::new("silent", Tone::Bad),
    };
    let clock = match row["clock_offset_seconds"].as_f64() {
        Some(offset) if offset < 0.0 => format!("-{}", seconds(&(-offset).into())),
        Some(offset) => format!("+{}", seconds(&offset.into())),
        None => "-".to_owned(),
    };
    let verdict = match found.problems.len() {
        0 => Cell::new("well", Tone::Good),
        1 => Cell::new("1 problem", Tone::Bad),
        problems => Cell::new(format!("{problems} problems"), Tone::Bad),
    };
    vec![
        Cell::plain(&found.node),
        answered,
        Cell::plain(said(&row["version"])),
        Cell::plain(told(&row["retention_seconds"])),
        Cell::plain(said(&row["schemas"])),
        Cell::plain(clock),
        verdict,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: &str) -> Json {
        json!({
            "node_id": node, "state": "live", "version": "0.1.0", "retention_seconds": 3600.0,
            "schemas": "0123", "clock_offset_seconds": 0.002,
        })
    }

    fn problems(change: impl FnOnce(&mut Json, &mut Json)) -> Vec<String> {
        let mut probe = json!({"nodes": {"a": 1.4, "b": 2.0}});
        let mut cluster = json!({
            "node_id": "a", "state": "connected", "members": [member("a"), member("b")],
        });
        change(&mut probe, &mut cluster);
        let found = examine(&probe, &cluster, Duration::from_secs(2));
        let all = found.into_iter().flat_map(|found| {
            let node = found.node;
            found
                .problems
                .into_iter()
                .map(move |it| format!("{node}: {it}"))
        });
        all.collect()
    }

    #[test]
    fn whatever_does_not_match_is_named() {
        assert_eq!(problems(|_, _| ()), Vec::<String>::new());
        let silent = problems(|probe, _| probe["nodes"]["b"] = Json::Null);
        assert_eq!(silent, ["b: silent: no sign of life within 2s"]);
        let capture = problems(|_, cluster| cluster["state"] = "capture".into());
        assert_eq!(capture, ["a: its state is capture"]);

        for (field, value, expected) in [
            (
                "version",
                json!("0.0.9"),
                "b: version: 0.0.9, and 0.1.0 on a",
            ),
            (
                "retention_seconds",
                json!(60.0),
                "b: retention of the log: 1m 0s, and 1h 0m on a",
            ),
            ("schemas", json!("4567"), "b: schemas: 4567, and 0123 on a"),
            ("schemas", Json::Null, "b: it does not report its schemas"),
            (
                "clock_offset_seconds",
                json!(-7.25),
                "b: clock: 7.2s behind the database's",
            ),
            (
                "clock_offset_seconds",
                json!(3600.0),
                "b: clock: 3600.0s ahead of the database's",
            ),
        ] {
            let found = problems(|_, cluster| cluster["members"][1][field] = value.clone());
            assert_eq!(found, [expected], "{field} {value}");
        }
    }

    #[test]
    fn a_node_alone_is_compared_with_no_one() {
        let probe = json!({"nodes": {"a": 0.3}});
        let cluster = json!({"node_id": "a", "state": "alone", "members": []});
        let found = examine(&probe, &cluster, Duration::from_secs(2));
        assert_eq!(found.len(), 1);
        assert!(found[0].problems.is_empty(), "{found:?}");
        assert!(table(&found, Paint::Plain).contains("a     0.3ms"));
    }
}
