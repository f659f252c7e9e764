//! Derives the cache keys that a record evicts, by this reader's own schemas.

use std::collections::{BTreeMap, BTreeSet};

use tidings_core::{
    CacheKey, OnUpdate, Operation, Schema,
    log::{Fields, RowRecord},
};

use crate::faults::{Rule, removed};

/// The schemas of this node, by name.
#[derive(Debug)]
pub(crate) struct Catalog {
    schemas: BTreeMap<&'static str, Known>,
    /// The entities whose updated rows evict rows of others.
    parents: BTreeSet<&'static str>,
}

/// A schema, and what the keys of its rows are made of beside the primary key.
#[derive(Debug)]
struct Known {
    schema: &'static Schema,
    key_fields: BTreeSet<&'static str>,
}

impl Known {
    fn of(schema: &'static Schema) -> Self {
        let lookups = schema.lookups();
        let fields = lookups.iter().flat_map(|lookup| lookup.fields());
        let primary = schema.primary_key_names();
        Self {
            schema,
            key_fields: fields.copied().filter(|it| !primary.contains(it)).collect(),
        }
    }
}

/// What a record evicts.
#[derive(Debug, PartialEq)]
pub(crate) enum Evicts {
    /// Nothing: the entity is not one of this node's.
    Nothing,
    /// These keys.
    Keys(Vec<CacheKey>),
    /// Every key of the entity: any row may be meant.
    Entity,
}

impl Catalog {
    pub(crate) fn new(schemas: &[&'static Schema]) -> Self {
        let fields = schemas.iter().flat_map(|schema| schema.fields());
        let references = fields.filter_map(|field| field.reference());
        let parents = references.filter(|foreign| foreign.on_update == OnUpdate::Evict);
        Self {
            parents: parents.map(|foreign| foreign.entity.as_str()).collect(),
            schemas: (schemas.iter())
                .map(|schema| (schema.name(), Known::of(schema)))
                .collect(),
        }
    }

    pub(crate) fn schema(&self, entity: &str) -> Option<&'static Schema> {
        self.schemas.get(entity).map(|known| known.schema)
    }

    /// Returns whether an updated row of this entity evicts rows of others.
    pub(crate) fn has_children(&self, entity: &str) -> bool {
        self.parents.contains(entity)
    }

    /// Derives the keys of both images of a row. If the record lacks a field of any key, the reader
    /// cannot know which key is meant, and evicts the whole entity.
    pub(crate) fn evicts(&self, record: &RowRecord) -> Evicts {
        let Some(Known { schema, key_fields }) = self.schemas.get(&*record.entity) else {
            return Evicts::Nothing;
        };
        let names_row = record.key.parts().len() == schema.primary_key().len();
        if !names_row && !removed(Rule::LackingKeyField) {
            return Evicts::Entity;
        }

        let images: &[&Fields] = match record.operation {
            Operation::Create => &[&record.new],
            Operation::Update => &[&record.old, &record.new],
            Operation::Delete => &[&record.old],
        };

        let mut keys = vec![CacheKey::primary_of(schema.name(), record.key.parts())];
        for image in images {
            let names = key_fields.iter().copied();
            if !image.name_all(names) && !removed(Rule::LackingKeyField) {
                return Evicts::Entity;
            }

            let mut row = image.to_row(schema);
            // Images that hold the key alone may lack it as a field.
            for (&field, part) in schema.primary_key().iter().zip(record.key.parts()) {
                if let Some(value) = row.0.get_mut(field)
                    && value.is_null()
                {
                    value.clone_from(part);
                }
            }

            for key in schema.cache_keys_of(&row) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }

        Evicts::Keys(keys)
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{Field, PrimaryKey, Value, log::Announce};

    use super::*;

    fn schema() -> &'static Schema {
        Box::leak(Box::new(
            Schema::builder("consumers")
                .field(Field::of::<i64>("id").primary_key())
                .field(Field::of::<String>("name"))
                .cache_key(&["name"])
                .build(),
        ))
    }

    fn update(old: Fields, new: Fields) -> RowRecord {
        RowRecord {
            entity: "consumers".into(),
            operation: Operation::Update,
            key: Value::Integer(7).into(),
            old,
            new,
            announce: Announce::Event,
        }
    }

