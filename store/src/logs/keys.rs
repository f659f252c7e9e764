//! The fields that the cache keys of an entity consist of.

use tidings_core::Schema;

/// Returns the fields that the cache keys of an entity consist of.
pub(crate) fn key_fields(schema: &Schema) -> Vec<&str> {
    let mut fields = schema.primary_key_names();
    for lookup in schema.lookups() {
        for &name in lookup.fields() {
            if !fields.contains(&name) {
                fields.push(name);
            }
        }
    }
    fields
}
