//! Reads forms: `consumer.id=..` for a field inside an object, `tags[]=a` or a repeated name for a
//! set.
//!
//! A form holds text alone, so the schema says what each value is. Text that does not read as its
//! field's kind is left as text, and the schema's own check then names the field.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use tidings::core::{Field, FieldKind, Foreign, Schema, Value};

use super::json;

/// The meaning of names and values, by the schemas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'a> {
    /// The schema of the row that the form is about.
    pub(crate) schema: &'a Schema,
    /// The schemas of all entities, for the fields by which a reference may be given.
    pub(crate) schemas: &'a [&'static Schema],
    pub(crate) blank: Blank,
}

/// The meaning of an empty value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blank {
    /// The empty text, which most fields refuse: a value that was given is not an absent one.
    Kept,
    /// `null`: a form has no other way to clear a field in a change.
    Clears,
}

/// The name under which a time to live may be given, in seconds, if the entity's rows expire.
pub(crate) const TTL: &str = "ttl";
/// The maximum number of parts of a dotted name.
const DEPTH: usize = 8;

/// What several values of one name are, and one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One value is itself, several are a list.
    Plain,
    /// A name had brackets, which make a list of even one value.
    List,
}

/// The values of one name in a form.
enum Slot {
    /// Values in order.
    Values { shape: Shape, values: Vec<String> },
    /// Dotted names below this one.
    Nested(Slots),
}

type Slots = BTreeMap<String, Slot>;

/// Makes the JSON object that a form means for an entity.
///
/// # Errors
///
/// A message for the client: a name is malformed, or two names contradict each other.
pub(crate) fn object(
    form: &Form<'_>,
    pairs: Vec<(String, String)>,
) -> Result<Map<String, Json>, String> {
    let mut slots = Slots::new();
    for (name, value) in pairs {
        let (path, shape) = parsed_name(&name)?;
        insert(&mut slots, &path, shape, value)
            .ok_or_else(|| format!("{name:?} contradicts another name in the form"))?;
    }

    let typed = |(name, slot): (String, Slot)| {
        let json = match form.schema.field(&name) {
            Some((_, field)) => form.of_field(field, slot)?,
            None if name == TTL && form.schema.expiry().is_some() => form.of_ttl(slot)?,
            None => untyped(slot),
        };
        Ok((name, json))
    };
    slots.into_iter().map(typed).collect()
}

/// Splits `consumer.id` into its parts, and takes the brackets off `tags[]` and `tags[2]`. Returns
/// the parts, and what the brackets say.
fn parsed_name(name: &str) -> Result<(Vec<&str>, Shape), String> {
    let (base, shape) = match name
        .strip_suffix(']')
        .and_then(|name| name.rsplit_once('['))
    {
        Some((base, index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
            (base, Shape::List)
        }
        _ => (name, Shape::Plain),
    };
    let path: Vec<_> = base.split('.').collect();
    if path.len() > DEPTH || path.iter().any(|part| part.is_empty()) {
        return Err(format!("{name:?} is not the name of a form field"));
    }

    Ok((path, shape))
}

/// Adds a value to its slot. Returns `None` if its place is taken by the other kind of slot.
fn insert(slots: &mut Slots, path: &[&str], given: Shape, value: String) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let fresh = || {
        if rest.is_empty() {
            let (shape, values) = (Shape::Plain, Vec::new());
            Slot::Values { shape, values }
        } else {
            Slot::Nested(Slots::new())
        }
    };

    match slots.entry((*first).to_owned()).or_insert_with(fresh) {
        Slot::Values { shape, values } if rest.is_empty() => {
            if given == Shape::List {
                *shape = Shape::List;
            }
            values.push(value);
            Some(())
        }
        Slot::Nested(slots) if !rest.is_empty() => insert(slots, rest, given, value),
        _ => None,
    }
}

