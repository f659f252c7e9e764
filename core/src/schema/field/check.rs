//! Reads values of a field from JSON and text, and checks them against its rules.

use std::ops::RangeInclusive;

use serde_json::Value as Json;

use super::{Field, Foreign, rules};
use crate::{
    row::{Breach, Rule},
    value::{FieldKind, Value, number},
};

/// The set field that lists are filtered by.
const TAGS: &str = "tags";

impl Field {
    /// Reads a value of this field from JSON, and checks it; a reference from `{"id": ..}`, whose
    /// other members are passed over: they are the other row's, and a copy of it may be old.
    ///
    /// `null` is read as absent whether or not the field may be absent: that is for the whole row
    /// to say, where an absent value may yet be made.
    ///
    /// # Errors
    ///
    /// The rule that is broken, and what was expected.
    pub fn from_json(&self, json: &Json) -> Result<Value, Breach> {
        let json = match (&self.foreign, json) {
            (None, json) | (Some(_), json @ Json::Null) => json,
            (Some(foreign), Json::Object(object)) => object
                .get(&foreign.key)
                .filter(|key| !key.is_null())
                .ok_or_else(|| foreign.expectation())?,
            (Some(foreign), _) => return Err(foreign.expectation()),
        };

        // An integer that an `i64` cannot hold is still an integer, so the message names the range.
        if self.kind == FieldKind::Integer && json.is_u64() && !json.is_i64() {
            return Err(outside(
                self.range.as_ref().unwrap_or(&(i64::MIN..=i64::MAX)),
            ));
        }

        self.checked(Value::from_json(self.kind, json))
    }

    /// Reads a value of this field from text, and checks it; a reference from the bare key.
    ///
    /// # Errors
    ///
    /// The rule that is broken, and what was expected.
    pub fn from_text(&self, text: &str) -> Result<Value, Breach> {
        self.checked(Value::from_text(self.kind, text))
    }

    /// Reads a value of this field from text that names a row, and checks it; see
    /// [`Value::from_key_text`].
    ///
    /// # Errors
    ///
    /// The rule that is broken, and what was expected.
    pub fn from_key_text(&self, text: &str) -> Result<Value, Breach> {
        self.checked(Value::from_key_text(self.kind, text))
    }

    /// Checks a value against what this field can hold: its kind, its range, text that is neither
    /// empty nor holds a NUL (nor do the members of a set), text of one line where it must be, tags
    /// that a list can be asked for, numbers that are finite, and what the field demands further
    /// (a length, a pattern, one of a list).
    ///
    /// An absent value passes: whether one is demanded depends on what is done with the row.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, and what was expected.
    pub fn check(&self, value: &Value) -> Result<(), Breach> {
        if !value.is(self.kind) {
            return Err(Breach::new(Rule::Kind, self.kind.expectation()));
        }

        match (value, &self.range) {
            (Value::Null, _) => return Ok(()),
            (Value::Integer(integer), Some(range)) if !range.contains(integer) => {
                return Err(outside(range));
            }
            (Value::Number(number), _) if !number.is_finite() => {
                return Err(Breach::new(Rule::Range, "must be a finite number"));
            }
            (Value::Number(number), _) if self.kind == FieldKind::Float => {
                let kept = number::single(*number);
                kept.map_err(|message| Breach::new(Rule::Range, message))?;
            }
            // JSON's `null` is the absent value; another form of it would make the two unequal.
            (Value::Json(Json::Null), _) => {
                return Err(Breach::new(Rule::Kind, self.kind.expectation()));
            }
            (Value::Text(text), _) => {
                check_text(text)?;
                self.max_length
                    .map_or(Ok(()), |max| check_line(text, max))?;
            }
            _ => {}
        }

        if let Some(length) = self.length {
            length.check(value)?;
        }
        if let Some(fits) = self.fits {
            fits.check(value)?;
        }

        match value {
            Value::Text(text) => self.check_form(text, value),
            Value::Set(members) => self.check_members(members.iter().map(String::as_str)),
            Value::Json(Json::Array(members)) if self.kind == FieldKind::List => {
                self.check_members(members.iter().filter_map(Json::as_str))
            }
            value => self.check_listed(value),
        }
    }

    fn check_members<'a>(&self, members: impl Iterator<Item = &'a str>) -> Result<(), Breach> {
        for member in members {
            let checked = self.check_member(member);
            checked.map_err(|breach| {
                Breach::new(breach.rule, format!("each member: {}", breach.message))
            })?;
        }
        Ok(())
    }

    /// Checks a member of a set or list.
    fn check_member(&self, member: &str) -> Result<(), Breach> {
        check_text(member)?;
        if self.name == TAGS {
            check_tag(member)?;
        }
        self.check_form(member, &Value::from(member))
    }

    /// Checks a text against the pattern and the list of allowed values.
    fn check_form(&self, text: &str, value: &Value) -> Result<(), Breach> {
        if let Some(pattern) = &self.pattern {
            pattern.check(text)?;
        }
        self.check_listed(value)
    }

    fn check_listed(&self, value: &Value) -> Result<(), Breach> {
        if self.one_of.is_empty() {
            Ok(())
        } else {
            rules::one_of(&self.one_of, value)
        }
    }

    fn checked(&self, value: Result<Value, String>) -> Result<Value, Breach> {
        // A kind says of a number that it is none, or that it has too many digits.
        let value = value.map_err(|message| {
            let inexact = message == number::INEXACT;
            let rule = if inexact { Rule::Range } else { Rule::Kind };
            Breach::new(rule, message)
        })?;
        self.check(&value).map(|()| value)
    }
}

impl Foreign {
    fn expectation(&self) -> Breach {
        let message = format!(
            "expected a reference to {} as {{\"{}\": ..}}",
            self.entity, self.key
        );
        Breach::new(Rule::Kind, message)
    }
}

fn outside(range: &RangeInclusive<i64>) -> Breach {
    let message = format!("must be between {} and {}", range.start(), range.end());
    Breach::new(Rule::Range, message)
}

fn check_text(text: &str) -> Result<(), Breach> {
    if text.is_empty() {
        Err(Breach::new(Rule::Length, "length must be at least 1"))
    } else if text.contains('\0') {
        Err(Breach::new(Rule::Text, "must not hold a NUL"))
    } else {
        Ok(())
    }
}

/// Checks a text that is compared whole, and may be sent as a header.
fn check_line(text: &str, max_length: usize) -> Result<(), Breach> {
    if text.len() > max_length {
        let message = format!("length must be at most {max_length} bytes");
        Err(Breach::new(Rule::Length, message))
    } else if text.contains(char::is_control) {
        Err(Breach::new(Rule::Text, "must not hold a control character"))
    } else if text.trim() != text {
        Err(Breach::new(
            Rule::Text,
            "must not begin or end with a blank",
        ))
    } else {
        Ok(())
    }
}

/// Checks a tag. Lists are filtered with `a,b` or `a/b`, which could not name a tag that holds
/// either character.
fn check_tag(tag: &str) -> Result<(), Breach> {
    if tag.contains([',', '/']) {
        Err(Breach::new(Rule::Text, "must not hold ',' or '/'"))
    } else {
        Ok(())
    }
}
