//! Rules of one value: how long, of which form.

use regex::Regex;
use serde_json::Value as Json;

use crate::{
    row::{Breach, Rule},
    value::{Fit, Value},
};

/// How long a value must be: characters of a text, bytes, members of a set, a list or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// The least.
    pub min: usize,
    /// The most; `None` is no limit.
    pub max: Option<usize>,
}

impl Length {
    /// Checks a value; one without a length passes.
    pub(super) fn check(self, value: &Value) -> Result<(), Breach> {
        let Some(length) = length_of(value) else {
            return Ok(());
        };
        let message = match self.max {
            _ if length < self.min => format!("length must be at least {}", self.min),
            Some(max) if length > max => format!("length must be at most {max}"),
            _ => return Ok(()),
        };
        Err(Breach::new(Rule::Length, message))
    }
}

fn length_of(value: &Value) -> Option<usize> {
    match value {
        Value::Text(text) => Some(text.chars().count()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::Set(members) => Some(members.len()),
        Value::Json(Json::Array(members)) => Some(members.len()),
        Value::Json(Json::Object(members)) => Some(members.len()),
        Value::Null
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Number(_)
        | Value::Uuid(_)
        | Value::Json(_) => None,
    }
}

/// A regular expression that a whole text must match. Two are equal when they are written alike.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// An error is what is wrong with it, which [`check_all`](crate::check_all) reports.
    regex: Result<Regex, String>,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        // By itself first: one that closes the group around it would match less than the whole
        // text.
        let regex = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
        Self {
            text: text.to_owned(),
            // The first lines of the message draw the pattern; the last says what is wrong.
            regex: regex.map_err(|error| {
                let message = error.to_string();
                let last = message.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }),
        }
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns what is wrong with the pattern itself.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.regex.as_ref().err().map(String::as_str)
    }

    pub(super) fn check(&self, text: &str) -> Result<(), Breach> {
        let matches = self.regex.as_ref().is_ok_and(|regex| regex.is_match(text));
        if matches {
            return Ok(());
        }
        let message = format!("must match the pattern {}", self.text);
        Err(Breach::new(Rule::Pattern, message))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// The demand of a Rust type whose kind also has values that are not the type's. Two are equal when
/// they are of one type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fits {
    name: &'static str,
    run: Fit,
}

impl Fits {
    pub(super) fn new<T>(run: Fit) -> Self {
        let name = std::any::type_name::<T>();
        Self { name, run }
    }

    pub(super) fn check(self, value: &Value) -> Result<(), Breach> {
        (self.run)(value).map_err(|message| Breach::new(Rule::Kind, message))
    }
}

impl PartialEq for Fits {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Checks that a value is one of a list, which is not empty.
pub(super) fn one_of(allowed: &[Value], value: &Value) -> Result<(), Breach> {
    if allowed.contains(value) {
        return Ok(());
    }
    let allowed: Vec<_> = allowed.iter().map(Value::to_text).collect();
    let message = format!("must be one of: {}", allowed.join(", "));
    Err(Breach::new(Rule::OneOf, message))
}
