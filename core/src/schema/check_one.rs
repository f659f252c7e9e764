//! Finds the faults of one schema that show without reading any other.

use std::collections::HashSet;

use super::{Auto, Field, OnDelete, Schema, reserved};
use crate::{
    primary_key::PrimaryKey,
    value::{FieldKind, Value},
};

/// What a list of the admin API takes besides the names of fields.
const ARGUMENTS: [&str; 3] = ["offset", "size", "tags"];

impl Schema {
    pub(super) fn check_itself(&self, found: &mut dyn FnMut(String)) {
        if !is_identifier(&self.name) {
            found(format!(
                "a name is made of a-z, 0-9 and _, and {:?} is not",
                self.name
            ));
        }

        if let Some(reserved) = reserved::table(&self.name) {
            found(reserved);
        }

        self.check_primary_key(found);
        let mut seen = HashSet::new();
        for field in &self.fields {
            if !seen.insert(field.name()) {
                found(format!("field {} is declared twice", field.name()));
            }
            check_field(field, found);
            check_rules(field, found);
        }

        self.check_expiry(found);
        self.check_version(found);
        self.check_endpoint_key(found);
        self.check_cache_keys(found);

        for names in &self.unique_together {
            if names.is_empty() {
                found("unique names no field".to_owned());
            }

            self.check_parts("unique", names, found);
            let is_key = |name: &String| {
                let field = self.field(name);
                field.is_some_and(|(_, field)| field.is_primary_key())
            };

            if names.len() == self.primary_key.len() && names.iter().all(is_key) {
                let names = names.join(", ");
                found(format!("unique names {names}, which is the primary key"));
            }
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

    fn check_primary_key(&self, found: &mut dyn FnMut(String)) {
        let most = PrimaryKey::MOST_PARTS;
        match self.primary_key.len() {
            0 => found("a primary key is missing: mark one field as primary_key".to_owned()),
            n if n > most => found(format!(
                "a primary key has at most {most} fields, and {n} are marked"
            )),
            _ => {}
        }
    }

    fn check_expiry(&self, found: &mut dyn FnMut(String)) {
        let count = self.fields.iter().filter(|it| it.is_expiry()).count();
        if count > 1 {
            found(format!(
                "a row expires by one field, and {count} are marked"
            ));
        }
        if self.expiry().is_some() && self.field("ttl").is_some() {
            found("rows expire, so that no field can be named ttl: it is how the time is given in seconds".to_owned());
        }
    }

    fn check_version(&self, found: &mut dyn FnMut(String)) {
        let fields = self.fields.iter();
        let marked: Vec<_> = fields
            .filter(|field| field.auto_value() == Some(Auto::Version))
            .collect();
        if marked.len() > 1 {
            let count = marked.len();
            found(format!(
                "a row has one version, and {count} fields count it"
            ));
        }

        for field in marked {
            let name = field.name();
            if field.kind() != FieldKind::Integer || field.range().is_some() {
                found(format!("field {name}: a version is an i64"));
            }

            let identifies = field.is_unique() || field.is_primary_key();
            if field.is_optional() || identifies || field.is_immutable() {
                found(format!(
                    "field {name} counts versions: it is on every row, changes, and is not unique"
                ));
            }
        }
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

        for field in &self.fields {
            let identifies = field.is_unique() || field.is_primary_key();
            let filters = identifies || field.reference().is_some();
            if filters && ARGUMENTS.contains(&field.name()) {
                found(format!(
                    "field {} cannot be unique or foreign: lists of the admin API take an argument of this name",
                    field.name()
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

    if let Some(reserved) = reserved::column(name) {
        found(format!("field {name}: {reserved}"));
    }

    if field.is_unique() && !kind.can_be_key() {
        found(format!(
            "field {name} is of kind {} and cannot be unique",
            kind.name()
        ));
    } else if field.is_primary_key() && !kind.can_be_key() {
        found(format!(
            "field {name} is of kind {} and cannot be part of the primary key",
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
        Some(Auto::CreateTime | Auto::UpdateTime)
            if !matches!(kind, FieldKind::Timestamp | FieldKind::TimestampMicros) =>
        {
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

    if field.is_primary_key() && kind == FieldKind::Bytes {
        found(format!("the primary key {name} cannot be bytes"));
    }
    if field.is_whole_key() && field.reference().is_some() {
        found(format!("the primary key {name} cannot be foreign"));
    }

    if field.is_made() && field.reference().is_some() {
        found(format!(
            "field {name} refers to a row, and a value that is made refers to none"
        ));
    }
}

/// Finds rules that a field's kind has no use for, and rules that contradict each other.
fn check_rules(field: &Field, found: &mut dyn FnMut(String)) {
    let (name, kind) = (field.name(), field.kind());
    let mut unfit = |rule: &str, needs: &str| {
        found(format!(
            "field {name} is of kind {}; {rule} needs {needs}",
            kind.name()
        ));
    };
    let is_text = matches!(kind, FieldKind::Text | FieldKind::Set | FieldKind::List);
    let has_length = is_text || matches!(kind, FieldKind::Bytes | FieldKind::Map);
    if field.length_rule().is_some() && !has_length {
        unfit("length", "a string, bytes, a set, a list or a map");
    }

    if field.pattern_rule().is_some() && !is_text {
        unfit("pattern", "a string, a set or a list");
    }
    if field.is_expiry() && kind != FieldKind::Timestamp {
        unfit("expires", "a timestamp in seconds");
    }

    if let Some(length) = field.length_rule()
        && length.max.is_some_and(|max| max < length.min.max(1))
    {
        found(format!("field {name}: no value has the length demanded"));
    }

    if let Some(fault) = field.pattern_rule().and_then(|pattern| pattern.fault()) {
        found(format!("field {name}: the pattern is faulty: {fault}"));
    }

    let member = |value: &Value| match kind {
        FieldKind::Set | FieldKind::List => matches!(value, Value::Text(_)),
        kind => value.is(kind) && !value.is_null(),
    };
    if !field.allowed().iter().all(member) {
        let message = format!(
            "field {name} is of kind {}, and not all that it is to be one of",
            kind.name()
        );
        found(message);
    } else if let Some(default) = field.default_value()
        && let Err(breach) = field.check(default)
    {
        found(format!("field {name}: the default: {breach}"));
    }

    if field.default_value().is_some() && (field.is_made() || field.is_unique()) {
        found(format!(
            "field {name} cannot have a default: it is made, or no two rows may have the same value"
        ));
    } else if field.default_value().is_some() && field.is_primary_key() {
        found(format!(
            "field {name} cannot have a default: every row brings its own primary key"
        ));
    }

    if field.is_immutable() && field.auto_value() == Some(Auto::UpdateTime) {
        found(format!(
            "field {name} is set by every write, so it cannot be immutable"
        ));
    }

    if field.is_expiry() && (field.is_made() || field.is_primary_key()) {
        found(format!(
            "field {name} cannot expire the row: it is made, or the primary key"
        ));
    }
}

fn is_identifier(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
}
