//! `tidings audit`: compares a node's cached entries with the rows of its database, for a given
//! time.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::Value as Json;

use super::{
    ended::{Ended, Failure, notice},
    output::{Cell, Form, Paint, Tone},
    session::Session,
    words::{said, seconds},
};
use crate::settings::span;

const FOR: &str = "for";

pub(super) fn command() -> Command {
    Command::new("audit")
        .about("Compares cached entries with their rows; exits with 1 if one is wrong for longer than the bound")
        .arg(
            Arg::new(FOR)
                .long(FOR)
                .value_name("TIME")
                .value_parser(span)
                .default_value("10s")
                .help("How long the audit runs, from 1s to 10m"),
        )
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let time = matches.get_one::<Duration>(FOR).copied();
    let time = time.unwrap_or(Duration::from_secs(10));
    let path = caller.path(&["audit"]);
    let path = format!("{path}?for={}ms", time.as_millis());
    let found = caller.ask(Method::POST, &path, None, time).await?;
    let found = found.successful()?.body;

    let written = match output.form {
        Form::Json => output.json(&found),
        Form::Table => output.write(&table(&found, output.paint)),
    };

    if found["checked"] == 0 {
        notice(
            "nothing was compared: no value that the node has cached could be checked in this time",
        );
    }

    Ended::well_if(is_within_bound(&found)).after(written)
}

/// Returns whether the oldest inconsistency is within the node's bound; without a bound there must
/// be none.
fn is_within_bound(found: &Json) -> bool {
    let Some(oldest) = found["oldest_seconds"].as_f64() else {
        return found["inconsistent"] == 0;
    };
    let bound = found["bound_seconds"].as_f64();
    bound.is_some_and(|bound| oldest <= bound)
}

fn table(found: &Json, paint: Paint) -> String {
    let is_clean = found["inconsistent"] == 0;
    let tone = match (is_clean, is_within_bound(found)) {
        (true, _) => Tone::Good,
        (false, true) => Tone::Warning,
        (false, false) => Tone::Bad,
    };
    let plain = |text: String| vec![Cell::plain(text)];
    let share = found["per_million"].as_f64().unwrap_or_default();
    let wrong = format!("{} ({share:.0} per million)", said(&found["inconsistent"]));
    let bound = match &found["bound_seconds"] {
        Json::Null => "none".to_owned(),
        bound => seconds(bound),
    };
    paint.facts(&[
        ("checked", plain(said(&found["checked"]))),
        ("inconsistent", vec![Cell::new(wrong, tone)]),
        ("oldest", plain(seconds(&found["oldest_seconds"]))),
        ("bound", plain(bound)),
        ("skipped", plain(said(&found["skipped"]))),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(inconsistent: u64, oldest: Option<f64>, bound: Option<f64>) -> Json {
        json!({
            "checked": 4_000, "inconsistent": inconsistent,
            "per_million": inconsistent as f64 * 250.0,
            "oldest_seconds": oldest, "bound_seconds": bound, "skipped": 2,
        })
    }

    #[test]
    fn an_inconsistency_is_a_no_unless_it_is_within_the_bound() {
        for (found, well) in [
            (found(0, None, None), true),
            (found(0, None, Some(1.0)), true),
            (found(1, Some(0.5), None), false),
            (found(1, Some(1.0), Some(1.0)), true),
            (found(1, Some(1.5), Some(1.0)), false),
            (json!({}), false),
        ] {
            assert_eq!(is_within_bound(&found), well, "{found}");
        }
    }

    #[test]
    fn what_was_found_is_said_in_five_lines() {
        let text = table(&found(2, Some(90.25), Some(1.0)), Paint::Plain);
        let expected = "checked       4000\n\
                        inconsistent  2 (500 per million)\n\
                        oldest        90.2s\n\
                        bound         1.0s\n\
                        skipped       2\n";
        assert_eq!(text, expected);
        let text = table(&found(0, None, None), Paint::Plain);
        assert!(
            text.contains("oldest        -\nbound         none\n"),
            "{text}"
        );
    }
}
