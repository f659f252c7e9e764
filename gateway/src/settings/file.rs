//! The TOML file of settings.

use std::path::Path;

use super::{
    Fault, Raw, Source,
    options::{OPTIONS, find},
};

/// Reads the keys of a file, or all that is wrong with it.
pub(super) fn read(path: &Path) -> Result<Vec<(&'static str, Raw)>, Vec<Fault>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        vec![Fault::other(format!(
            "the file of settings {} cannot be read: {error}",
            path.display()
        ))]
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let error = error.to_string();
        vec![Fault::other(format!(
            "the file of settings {} is not TOML: {}",
            path.display(),
            error.trim_end()
        ))]
    })?;

    let mut keys: Vec<(&'static str, Raw)> = Vec::new();
    let mut faults = Vec::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        let Some(spec) = find(&name) else {
            faults.push(unknown(path, &key, &name));
            continue;
        };
        if keys.iter().any(|(known, _)| *known == spec.name) {
            faults.push(Fault::other(format!(
                "key {key} in {}: {} is set twice",
                path.display(),
                spec.name
            )));
            continue;
        }
        let source = Source::File {
            path: path.to_owned(),
            key,
        };
        match raw(value, source) {
            Ok(raw) => keys.push((spec.name, raw)),
            Err((kind, source)) => faults.push(Fault::other(format!(
                "{}: the {kind} ({source}) is refused: {}",
                spec.name, spec.allowed
            ))),
        }
    }
    if faults.is_empty() {
        Ok(keys)
    } else {
        Err(faults)
    }
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

fn unknown(path: &Path, key: &str, name: &str) -> Fault {
    let nearest = OPTIONS
        .iter()
        .map(|spec| (strsim::jaro_winkler(name, spec.name), spec.name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => {
            let names: Vec<&str> = OPTIONS.iter().map(|spec| spec.name).collect();
            format!("the keys are {}", names.join(", "))
        }
    };
    Fault::other(format!(
        "key {key:?} in {} is unknown: {hint}",
        path.display()
    ))
}
