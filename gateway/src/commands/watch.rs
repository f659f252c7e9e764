//! A view of one answer, shown once or refreshed until the program is stopped.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value as Json;
use tidings::clock::{Clock as _, SystemClock};

use super::{
    ended::{Ended, Failure},
    output::{Cell, Form, Paint, Tone},
    session::Session,
    words::said,
};

const WATCH: &str = "watch";
/// How often a view is refreshed.
const EVERY: Duration = Duration::from_secs(2);
/// Puts the cursor at the top of an empty screen.
const CLEARED: &str = "\x1b[H\x1b[2J";

/// Makes the command of a view, with the option that refreshes it.
pub(super) fn command(name: &'static str, about: &'static str) -> Command {
    let refreshes = Arg::new(WATCH)
        .long("watch")
        .action(ArgAction::SetTrue)
        .help("Refreshes the output every 2 seconds, until you stop it");
    Command::new(name).about(about).arg(refreshes)
}

/// Shows the state of a node in its cluster.
pub(super) fn state(cluster: &Json) -> Cell {
    let state = said(&cluster["state"]);
    let tone = match state.as_str() {
        "connected" => Tone::Good,
        "alone" => Tone::Plain,
        "catching up" => Tone::Warning,
        _ => Tone::Bad,
    };
    Cell::new(state, tone)
}

/// Shows why the state of a node is what it is, where it says so.
pub(super) fn reason(cluster: &Json) -> Option<Cell> {
    let reason = cluster["reason"].as_str()?;
    Some(Cell::new(format!(", {reason}"), Tone::Bad))
}

/// Shows whether a node is woken by the others; nothing where no other node could wake it.
pub(super) fn wake_ups(cluster: &Json) -> Option<Cell> {
    let state = cluster["wake_ups"]["state"].as_str()?;
    let tone = match state {
        "connected" => Tone::Good,
        _ => Tone::Warning,
    };
    Some(Cell::new(state, tone))
}

/// Shows the resource at a path; the function formats it for a screen.
pub(super) async fn show(
    session: &Session,
    matches: &ArgMatches,
    path: &str,
    screen: fn(&Json, Paint) -> (String, Ended),
) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let path = caller.path(&[path]);
    let first = caller.get(&path).await?;
    let (text, ended) = screen(&first.body, output.paint);
    let is_watching = matches.get_flag(WATCH);
    let mut frame = match output.form {
        Form::Json => format!("{}\n", first.body),
        Form::Table => text,
    };
    if !is_watching {
        return ended.after(output.write(&frame));
    }

    let clock = SystemClock::new();
    let mut first = true;
    loop {
        match output.form {
            Form::Json => {}
            Form::Table if output.is_terminal => frame.insert_str(0, CLEARED),
            Form::Table if first => {}
            Form::Table => frame.insert(0, '\n'),
        }

        output.write(&frame)?;
        first = false;
        clock.sleep(EVERY).await;
        frame = match (caller.get(&path).await, output.form) {
            (Ok(answer), Form::Json) => format!("{}\n", answer.body),
            (Ok(answer), Form::Table) => screen(&answer.body, output.paint).0,
            // A node that is started again is back in a moment.
            (Err(failure), Form::Json) if failure.is_passing() => {
                format!("{}\n", serde_json::json!({ "error": failure.to_string() }))
            }
            (Err(failure), Form::Table) if failure.is_passing() => {
                let text = output.paint.word(&failure.to_string(), Tone::Bad);
                format!("{text}\n")
            }
            (Err(failure), _) => return Err(failure),
        };
    }
}
