//! `tidings tail`: the changes as they happen, one a line, with the fields that differ.

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Map, Value as Json, json};

use super::{
    client::encoded,
    ended::{Ended, Failure},
    output::{Form, Output, Tone, harmless},
    session::{Session, word_of},
    sse::Event,
    words::said,
};

const COUNT: &str = "count";
const SINCE: &str = "since";

pub(super) fn command() -> Command {
    Command::new("tail")
        .about("Follows the changes, one per line, with the fields that differ")
        .arg(word_of("SOURCE", "The source, such as crud; * matches any text [default: all]"))
        .arg(word_of("EVENT", "The event, such as consumers or consumers:update; * matches any text [default: all]"))
        .arg(
            Arg::new(COUNT)
                .long("count")
                .short('n')
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Stops after this many changes [default: no limit]"),
        )
        .arg(
            Arg::new(SINCE)
                .long("since")
                .value_name("TOKEN")
                .value_parser(clap::builder::NonEmptyStringValueParser::new())
                .help("Starts after a change or a write: the position of a change in --output json, or the X-Tidings-Position of a write [default: now]"),
        )
}

pub(super) async fn run(session: Session, matches: ArgMatches) -> Result<Ended, Failure> {
    let (caller, output) = (&session.caller, session.output);
    let mut query = Vec::new();
    for (word, name) in [("SOURCE", "source"), ("EVENT", "event")] {
        if let Some(value) = matches.get_one::<String>(word) {
            query.push(format!("{name}={}", encoded(value)));
        }
    }

    let mut path = caller.path(&["events"]);
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let mut left = matches.get_one::<u64>(COUNT).copied();
    let since = matches.get_one::<String>(SINCE);

    let mut stream = caller.follow(&path, since.map(String::as_str)).await?;
    loop {
        let event = stream.next().await?;
        let Some(shown) = shown(&event, output)? else {
            continue;
        };

        output.write(&shown)?;
        if event.name != "change" {
            continue;
        }
        left = left.map(|left| left - 1);
        if left == Some(0) {
            return Ok(Ended::Well);
        }
    }
}

/// Returns the line of an event; `None` for one of an unknown kind.
fn shown(event: &Event, output: Output) -> Result<Option<String>, Failure> {
    let data: Json = serde_json::from_str(&event.data)
        .map_err(|error| Failure::unreachable(format!("an event is not JSON: {error}")))?;
    let line = match (event.name.as_str(), output.form) {
        ("change", Form::Json) => {
            let differs: Vec<_> = differences(&data)
                .into_iter()
                .map(|(name, ..)| name)
                .collect();
            let mut data = data;
            let Some(fields) = data.as_object_mut() else {
                return Err(Failure::unreachable("an event is not a JSON object"));
            };

            fields.insert("differs".to_owned(), differs.into());
            data.to_string()
        }
        ("change", Form::Table) => change(&data, output),
        ("gap", Form::Json) => json!({ "gap": data }).to_string(),
        ("gap", Form::Table) => {
            let missed = match data["missed"].as_u64() {
                Some(missed) => format!("{missed} changes"),
                None => "changes".to_owned(),
            };
            let gap = format!(
                "gap: {missed} may be missing here ({})",
                said(&data["reason"])
            );
            output.paint.word(&harmless(&gap), Tone::Warning)
        }
        _ => return Ok(None),
    };

    Ok(Some(line + "\n"))
}

/// Formats a change as one line.
fn change(data: &Json, output: Output) -> String {
    let paint = output.paint;
    let operation = said(&data["operation"]);
    let (word, tone) = match operation.as_str() {
        "create" => ("create", Tone::Good),
        "update" => ("update", Tone::Warning),
        "delete" => ("delete", Tone::Bad),
        _ => ("event ", Tone::Plain),
    };
    let (source, event) = (said(&data["source"]), said(&data["event"]));

    // The line shows the operation already.
    let channel = match event.strip_suffix(&format!(":{operation}")) {
        Some(entity) if source == "crud" => entity.to_owned(),
        _ => format!("{source} {event}"),
    };

    let mut words = vec![paint.word(word, tone), harmless(&channel)];
    // A row whose primary key has several fields has that key as a text.
    if let Some(id) = data.get("key").or_else(|| data["entity"].get("id")) {
        words.push(harmless(&said(id)));
    }

    let fields = differences(data)
        .into_iter()
        .map(|(name, old, new)| match operation.as_str() {
            "update" => format!("{name}: {old} -> {new}"),
            "delete" => format!("{name}: {old}"),
            _ => format!("{name}: {new}"),
        });
    words.push(harmless(&fields.collect::<Vec<_>>().join(", ")));

    let origin = match &data["origin"] {
        Json::Null => "by another program".to_owned(),
        node => format!("by {}", said(node)),
    };
    words.push(paint.word(&harmless(&origin), Tone::Faint));
    words.retain(|word| !word.is_empty());
    words.join("  ")
}

