//! The TOML file of settings.

use std::path::Path;

use super::{
    row::{Row, nearest},
    source::{Fault, Raw, Source},
};

/// Reads the keys of a file, or returns all of its faults. No message repeats a line of the file,
/// which may hold the token.
pub(super) fn read(path: &Path, table: &[Row]) -> Result<Vec<(&'static str, Raw)>, Vec<Fault>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![Fault::other(format!(
            "the settings file {} cannot be read: {error}",
            path.display()
        ))]
    })?;
    let values: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let place = error.span().map(|span| line_and_column(&text, span.start));
        vec![Fault::other(format!(
            "the settings file {} is not TOML{}: {}",
            path.display(),
            place.unwrap_or_default(),
            error.message()
        ))]
    })?;

    let mut keys: Vec<(&'static str, Raw)> = Vec::new();
    let mut faults = Vec::new();
    for (key, value) in values {
        let name = key.replace('_', "-");
        let Some(row) = table.iter().find(|row| row.name == name) else {
            faults.push(unknown(path, table, &key, &name));
            continue;
        };
        if keys.iter().any(|(other, _)| *other == row.name) {
            faults.push(Fault::other(format!(
                "key {name} in {} is set twice, once with dashes and once with underscores",
                path.display()
            )));
            continue;
        }

        let source = Source::File {
            path: path.to_owned(),
            key,
        };

        match raw(value, source) {
            Ok(raw) => keys.push((row.name, raw)),
            Err((kind, source)) => faults.push(Fault::other(format!(
                "{}: the {kind} ({source}) is invalid: expected {}",
                row.name,
                row.allowed()
            ))),
        }
    }

    if faults.is_empty() {
        Ok(keys)
    } else {
        Err(faults)
    }
}

fn line_and_column(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    format!(" (line {line}, column {column})")
}

fn raw(value: toml::Value, source: Source) -> Result<Raw, (&'static str, Source)> {
    use toml::Value;

    Ok(match value {
        Value::String(text) => Raw::text(text, source),
        Value::Integer(number) => Raw::text(number.to_string(), source),
        Value::Float(number) => Raw::text(number.to_string(), source),
        Value::Boolean(truth) => Raw::text(truth.to_string(), source),
        Value::Datetime(time) => Raw::text(time.to_string(), source),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect();
            Raw::list(items.ok_or(("list", source.clone()))?, source)
        }
        Value::Table(_) => return Err(("table", source)),
    })
}

fn unknown(path: &Path, table: &[Row], key: &str, name: &str) -> Fault {
    let hint = match nearest(table, name) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => {
            let names: Vec<&str> = table.iter().map(|row| row.name).collect();
            format!("the keys are {}", names.join(", "))
        }
    };
    Fault::other(format!(
        "key {key:?} in {} is unknown: {hint}",
        path.display()
    ))
}