    fn named(name: &str) -> Fields {
        Fields::from_iter([("id", Value::Integer(7)), ("name", name.into())])
    }

    #[test]
    fn an_update_evicts_the_keys_of_both_images() {
        let evicts = Catalog::new(&[schema()]).evicts(&update(named("a"), named("b")));
        let texts = match evicts {
            Evicts::Keys(keys) => keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(texts, ["consumers@7", "consumers:a", "consumers:b"]);
    }

    #[test]
    fn keys_of_a_row_are_made_of_every_part_of_its_primary_key() {
        let schema = Schema::builder("stocks")
            .field(Field::of::<String>("shelf").primary_key())
            .field(Field::of::<i64>("place").primary_key())
            .build();
        let record = RowRecord {
            entity: "stocks".into(),
            key: PrimaryKey::of(vec!["a:1".into(), Value::Integer(7)]),
            // Two rows that differ in one part have different keys, even if the images lack it.
            old: Fields::from_iter([("shelf", Value::from("a:1"))]),
            new: Fields::from_iter([("shelf", Value::from("a:1"))]),
            ..update(Fields::default(), Fields::default())
        };
        let evicts = Catalog::new(&[Box::leak(Box::new(schema))]).evicts(&record);
        let keys = vec![CacheKey::from_text("stocks@:a%3A1:7")];
        assert_eq!(evicts, Evicts::Keys(keys));
    }

    #[test]
    fn a_record_that_lacks_a_key_field_is_a_change_of_the_entity() {
        let lacking = Fields::from_iter([("id", Value::Integer(7))]);
        let evicts = Catalog::new(&[schema()]).evicts(&update(lacking, named("b")));
        assert_eq!(evicts, Evicts::Entity);
    }

    #[test]
    fn a_record_that_lacks_a_field_of_any_lookup_is_a_change_of_the_entity() {
        let schema: &'static Schema = Box::leak(Box::new(
            Schema::builder("consumers")
                .field(Field::of::<i64>("id").primary_key())
                .field(Field::of::<String>("name"))
                .field(Field::of::<Option<String>>("mail").unique())
                .field(Field::of::<Option<String>>("tenant"))
                .cache_key(&["name"])
                .cache_key(&["tenant", "name"])
                .build(),
        ));
        let fields = |name: &str, lacks: &str| -> Fields {
            let known = [("id", Value::Integer(7)), ("name", name.into())];
            let absent = ["mail", "tenant"].map(|name| (name, Value::Null));
            let all = known.into_iter().chain(absent);
            all.filter(|(name, _)| *name != lacks).collect()
        };
        let whole = |name| fields(name, "");
        let catalog = Catalog::new(&[schema]);
        let evicts = |old, new| catalog.evicts(&update(old, new));
        assert!(matches!(evicts(whole("a"), whole("b")), Evicts::Keys(_)));

        // An absent value is known; one that an earlier program has not recorded is not.
        for lacks in ["mail", "tenant"] {
            let lacking = || fields("a", lacks);
            assert_eq!(evicts(lacking(), whole("b")), Evicts::Entity, "{lacks}");
            assert_eq!(evicts(whole("a"), lacking()), Evicts::Entity, "{lacks}");
        }
    }

    #[test]
    fn a_record_that_lacks_a_part_of_the_primary_key_is_a_change_of_the_entity() {
        let schema = Schema::builder("stocks")
            .field(Field::of::<String>("shelf").primary_key())
            .field(Field::of::<i64>("place").primary_key())
            .build();
        let image = || Fields::from_iter([("shelf", Value::from("a"))]);
        let record = RowRecord {
            entity: "stocks".into(),
            key: Value::from("a").into(),
            ..update(image(), image())
        };
        let catalog = Catalog::new(&[Box::leak(Box::new(schema))]);
        assert_eq!(catalog.evicts(&record), Evicts::Entity);
    }

    #[test]
    fn a_record_of_an_unknown_entity_evicts_nothing() {
        let evicts = Catalog::new(&[]).evicts(&update(named("a"), named("b")));
        assert_eq!(evicts, Evicts::Nothing);
    }
}
