//! [`check_all`]: finds every fault of a set of schemas at once.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use super::{Foreign, Schema};

/// All faults of a set of schemas, one line each.
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
    let mut paths = HashMap::new();

    for schema in schemas {
        let mut found = |fault: String| faults.push(format!("{}: {fault}", schema.name()));
        if !names.insert(schema.name()) {
            found("declared twice".to_owned());
        }
        schema.check_itself(&mut found);
        for (field, foreign) in schema.references() {
            check_reference(schema, field, foreign, schemas, &mut found);
        }

        for path in schema.admin_paths() {
            if let Some(other) = paths.insert(path.clone(), schema.name()) {
                found(format!("the admin path {path} is that of {other} already"));
            }
        }
    }

    if faults.is_empty() {
        Ok(())
    } else {
        Err(SchemaFaults(faults))
    }
}

fn check_reference(
    schema: &Schema,
    name: &str,
    foreign: &Foreign,
    schemas: &[&Schema],
    found: &mut dyn FnMut(String),
) {
    let entity = &foreign.entity;
    let Some(parent) = schemas.iter().find(|other| other.name() == entity) else {
        return found(format!(
            "field {name} refers to {entity}, which is not among the node's entities"
        ));
    };

    let key = match parent.primary_key() {
        [key] => &parent.fields()[*key],
        [] => return, // a fault of the parent's own
        [_, ..] => {
            let names = parent.primary_key_names().join(", ");
            return found(format!(
                "field {name} refers to {entity}, whose primary key is several fields ({names}): a reference is one \
                 field, so refer to an entity whose key is one, or keep the parts as fields of their own"
            ));
        }
    };

    if key.name() != foreign.key {
        found(format!(
            "field {name} refers to {entity} by {}, and its primary key is {}",
            foreign.key,
            key.name()
        ));
    }

    if let Some((_, field)) = schema.field(name)
        && field.kind() != key.kind()
    {
        found(format!(
            "field {name} is of kind {}, and the primary key of {entity} of kind {}",
            field.kind().name(),
            key.kind().name()
        ));
    }
}

impl Schema {
    /// Returns the names of the fields that refer to another entity, and what they refer to.
    pub(super) fn references(&self) -> impl Iterator<Item = (&str, &Foreign)> {
        self.fields
            .iter()
            .filter_map(|field| Some((field.name(), field.reference()?)))
    }

    /// Returns which paths of the admin API the entity takes: its own, one under each entity that
    /// it refers to, and under its own rows one for each reference.
    fn admin_paths(&self) -> Vec<String> {
        let Some(api) = &self.admin_api else {
            return Vec::new();
        };

        let nested = api.nested.iter().flat_map(|nested| {
            self.references()
                .map(move |(_, foreign)| format!("/{}/{{..}}/{nested}", foreign.entity))
        });
        let references = self
            .references()
            .map(|(field, _)| format!("/{}/{{..}}/{field}", self.name));
        std::iter::once(format!("/{}", api.name))
            .chain(nested)
            .chain(references)
            .collect()
    }
}
