//! What a node tells the others of itself, so that it can be seen what does not match.

use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tidings_core::{Schema, log::MemberFacts};

/// How many characters of a digest are told: enough to tell schemas apart that differ by mistake.
const TOLD: usize = 12;

/// Returns what a node with these schemas says.
pub(crate) fn of(schemas: &[&'static Schema], retention: Duration) -> MemberFacts {
    MemberFacts {
        version: env!("CARGO_PKG_VERSION").into(),
        retention,
        schemas: digest(schemas).into(),
    }
}

/// Returns a text that is the same for the same schemas, in whatever order they were declared.
fn digest(schemas: &[&'static Schema]) -> String {
    let mut texts: Vec<String> = schemas
        .iter()
        .map(|schema| sorted(&schema.to_json()))
        .collect();
    texts.sort_unstable();
    let digest = Sha256::digest(texts.join("\n"));
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    hex.collect::<String>().chars().take(TOLD).collect()
}

/// Writes JSON with the members of its objects in order, however the crate that holds them does.
fn sorted(json: &Json) -> String {
    match json {
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let members = members
                .into_iter()
                .map(|(name, value)| format!("{name:?}:{}", sorted(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Json::Array(items) => {
            let items = items.iter().map(sorted);
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Field;

    use super::*;

    fn schema(name: &'static str, field: &'static str) -> &'static Schema {
        let schema = Schema::builder(name)
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<String>(field));
        Box::leak(Box::new(schema.build()))
    }

    #[test]
    fn schemas_that_differ_are_told_apart_and_their_order_is_not() {
        let (a, b) = (schema("a", "name"), schema("b", "name"));
        assert_eq!(digest(&[a, b]), digest(&[b, a]));
        assert_ne!(digest(&[a, b]), digest(&[a]));
        assert_ne!(digest(&[a]), digest(&[schema("a", "names")]));
    }
}
