//! Finding every fault of a set of schemas at once.

use std::{collections::HashSet, fmt};

use super::{Auto, Field, OnDelete, Schema};
use crate::FieldKind;

/// Everything that is wrong with a set of schemas, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFaults(pub Vec<String>);

impl fmt::Display for SchemaFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the schemas are faulty: {}", self.0.join("; "))
    }
}

impl std::error::Error for SchemaFaults {}

/// Checks schemas one by one and against each other.
///
/// # Errors
///
/// All faults of all schemas.
pub fn check_all(schemas: &[&Schema]) -> Result<(), SchemaFaults> {
    let mut faults = Vec::new();
    let mut names = HashSet::new();
    for schema in schemas {
        let mut found = |fault: String| faults.push(format!("{}: {fault}", schema.name()));
        if !names.insert(schema.name()) {
            found("declared twice".to_owned());
        }
        schema.check_itself(&mut found);
        for (field, foreign) in schema.references() {
            match schemas.iter().find(|other| other.name() == foreign.entity) {
                None => found(format!(
                    "field {field} refers to {}, which is not among the node's entities",
                    foreign.entity
                )),
                Some(other) if other.fields()[other.primary_key()].name() != foreign.key => {
                    found(format!(
                        "field {field} refers to {} by another key",
                        foreign.entity
                    ));
                }
                Some(_) => {}
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(SchemaFaults(faults))
    }
}

impl Schema {
    fn references(&self) -> impl Iterator<Item = (&str, &super::Foreign)> {
        self.fields
            .iter()
            .filter_map(|field| Some((field.name(), field.reference()?)))
    }

    fn check_itself(&self, found: &mut dyn FnMut(String)) {
        if !is_identifier(&self.name) {
            found(format!(
                "a name is made of a-z, 0-9 and _, and {:?} is not",
                self.name
            ));
        }
        match self
            .fields
            .iter()
            .filter(|field| field.is_primary_key())
            .count()
        {
            1 => {}
            0 => found("a primary key is missing: mark one field as primary_key".to_owned()),
            n => found(format!("one field is the primary key, and {n} are marked")),
        }
        let mut seen = HashSet::new();
        for field in &self.fields {
            if !seen.insert(field.name()) {
                found(format!("field {} is declared twice", field.name()));
            }
            check_field(field, found);
        }
        self.check_endpoint_key(found);
        self.check_cache_key(found);
        for names in &self.unique_together {
            self.check_parts("unique", names, found);
        }
        for names in &self.at_least_one_of {
            for name in names.iter().filter(|name| self.field(name).is_none()) {
                found(format!(
                    "at_least_one_of names {name}, which is not a field"
                ));
            }
        }
        self.check_admin_api(found);
    }

    fn check_endpoint_key(&self, found: &mut dyn FnMut(String)) {
        let Some(name) = &self.endpoint_key else {
            return;
        };
        match self.field(name) {
            None => found(format!("the endpoint key {name} is not a field")),
            Some((_, field)) if !field.is_unique() => {
                found(format!("the endpoint key {name} must be unique"));
            }
            Some(_) => {}
        }
    }

    fn check_cache_key(&self, found: &mut dyn FnMut(String)) {
        self.check_parts("cache_key", &self.cache_key, found);
        if let [single] = self.cache_key.as_slice()
            && self
                .field(single)
                .is_some_and(|(_, field)| !field.is_unique())
        {
            found(format!("the cache key's only part {single} must be unique"));
        }
    }

    fn check_parts(&self, what: &str, names: &[String], found: &mut dyn FnMut(String)) {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                found(format!("{what} names {name} twice"));
            }
            match self.field(name) {
                None => found(format!("{what} names {name}, which is not a field")),
                Some((_, field)) if field.kind().is_composite() => found(format!(
                    "{what} names {name}, which is a {} and cannot be part of a key",
                    field.kind().name()
                )),
                Some(_) => {}
            }
        }
    }

    fn check_admin_api(&self, found: &mut dyn FnMut(String)) {
        let Some(api) = &self.admin_api else { return };
        for path in std::iter::once(&api.name).chain(&api.nested) {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            if path.is_empty() || !path.chars().all(fits) {
                found(format!(
                    "an admin path is made of a-z, 0-9, - and _, and {path:?} is not"
                ));
            }
        }
        if api.nested.is_some() && self.references().next().is_none() {
            found("admin_api names a nested path, and no field is foreign".to_owned());
        }
    }
}

fn check_field(field: &Field, found: &mut dyn FnMut(String)) {
    let (name, kind) = (field.name(), field.kind());
    if !is_identifier(name) {
        found(format!(
            "a field's name is made of a-z, 0-9 and _, and {name:?} is not"
        ));
    }
    if field.is_unique() && kind.is_composite() {
        found(format!(
            "field {name} is a {} and cannot be unique",
            kind.name()
        ));
    }
    match field.auto_value() {
        Some(Auto::Random) if !matches!(kind, FieldKind::Uuid | FieldKind::Text) => {
            found(format!(
                "field {name} is a {}; auto makes a uuid or a string",
                kind.name()
            ));
        }
        Some(Auto::CreateTime | Auto::UpdateTime) if kind != FieldKind::Timestamp => {
            found(format!(
                "field {name} is a {}; a time needs a timestamp",
                kind.name()
            ));
        }
        _ => {}
    }
    if let Some(foreign) = field.reference()
        && foreign.on_delete == OnDelete::SetNull
        && !field.is_optional()
    {
        found(format!(
            "field {name} is required, so on_delete cannot be set_null"
        ));
    }
    if field.is_primary_key() && field.is_optional() {
        found(format!("the primary key {name} cannot be optional"));
    }
}

fn is_identifier(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
}
