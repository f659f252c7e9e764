//! Checks that need the whole struct.

use syn::{Ident, LitStr};

use crate::{
    faults::{Faults, listed},
    field::{Auto, Field},
    on_struct::OnStruct,
};

/// The most fields that a primary key can have.
const MOST_PARTS: usize = 4;

/// Returns the indexes of the fields that are the primary key together, and marks each as sharing
/// it if there are several.
pub(crate) fn primary_key(
    ident: &Ident,
    fields: &mut [Field],
    faults: &mut Faults,
) -> Option<Vec<usize>> {
    let indexes = 0..fields.len();
    let mut marked: Vec<_> = indexes
        .filter(|index| fields[*index].primary_key.is_some())
        .collect();
    match marked[..] {
        [] => {
            faults.add(
                ident,
                "an entity needs a primary key: mark one field `#[entity(primary_key)]`",
            );
            return None;
        }
        [single] => {
            if let Some(foreign) = &fields[single].foreign {
                faults.add(
                    foreign,
                    "the primary key cannot be `foreign`: give the row a key of its own",
                );
            }
        }
        _ => marked
            .iter()
            .for_each(|index| fields[*index].shares_key = true),
    }

    for &index in marked.iter().skip(MOST_PARTS) {
        faults.add(
            &fields[index].primary_key,
            format!("a primary key has at most {MOST_PARTS} fields"),
        );
    }

    for &index in &marked {
        if let (true, Some(default)) = (fields[index].shares_key, &fields[index].default) {
            faults.add(
                default,
                "part of the primary key cannot have a `default`: every row brings its own",
            );
        }
    }

    // A longer tuple is no primary key to the compiler, which would complain as well.
    marked.truncate(MOST_PARTS);
    Some(marked)
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
