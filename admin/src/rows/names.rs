//! How the last segment of a path names a row.

use tidings::core::{Schema, Value};

/// One way to read a segment: a field and the value that the row must have there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) field: usize,
    pub(crate) value: Value,
    /// Whether the field identifies a row by itself, and not only among the rows of one parent.
    pub(crate) unique: bool,
}

/// Returns the ways to read a segment, in the order in which they are tried: the primary key, the
/// endpoint key, and the fields that are unique among the rows of one parent. A way whose kind the
/// text does not fit is left out, and so is one whose value is written otherwise: `007` may be the
/// name of another row than number 7, and 32 hexadecimal digits are more likely someone's API key
/// than a UUID.
pub(crate) fn names(schema: &Schema, unique_within: &[usize], segment: &str) -> Vec<Name> {
    let unique = [Some(schema.primary_key()), schema.endpoint_key()];
    let unique = unique.into_iter().flatten().map(|field| (field, true));
    let within = unique_within.iter().map(|&field| (field, false));

    let mut names: Vec<Name> = Vec::new();
    for (field, unique) in unique.chain(within) {
        if names.iter().any(|name| name.field == field) {
            continue;
        }
        if let Ok(value) = schema.fields()[field].from_key_text(segment) {
            names.push(Name {
                field,
                value,
                unique,
            });
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use tidings::core::Field;
    use uuid::Uuid;

    use super::*;

    fn schema() -> Schema {
        Schema::builder("things")
            .field(Field::of::<Uuid>("id").primary_key())
            .field(Field::of::<String>("name").unique())
            .field(Field::of::<i64>("place"))
            .endpoint_key("name")
            .build()
    }

    fn fields(segment: &str) -> Vec<usize> {
        let names = names(&schema(), &[2], segment);
        names.iter().map(|name| name.field).collect()
    }

    #[test]
    fn what_looks_like_a_uuid_is_a_primary_key_first() {
        assert_eq!(fields("67e55044-10b1-426f-9247-bb680e5fe0c8"), [0, 1]);
    }

    #[test]
    fn other_spellings_of_a_uuid_are_names() {
        assert_eq!(fields("67e5504410b1426f9247bb680e5fe0c8"), [1]);
        assert_eq!(fields("67E55044-10B1-426F-9247-BB680E5FE0C8"), [1]);
        assert_eq!(fields("{67e55044-10b1-426f-9247-bb680e5fe0c8}"), [1]);
        assert_eq!(fields("urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8"), [1]);
    }

    #[test]
    fn a_field_that_is_unique_within_a_parent_comes_last() {
        assert_eq!(fields("17"), [1, 2]);
        for text in ["017", "+17", "1_7"] {
            assert_eq!(fields(text), [1], "{text}");
        }
        assert!(!names(&schema(), &[2], "17")[1].unique);
    }

    #[test]
    fn a_field_is_tried_once() {
        let schema = Schema::builder("things")
            .field(Field::of::<String>("id").primary_key())
            .endpoint_key("id")
            .build();
        assert_eq!(names(&schema, &[0], "a").len(), 1);
    }
}
