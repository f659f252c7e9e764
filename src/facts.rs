//! The facts about a node that other nodes show beside their own, so that differences can be seen.

use std::time::Duration;

use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tidings_core::{Schema, log::MemberFacts};

/// How many characters of a digest are kept: enough to distinguish schemas that differ by mistake.
const KEPT: usize = 12;

/// Returns the facts about a node with tables for some schemas, and records of others.
pub(crate) fn of(
    tables: &[&'static Schema],
    recorded: &[&'static Schema],
    retention: Duration,
) -> MemberFacts {
    MemberFacts {
        version: env!("CARGO_PKG_VERSION").into(),
        retention,
        schemas: digest(tables, recorded).into(),
    }
}

/// Returns a digest of the schemas, and of which of them have a table. Their order does not matter.
fn digest(tables: &[&'static Schema], recorded: &[&'static Schema]) -> String {
    let tables = tables.iter().map(|schema| sorted(&schema.to_json()));

    // No JSON begins with this word, so the two kinds of schemas never look alike.
    let recorded = recorded
        .iter()
        .map(|schema| format!("recorded {}", sorted(&schema.to_json())));
    let mut texts: Vec<String> = tables.chain(recorded).collect();
    texts.sort_unstable();

    let digest = Sha256::digest(texts.join("\n"));
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    hex.collect::<String>().chars().take(KEPT).collect()
}

/// Writes JSON with the members of its objects in order, whatever order `serde_json` keeps.
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
        assert_eq!(digest(&[a, b], &[]), digest(&[b, a], &[]));
        assert_ne!(digest(&[a, b], &[]), digest(&[a], &[]));
        assert_ne!(digest(&[a], &[]), digest(&[schema("a", "names")], &[]));
    }

    #[test]
    fn one_that_has_a_table_is_told_from_one_that_is_recorded() {
        let (a, b) = (schema("a", "name"), schema("b", "name"));
        let all = [
            digest(&[a, b], &[]),
            digest(&[a], &[b]),
            digest(&[b], &[a]),
            digest(&[], &[a, b]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{all:?}");
        }
        assert_eq!(digest(&[], &[a, b]), digest(&[], &[b, a]));
    }
}