impl Form<'_> {
    fn of_ttl(&self, slot: Slot) -> Result<Json, String> {
        match slot {
            Slot::Values { shape, values } => self.of_kind(FieldKind::Integer, shape, values),
            slot @ Slot::Nested(_) => Ok(untyped(slot)),
        }
    }

    fn of_field(&self, field: &Field, slot: Slot) -> Result<Json, String> {
        match (slot, field.reference()) {
            (Slot::Nested(slots), Some(foreign)) => self.of_reference(field, foreign, slots),
            (Slot::Values { shape, values }, None) => self
                .of_kind(field.kind(), shape, values)
                .map_err(|message| format!("{}: {message}", field.name())),
            // A bare `consumer=..`: an empty one may clear; otherwise the schema says what a
            // reference looks like.
            (
                Slot::Values {
                    shape: Shape::Plain,
                    values,
                },
                Some(_),
            ) if values == [""] && self.blank == Blank::Clears => Ok(Json::Null),
            (slot, _) => Ok(untyped(slot)),
        }
    }

    /// Reads `consumer.id=..`, or another field of the row that is referred to.
    fn of_reference(&self, field: &Field, foreign: &Foreign, slots: Slots) -> Result<Json, String> {
        let parent = self
            .schemas
            .iter()
            .find(|schema| schema.name() == foreign.entity);
        let kind = |name: &str| match parent.and_then(|parent| parent.field(name)) {
            _ if name == foreign.key => Some(field.kind()),
            other => other.map(|(_, field)| field.kind()),
        };
        let typed = |(name, slot): (String, Slot)| {
            let json = match (slot, kind(&name)) {
                (Slot::Values { shape, values }, Some(kind)) => {
                    self.of_kind(kind, shape, values)?
                }
                (slot, _) => untyped(slot),
            };
            Ok((name, json))
        };
        let object = slots
            .into_iter()
            .map(typed)
            .collect::<Result<Map<_, _>, String>>()?;
        if object.len() == 1 && object.get(&foreign.key).is_some_and(Json::is_null) {
            return Ok(Json::Null); // `consumer.id=` clears the reference
        }

        Ok(Json::Object(object))
    }

    /// Reads the values of a field. Refuses only JSON that cannot be parsed: kept as text, it would
    /// be taken for a JSON string.
    fn of_kind(
        &self,
        kind: FieldKind,
        shape: Shape,
        mut values: Vec<String>,
    ) -> Result<Json, String> {
        let single = shape == Shape::Plain && values.len() == 1;
        Ok(match kind {
            _ if single && values[0].is_empty() && self.blank == Blank::Clears => Json::Null,
            FieldKind::Set | FieldKind::List => {
                if shape == Shape::List && values == [""] {
                    values.clear(); // `tags[]=` is the empty set
                }
                values.into()
            }
            _ if single => {
                let text = values.swap_remove(0);
                match Value::from_text(kind, &text) {
                    _ if matches!(kind, FieldKind::Json | FieldKind::Map) => {
                        json::value(text.as_bytes())
                            .map_err(|error| format!("cannot parse the value as JSON: {error}"))?
                    }
                    Ok(value) => value.to_json(),
                    Err(_) => text.into(),
                }
            }
            _ => values.into(),
        })
    }
}

