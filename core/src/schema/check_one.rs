//! Finding the faults of a schema that show without looking at any other.

use std::collections::HashSet;

use super::{Auto, Field, OnDelete, Schema};
use crate::value::FieldKind;

impl Schema {
    pub(super) fn check_itself(&self, found: &mut dyn FnMut(String)) {
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
        self.check_cache_keys(found);
        for names in &self.unique_together {
            if names.is_empty() {
                found("unique names no field".to_owned());
            }
            self.check_parts("unique", names, found);
        }
        for names in &self.at_least_one_of {
            if names.is_empty() {
                found("at_least_one_of names no field".to_owned());
            }
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

    fn check_cache_keys(&self, found: &mut dyn FnMut(String)) {
        for (index, names) in self.cache_keys.iter().enumerate() {
            self.check_parts("cache_key", names, found);
            if let [single] = names.as_slice()
                && self
                    .field(single)
                    .is_some_and(|(_, field)| !field.is_unique())
            {
                found(format!("the cache key's only part {single} must be unique"));
            }
            if self.cache_keys[..index].contains(names) {
                found(format!(
                    "the cache key of {} is declared twice",
                    names.join(", ")
                ));
            }
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
                Some((_, field)) if !field.kind().can_be_key() => found(format!(
                    "{what} names {name}, which is of kind {} and cannot be part of a key",
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
        if api.nested.is_none() {
            return;
        }
        let mut parents = HashSet::new();
        for (_, foreign) in self.references() {
            if !parents.insert(&foreign.entity) {
                found(format!(
                    "admin_api names a nested path, and two fields refer to {}: which one it follows cannot be told",
                    foreign.entity
                ));
            }
        }
        if parents.is_empty() {
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
    if field.is_unique() && !kind.can_be_key() {
        found(format!(
            "field {name} is of kind {} and cannot be unique",
            kind.name()
        ));
    }
    match field.auto_value() {
        Some(Auto::Random) if !matches!(kind, FieldKind::Uuid | FieldKind::Text) => {
            found(format!(
                "field {name} is of kind {}; auto makes a uuid or a string",
                kind.name()
            ));
        }
        Some(Auto::CreateTime | Auto::UpdateTime) if kind != FieldKind::Timestamp => {
            found(format!(
                "field {name} is of kind {}; a time needs a timestamp",
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
    if field.is_primary_key() && field.reference().is_some() {
        found(format!("the primary key {name} cannot be foreign"));
    }
    if field.is_made() && field.reference().is_some() {
        found(format!(
            "field {name} refers to a row, and a value that is made refers to none"
        ));
    }
}

fn is_identifier(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
}
