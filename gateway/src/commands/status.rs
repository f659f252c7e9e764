//! `tidings status`: shows the state of one node.

use clap::{ArgMatches, Command};
use serde_json::Value as Json;

use super::{
    ended::{Ended, Failure},
    output::{Cell, Paint, Tone},
    session::Session,
    watch,
    words::{said, spoken},
};

pub(super) fn command() -> Command {
    watch::command(
        "status",
        "Shows the state of a node: its database, its cluster, its cache",
    )
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    watch::show(&session, &matches, "status", screen).await
}

fn screen(status: &Json, paint: Paint) -> (String, Ended) {
    let database = &status["database"];
    let is_reachable = database["reachable"] == true;
    let tone = if is_reachable { Tone::Good } else { Tone::Bad };
    let engine = match &database["engine"] {
        Json::String(engine) => format!(" ({engine})"),
        _ => String::new(),
    };

    let text = paint.facts(&[
        ("node", vec![Cell::plain(said(&status["node_id"]))]),
        ("version", vec![Cell::plain(said(&status["version"]))]),
        ("up", vec![Cell::plain(spoken(&status["uptime"]))]),
        ("workers", vec![Cell::plain(workers(&status["workers"]))]),
        (
            "database",
            vec![
                Cell::new(said(&database["state"]), tone),
                Cell::plain(engine),
            ],
        ),
        ("cluster", cluster(&status["cluster"])),
        ("cache", vec![Cell::plain(cache(&status["cache"]))]),
        ("hits", vec![Cell::plain(hits(&status["cache"]))]),
    ]);
    (text, Ended::well_if(is_reachable))
}

fn cluster(cluster: &Json) -> Vec<Cell> {
    let mut cells = vec![watch::state(cluster)];
    if cluster["mode"] != "none" {
        let (mode, name) = (said(&cluster["mode"]), said(&cluster["name"]));
        cells.push(Cell::plain(format!(" ({mode}, {name})")));
        cells.extend(watch::reason(cluster));
        if cluster["fresh"] == false {
            cells.push(Cell::new(", not proven to be fresh", Tone::Warning));
        }
        if cluster["wake_ups"]["state"] == "lost" {
            cells.push(Cell::new(", not woken by others", Tone::Warning));
        }
    }

    cells
}

fn workers(workers: &Json) -> String {
    workers.as_array().map_or(0, Vec::len).to_string()
}

fn cache(cache: &Json) -> String {
    let number = |name: &str| cache[name].as_u64().unwrap_or(0);
    format!(
        "{} of {}, {} values, {} absences, {} invalidations, {} purges",
        bytes(number("bytes")),
        bytes(number("capacity")),
        number("entries"),
        number("absences"),
        number("invalidations"),
        number("purges"),
    )
}

fn hits(cache: &Json) -> String {
    let number = |name: &str| cache[name].as_u64().unwrap_or(0);
    let hits = number("l1_hits") + number("l2_hits") + number("absence_hits");
    let asked = hits + number("misses");
    let share = match asked {
        0 => "none asked yet".to_owned(),
        asked => {
            let thousandths = u128::from(hits) * 1_000 / u128::from(asked);
            format!("{}.{} % of {asked}", thousandths / 10, thousandths % 10)
        }
    };
    let (loads, errors) = (number("loads"), number("load_errors"));
    format!("{share}, {loads} loads, {errors} of them failed")
}

fn bytes(bytes: u64) -> String {
    let units = [("g", 30), ("m", 20), ("k", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >= 1 << shift);
    match unit {
        Some((name, shift)) => format!("{}{name}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_have_one_unit() {
        let said = [0, 1 << 10, 128 << 20, 3 << 30].map(bytes);
        assert_eq!(said, ["0 bytes", "1k", "128m", "3g"]);
    }

    #[test]
    fn a_database_that_is_away_is_no_for_an_answer() {
        let status = json!({"database": {"state": "away", "reachable": false}});
        let (text, ended) = screen(&status, Paint::Plain);
        assert!(text.contains("database  away\n"), "{text}");
        assert_eq!(ended, Ended::WithNo);
    }
}
