//! `tidings cluster`: the cluster as one node sees it, on one screen.

use clap::{ArgMatches, Command};
use serde_json::Value as Json;

use super::{
    ended::{Ended, Failure},
    output::{Cell, Paint, Tone},
    session::Session,
    watch,
    words::{said, seconds},
};

pub(super) fn command() -> Command {
    watch::command(
        "cluster",
        "Shows the cluster as a node sees it; exits with 1 if a member is not live",
    )
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    watch::show(&session, &matches, "cluster", screen).await
}

fn screen(cluster: &Json, paint: Paint) -> (String, Ended) {
    let fresh = if cluster["fresh"] == true {
        Cell::new("yes", Tone::Good)
    } else {
        Cell::new("not proven", Tone::Warning)
    };
    let state = [watch::state(cluster)];
    let state = state.into_iter().chain(watch::reason(cluster)).collect();
    let wake_ups = watch::wake_ups(cluster);
    let wake_ups = wake_ups.unwrap_or_else(|| Cell::plain("-"));
    let mut text = paint.facts(&[
        ("cluster", vec![Cell::plain(said(&cluster["cluster"]))]),
        ("engine", vec![Cell::plain(said(&cluster["engine"]))]),
        ("seen by", vec![Cell::plain(said(&cluster["node_id"]))]),
        ("state", state),
        ("position", vec![Cell::plain(said(&cluster["position"]))]),
        ("behind", vec![Cell::plain(behind(&cluster["lag"]))]),
        ("fresh", vec![fresh]),
        ("wake-ups", vec![wake_ups]),
        ("gaps", vec![gaps(&cluster["gaps"])]),
    ]);

    let members = cluster["members"].as_array().map_or(&[][..], Vec::as_slice);
    if !members.is_empty() {
        text.push('\n');
        let names = ["node", "state", "position", "lag", "bound", "reason"];
        let rows: Vec<_> = members.iter().map(member).collect();
        text.push_str(&paint.table(&names, &rows));
    }

    // Only a node that runs alone has no members; any other node that shows none could not read
    // them.
    let state = said(&cluster["state"]);
    let hears = !matches!(state.as_str(), "disconnected" | "capture");
    let all_live = members.iter().all(|member| member["state"] == "live");
    let is_well = state == "alone" || hears && all_live && !members.is_empty();
    (text, Ended::well_if(is_well))
}

fn member(member: &Json) -> Vec<Cell> {
    let state = said(&member["state"]);
    let tone = match state.as_str() {
        "live" => Tone::Good,
        "late" => Tone::Warning,
        _ => Tone::Bad,
    };
    // What a member reported last says nothing of how far behind it is once it is silent.
    let lag = match state.as_str() {
        "live" => seconds(&member["lag_seconds"]),
        _ => "-".to_owned(),
    };
    vec![
        Cell::plain(said(&member["node_id"])),
        Cell::new(&state, tone),
        Cell::plain(said(&member["position"])),
        Cell::plain(lag),
        Cell::plain(seconds(&member["max_staleness"])),
        Cell::plain(said(&member["reason"])),
    ]
}

fn behind(lag: &Json) -> String {
    let records = lag["records"].as_u64().unwrap_or(0);
    format!("{records} records, {}", seconds(&lag["seconds"]))
}

fn gaps(gaps: &Json) -> Cell {
    let total = gaps["total"].as_u64().unwrap_or(0);
    let by_reason = gaps["by_reason"].as_object();
    let reasons = by_reason.into_iter().flatten();
    let reasons = reasons.map(|(reason, count)| format!("{count} {reason}"));

    match total {
        0 => Cell::plain("0"),
        total => {
            let reasons = reasons.collect::<Vec<_>>().join(", ");
            Cell::new(format!("{total} ({reasons})"), Tone::Warning)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_is_late_is_no_for_an_answer() {
        let cluster = json!({
            "state": "connected", "fresh": true, "lag": {"records": 0, "seconds": 0.0},
            "gaps": {"total": 2, "by_reason": {"epoch": 2}},
            "members": [
                {"node_id": "a", "state": "live", "lag_seconds": 0.0014},
                {"node_id": "b", "state": "late", "lag_seconds": 0.002, "reason": "it did not report in time"},
            ],
        });
        let (text, ended) = screen(&cluster, Paint::Plain);
        assert_eq!(ended, Ended::WithNo);
        assert!(text.contains("gaps      2 (2 epoch)\n"), "{text}");
        assert!(text.contains("a     live   -         1.4ms"), "{text}");
        assert!(text.contains("b     late   -         -"), "{text}");
        assert!(text.contains("it did not report in time"), "{text}");
    }
}