fn untyped(slot: Slot) -> Json {
    match slot {
        Slot::Values {
            shape: Shape::Plain,
            mut values,
        } if values.len() == 1 => values.swap_remove(0).into(),
        Slot::Values { values, .. } => values.into(),
        Slot::Nested(slots) => slots
            .into_iter()
            .map(|(name, slot)| (name, untyped(slot)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings::core::{OnDelete, OnUpdate};

    use super::*;
    use crate::request::decode;

    fn schema() -> Schema {
        let foreign = Foreign {
            entity: "parents".to_owned(),
            key: "id".to_owned(),
            on_delete: OnDelete::Cascade,
            on_update: OnUpdate::Keep,
        };
        Schema::builder("things")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<String>>("name"))
            .field(Field::of::<Option<bool>>("on"))
            .field(Field::of::<Option<f64>>("weight"))
            .field(Field::of::<Option<std::collections::BTreeSet<String>>>(
                "tags",
            ))
            .field(Field::of::<Option<Json>>("extra"))
            .field(Field::of::<Option<i64>>("parent").refers_to(foreign))
            .build()
    }

    fn read(form: &str) -> Result<Json, String> {
        read_as(Blank::Clears, form)
    }

    fn read_as(blank: Blank, form: &str) -> Result<Json, String> {
        let (schema, schemas) = (schema(), parents());
        let meaning = Form {
            schema: &schema,
            schemas: &schemas,
            blank,
        };
        object(&meaning, decode::pairs(form.as_bytes()).unwrap()).map(Json::Object)
    }

    fn parents() -> [&'static Schema; 1] {
        let parents = Schema::builder("parents")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<String>("name").unique())
            .field(Field::of::<i64>("place").unique());
        [Box::leak(Box::new(parents.build()))]
    }

    #[test]
    fn the_schema_says_what_each_text_is() {
        let form = "id=7&name=12&on=true&weight=1.5&tags=a&extra={\"a\":[1]}&parent.id=3";
        assert_eq!(
            read(form).unwrap(),
            json!({
                "id": 7, "name": "12", "on": true, "weight": 1.5, "tags": ["a"],
                "extra": { "a": [1] }, "parent": { "id": 3 }
            })
        );
    }

    #[test]
    fn sets_are_bracketed_numbered_or_repeated() {
        for form in ["tags[]=b&tags[]=a", "tags[1]=b&tags[2]=a", "tags=b&tags=a"] {
            assert_eq!(read(form).unwrap(), json!({ "tags": ["b", "a"] }), "{form}");
        }
        assert_eq!(read("tags[]=a").unwrap(), json!({ "tags": ["a"] }));
        assert_eq!(read("tags=a,b").unwrap(), json!({ "tags": ["a,b"] }));
        assert_eq!(read("tags[]=").unwrap(), json!({ "tags": [] }));
    }

    #[test]
    fn a_reference_may_be_given_by_any_field_of_its_row() {
        assert_eq!(
            read("parent.name=7").unwrap(),
            json!({ "parent": { "name": "7" } })
        );
        assert_eq!(
            read("parent.place=7").unwrap(),
            json!({ "parent": { "place": 7 } })
        );
        assert_eq!(
            read("parent.id=3&parent.name=x&parent.other=7").unwrap(),
            json!({ "parent": { "id": 3, "name": "x", "other": "7" } })
        );
    }

    #[test]
    fn an_empty_value_that_is_kept_is_the_empty_text() {
        let read = read_as(Blank::Kept, "name=&tags=&on=&parent.id=").unwrap();
        assert_eq!(
            read,
            json!({ "name": "", "tags": [""], "on": "", "parent": { "id": "" } })
        );
        assert_eq!(
            read_as(Blank::Kept, "parent=").unwrap(),
            json!({ "parent": "" })
        );
        assert_eq!(
            read_as(Blank::Kept, "tags[]=").unwrap(),
            json!({ "tags": [] })
        );
    }

    #[test]
    fn an_empty_value_that_clears_is_null() {
        let form = "name=&tags=&on=&extra=&parent.id=";
        let nulls =
            json!({ "name": null, "tags": null, "on": null, "extra": null, "parent": null });
        assert_eq!(read(form).unwrap(), nulls);
        assert_eq!(read("parent=").unwrap(), json!({ "parent": null }));
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_schema_to_refuse() {
        let form = "id=x&on=1&weight=NaN&name=a&name=b&parent=3&other.deep=1";
        let object = read(form).unwrap();
        assert_eq!(
            object,
            json!({
                "id": "x", "on": "1", "weight": "NaN", "name": ["a", "b"], "parent": "3",
                "other": { "deep": "1" }
            })
        );
        let violations = schema()
            .patch_from_json(object.as_object().unwrap())
            .unwrap_err();
        assert_eq!(violations.0.len(), 6, "{violations}");
    }

    #[test]
    fn json_in_a_form_is_json() {
        for form in [
            "extra={",
            "extra=text",
            "extra={\"a\":1,\"a\":2}",
            "extra=0.1234567890123456789",
        ] {
            let refused = read_as(Blank::Kept, form).unwrap_err();
            assert!(refused.starts_with("extra: cannot parse"), "{refused}");
        }
        assert!(read_as(Blank::Kept, "extra=").is_err());
        assert_eq!(read("extra=\"text\"").unwrap(), json!({ "extra": "text" }));
    }

    #[test]
    fn names_that_contradict_each_other_are_refused() {
        for form in [
            "parent=3&parent.id=3",
            "parent.id=3&parent=3",
            "a.b=1&a.b.c=2",
        ] {
            assert!(read(form).unwrap_err().contains("contradicts"), "{form}");
        }
        for form in ["=1", "[]=1", ".=1", "a..b=1", "a.b.c.d.e.f.g.h.i=1"] {
            assert!(read(form).unwrap_err().contains("not the name"), "{form}");
        }
    }
}
