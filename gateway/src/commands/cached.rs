//! `tidings cache list` and `explain`: what a node has cached, and why.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value as Json;

use super::{
    client::encoded,
    ended::{Ended, Failure},
    output::{Cell, Form, Paint, Tone, harmless},
    session::Session,
    words::{said, seconds},
};

/// How many rows a page has.
const PAGE: usize = 1_000;

/// Lists the cached keys, all of them or those of one entity.
pub(super) async fn list(session: &Session, entity: Option<&str>) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let path = format!("{}?size={PAGE}", caller.path(&["cache"]));
    let entity = entity.map(|entity| format!("&entity={}", encoded(entity)));
    let mut next = Some(path + &entity.unwrap_or_default());
    let mut names_said = false;
    while let Some(path) = next {
        let page = caller.get(&path).await?.body;
        // An empty page need not be the last one.
        let rows = page["data"].as_array().map_or(&[][..], Vec::as_slice);
        match output.form {
            Form::Json => {
                let lines = rows.iter().map(|row| format!("{row}\n"));
                output.write(&lines.collect::<String>())?;
            }
            Form::Table if rows.is_empty() => {}
            Form::Table => {
                let cells: Vec<_> = rows.iter().map(cells).collect();
                let names = ["entity", "key", "kind", "level", "ttl", "age", "bytes"];
                let text = output.paint.table(&names, &cells);
                let text = match (names_said, text.split_once('\n')) {
                    (true, Some((_, rows))) => rows,
                    _ => &text,
                };
                output.write(text)?;
                names_said = true;
            }
        }

        next = caller.next(&page, &path)?;
    }

    Ok(Ended::Well)
}

fn cells(row: &Json) -> Vec<Cell> {
    let text = |name: &str| Cell::plain(said(&row[name]));
    let time = |name: &str| Cell::plain(seconds(&row[name]));
    vec![
        text("entity"),
        text("cache_key"),
        text("kind"),
        text("level"),
        time("ttl"),
        time("age"),
        text("bytes"),
    ]
}

/// Explains why a key holds its value.
pub(super) async fn explain(session: &Session, path: &str) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let answer = caller.ask(Method::GET, path, None, Duration::ZERO).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(Failure::refused("the node knows nothing about this key"));
    }

    let told = answer.successful()?.body;
    match output.form {
        Form::Json => output.json(&told)?,
        Form::Table => output.write(&screen(&told, output.paint))?,
    }

    Ok(Ended::Well)
}

fn screen(told: &Json, paint: Paint) -> String {
    let held = match told["kind"].as_str() {
        Some(kind) => Cell::new(kind, Tone::Good),
        None => Cell::new("nothing", Tone::Warning),
    };
    let voided = format!("{} loads", said(&told["voided"]));
    let mut text = paint.facts(&[
        ("key", vec![Cell::plain(said(&told["cache_key"]))]),
        ("entity", vec![Cell::plain(said(&told["entity"]))]),
        ("holds", vec![held]),
        ("type", vec![Cell::plain(said(&told["type"]))]),
        ("level", vec![Cell::plain(said(&told["level"]))]),
        ("age", vec![Cell::plain(seconds(&told["age"]))]),
        ("ttl", vec![Cell::plain(seconds(&told["ttl"]))]),
        ("number", vec![Cell::plain(said(&told["number"]))]),
        ("loaded", vec![Cell::plain(load(&told["loaded"]))]),
        ("voided", vec![Cell::plain(voided)]),
    ]);

    for (name, line) in [
        ("loads", load as fn(&Json) -> String),
        ("invalidations", invalidation),
        ("handlers", handler),
    ] {
        let items = told[name].as_array().map_or(&[][..], Vec::as_slice);
        if items.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}\n", paint.word(name, Tone::Faint)));
        for item in items {
            text.push_str(&format!("  {}\n", harmless(&line(item))));
        }
    }

    text
}

fn load(load: &Json) -> String {
    if load.is_null() {
        return "-".to_owned();
    }

    let (ago, took) = (seconds(&load["ago"]), seconds(&load["took"]));
    let (by, number) = (said(&load["by"]), said(&load["number"]));
    let refused = match &load["refused"] {
        Json::Null => String::new(),
        why => format!(", not kept: {}", said(why)),
    };
    format!("{ago} ago by {by}, in {took}, number {number}{refused}")
}

fn invalidation(it: &Json) -> String {
    let mut line = format!(
        "{} ago {}, because of {}",
        seconds(&it["ago"]),
        said(&it["event"]),
        said(&it["cause"])
    );
    let details = [
        "operation",
        "entity",
        "row",
        "tag",
        "node",
        "reason",
        "position",
        "handlers",
    ];
    for name in details {
        if let Some(value) = it.get(name).filter(|value| !value.is_null()) {
            line.push_str(&format!(", {name} {}", said(value)));
        }
    }

    line
}

fn handler(it: &Json) -> String {
    match &it["worker"] {
        Json::Null => said(&it["name"]),
        worker => format!("{} (worker {worker})", said(&it["name"])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_of_a_key_is_on_one_screen() {
        let told = json!({
            "entity": "consumers", "cache_key": "consumers:7", "kind": "value", "level": "l2",
            "age": 1.5, "ttl": null, "number": 12, "voided": 1,
            "loaded": {"ago": 1.5, "number": 12, "by": "miss", "took": 0.002, "kept": true, "refused": null},
            "loads": [],
            "invalidations": [{
                "ago": 2.0, "event": "invalidated", "cause": "change", "operation": "update",
                "entity": "consumers", "row": "7", "node": "b", "position": "1.c.5", "reason": null,
            }],
            "handlers": [{"name": "log", "worker": 1}],
        });
        let text = screen(&told, Paint::Plain);
        assert!(text.contains("holds   value\n"), "{text}");
        assert!(
            text.contains("loaded  1.5s ago by miss, in 2.0ms, number 12\n"),
            "{text}"
        );
        let line = "  2.0s ago invalidated, because of change, operation update, entity consumers, row 7, \
                    node b, position 1.c.5\n";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("  log (worker 1)\n") && !text.contains("\nloads\n"),
            "{text}"
        );
    }
}
