//! How the last segment of a path names a row.

use tidings::core::{Schema, Value};

/// One way to read a segment: the values that the row must have in one field, or in the fields of a
/// primary key of several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) values: Vec<(usize, Value)>,
    /// Whether they identify a row by themselves, and not only among the rows of one parent.
    pub(crate) unique: bool,
}

impl Name {
    /// Returns whether it gives a row its value of a field.
    pub(crate) fn names(&self, field: usize) -> bool {
        self.values.iter().any(|(named, _)| *named == field)
    }

    /// Returns whether it is the primary key.
    pub(crate) fn is_primary(&self, schema: &Schema) -> bool {
        let named = self.values.iter().map(|(field, _)| field);
        named.eq(schema.primary_key())
    }

    /// Returns whether it is one field, and this one.
    fn is_of(&self, field: usize) -> bool {
        matches!(self.values[..], [(only, _)] if only == field)
    }
}

/// Returns the ways to read a segment, in the order in which they are tried: the primary key, the
/// endpoint key, and the fields that are unique among the rows of one parent. A way whose kind the
/// text does not fit is left out, and so is one whose value is written otherwise: `007` may be the
/// name of another row than number 7, and 32 hexadecimal digits are more likely someone's API key
/// than a UUID.
pub(crate) fn names(schema: &Schema, unique_within: &[usize], segment: &str) -> Vec<Name> {
    let unique = schema.endpoint_key().map(|field| (field, true));
    let within = unique_within.iter().map(|&field| (field, false));

    let mut names: Vec<Name> = Vec::new();
    if let Ok(key) = schema.key_from_text(segment) {
        let fields = schema.primary_key().iter().copied();
        names.push(Name {
            values: fields.zip(key.into_parts()).collect(),
            unique: true,
        });
    }

    for (field, unique) in unique.into_iter().chain(within) {
        if names.iter().any(|name| name.is_of(field)) {
            continue;
        }
        if let Ok(value) = schema.fields()[field].from_key_text(segment) {
            names.push(Name {
                values: vec![(field, value)],
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
        names.iter().map(|name| name.values[0].0).collect()
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
    fn a_key_of_several_fields_is_read_from_its_parts() {
        let schema = Schema::builder("stocks")
            .field(Field::of::<i64>("consumer").primary_key())
            .field(Field::of::<String>("shelf").primary_key())
            .build();
        let values = |segment: &str| {
            let names = names(&schema, &[1], segment);
            names
                .into_iter()
                .map(|name| name.values)
                .collect::<Vec<_>>()
        };
        let (consumer, shelf) = (Value::Integer(7), |text: &str| Value::from(text));
        // Below its consumer a shelf is named by itself, too.
        assert_eq!(
            values("7:a"),
            [
                vec![(0, consumer.clone()), (1, shelf("a"))],
                vec![(1, shelf("7:a"))]
            ]
        );
        assert_eq!(values("7:a%3Ab")[0], [(0, consumer), (1, shelf("a:b"))]);
        for other in ["007:a", "7:a:b", "7:%61", "7"] {
            assert_eq!(values(other), [vec![(1, shelf(other))]], "{other}");
        }
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
