//! Checks that need the whole struct.

use syn::{Ident, LitStr};

use crate::{
    faults::{Faults, listed},
    field::{Auto, Field},
    on_struct::OnStruct,
};

/// Returns the index of the one primary key.
pub(crate) fn primary_key(ident: &Ident, fields: &[Field], faults: &mut Faults) -> Option<usize> {
    let mut marked = fields
        .iter()
        .enumerate()
        .filter_map(|(index, field)| Some((index, field.primary_key.as_ref()?)));
    let Some((first, _)) = marked.next() else {
        faults.add(
            ident,
            "an entity needs a primary key: mark one field `#[entity(primary_key)]`",
        );
        return None;
    };
    for (_, item) in marked {
        let name = &fields[first].name;
        faults.add(
            item,
            format!("an entity has one primary key, and `{name}` is it already"),
        );
    }
    Some(first)
}

/// Checks that one field at most counts versions.
pub(crate) fn version(fields: &[Field], faults: &mut Faults) {
    let mut marked = fields.iter().filter_map(|field| match &field.auto {
        Some((Auto::Version, item)) => Some((field, item)),
        _ => None,
    });
    let Some((first, _)) = marked.next() else {
        return;
    };
    for (_, item) in marked {
        let name = &first.name;
        faults.add(
            item,
            format!("an entity has one version, and `{name}` is it already"),
        );
    }
}

/// Checks that the names in the struct's attributes are fields fit for their use.
pub(crate) fn names(on_struct: &OnStruct, fields: &[Field], faults: &mut Faults) {
    if let Some(name) = &on_struct.endpoint_key {
        unique_field("endpoint_key", name, fields, faults);
    }
    for (index, parts) in on_struct.cache_keys.iter().enumerate() {
        match parts.as_slice() {
            [single] => unique_field("a single `cache_key` part", single, fields, faults),
            parts => each_a_field("cache_key", parts, fields, faults),
        }
        let earlier = &on_struct.cache_keys[..index];
        if earlier.iter().any(|other| same_names(other, parts)) {
            faults.add(&parts[0], "this `cache_key` is given twice");
        }
    }
    for names in &on_struct.unique {
        each_a_field("unique", names, fields, faults);
    }
    for names in &on_struct.at_least_one_of {
        each_a_field("at_least_one_of", names, fields, faults);
    }
    if let Some(nested) = on_struct
        .admin_api
        .as_ref()
        .and_then(|api| api.nested.as_ref())
        && !fields.iter().any(|field| field.foreign.is_some())
    {
        faults.add(
            nested,
            "`nested` is a path under the entity that a `foreign` field refers to, and there is no such field",
        );
    }
}

fn same_names(a: &[LitStr], b: &[LitStr]) -> bool {
    a.iter().map(LitStr::value).eq(b.iter().map(LitStr::value))
}

fn each_a_field(what: &str, names: &[LitStr], fields: &[Field], faults: &mut Faults) {
    for name in names {
        field(what, name, fields, faults);
    }
}

fn unique_field(what: &str, name: &LitStr, fields: &[Field], faults: &mut Faults) {
    if let Some(field) = field(what, name, fields, faults)
        && !field.identifies()
    {
        let text = name.value();
        faults.add(
            name,
            format!("{what} must be a unique field: mark `{text}` with `#[entity(unique)]`"),
        );
    }
}

fn field<'a>(
    what: &str,
    name: &LitStr,
    fields: &'a [Field],
    faults: &mut Faults,
) -> Option<&'a Field> {
    let text = name.value();
    let found = fields.iter().find(|field| field.name == text);
    if found.is_none() {
        let names = fields.iter().map(|field| field.name.as_str());
        faults.add(
            name,
            format!(
                "{what} names {text:?}, which is no field; the fields are: {}",
                listed(&text, names)
            ),
        );
    }
    found
}