/// Returns the fields that a change has changed, with their values before and after; for a new or
/// deleted row, its fields that are not null.
fn differences(data: &Json) -> Vec<(String, Json, Json)> {
    let none = Map::new();
    let object = |name: &str| data[name].as_object().unwrap_or(&none);
    let is_update = data["operation"] == "update";
    let (old, new) = match data["operation"].as_str() {
        Some("update") => (object("old_entity"), object("entity")),
        Some("delete") => (object("entity"), &none),
        _ => (&none, object("entity")),
    };
    let names = new
        .keys()
        .chain(old.keys().filter(|name| !new.contains_key(*name)));
    let fields = names.map(|name| {
        let value = |row: &Map<String, Json>| row.get(name).cloned().unwrap_or_default();
        (name.clone(), value(old), value(new))
    });
    let differ = fields.filter(|(name, old, new)| {
        // The id of a row is shown in front of it.
        old != new && (is_update || name != "id")
    });
    differ.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, data: Json, form: Form) -> String {
        let event = Event {
            id: None,
            name: name.to_owned(),
            data: data.to_string(),
        };
        let output = Output {
            form,
            ..Output::plain()
        };
        let line = shown(&event, output).expect("JSON").expect("a known kind");
        line.trim_end().to_owned()
    }

    #[test]
    fn an_event_that_is_no_object_ends_the_command_and_not_the_program() {
        for form in [Form::Json, Form::Table] {
            let event = Event {
                id: None,
                name: "change".to_owned(),
                data: "[1]".to_owned(),
            };
            let output = Output {
                form,
                ..Output::plain()
            };
            let shown = shown(&event, output);
            assert!(form == Form::Table || shown.is_err());
        }
    }

    #[test]
    fn a_change_is_one_line_with_the_fields_that_differ() {
        let update = json!({
            "source": "crud", "event": "consumers:update", "operation": "update", "origin": "a",
            "entity": {"id": "7", "username": "rob", "tags": ["x"], "custom_id": null},
            "old_entity": {"id": "7", "username": "bob", "tags": null, "custom_id": null},
        });
        let text = line("change", update.clone(), Form::Table);
        assert!(text.starts_with("update  consumers  7  "), "{text}");
        assert!(text.contains("username: \"bob\" -> \"rob\""), "{text}");
        assert!(
            text.contains("tags: null -> [\"x\"]") && text.ends_with("by a"),
            "{text}"
        );
        assert!(!text.contains("custom_id"), "{text}");
        let json: Json = serde_json::from_str(&line("change", update, Form::Json)).expect("JSON");
        let mut differs: Vec<_> = json["differs"]
            .as_array()
            .expect("names")
            .iter()
            .map(said)
            .collect();
        differs.sort();
        assert_eq!(differs, ["tags", "username"]);

        let delete = json!({
            "source": "crud", "event": "consumers:delete", "operation": "delete", "origin": null,
            "entity": {"id": "7", "username": "bob\u{1b}[2J"}, "old_entity": null,
        });
        let text = line("change", delete, Form::Table);
        let expected = "delete  consumers  7  username: \"bob\\u001b[2J\"  by another program";
        assert_eq!(text, expected);

        let event = json!({
            "source": "shop", "event": "closed", "operation": null, "origin": "a",
            "entity": {"why": "late"}, "old_entity": null,
        });
        assert_eq!(
            line("change", event, Form::Table),
            "event   shop closed  why: \"late\"  by a"
        );
    }

    #[test]
    fn a_gap_is_shown_and_what_is_not_known_is_left_out() {
        let gap = json!({"missed": 3, "reason": "overflow"});
        let text = line("gap", gap.clone(), Form::Table);
        assert_eq!(text, "gap: 3 changes may be missing here (overflow)");
        assert_eq!(
            line("gap", gap.clone(), Form::Json),
            json!({ "gap": gap }).to_string()
        );
        let other = Event {
            id: None,
            name: "later".to_owned(),
            data: "{}".to_owned(),
        };
        assert!(shown(&other, Output::plain()).expect("JSON").is_none());
    }
}
