//! One field of a schema.

use serde_json::{Value as Json, json};

use crate::{Entity, FieldKind, FieldValue, Value};

/// What is known of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    name: String,
    kind: FieldKind,
    optional: bool,
    primary_key: bool,
    unique: bool,
    auto: Option<Auto>,
    foreign: Option<Foreign>,
}

/// How an absent value is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auto {
    /// On insert: a random UUID, or a text of 32 random letters and digits.
    Random,
    /// On insert: the time.
    CreateTime,
    /// On every write: the time.
    UpdateTime,
}

/// A reference to another entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The entity referred to.
    pub entity: String,
    /// The primary key field of that entity.
    pub key: String,
    /// What becomes of this row when that row is deleted.
    pub on_delete: OnDelete,
    /// Whether an update of that row evicts this one from the cache too.
    pub evict_on_update: bool,
}

/// What becomes of a row when the row it refers to is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// The delete of the parent is refused.
    #[default]
    Restrict,
    /// The row is deleted too.
    Cascade,
    /// The reference is cleared.
    SetNull,
}

impl Field {
    /// A field whose kind, and whether it may be absent, are those of a Rust type.
    #[must_use]
    pub fn of<T: FieldValue>(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: T::KIND,
            optional: T::OPTIONAL,
            primary_key: false,
            unique: false,
            auto: None,
            foreign: None,
        }
    }

    /// Makes it the primary key.
    #[must_use]
    pub fn primary_key(mut self) -> Self {
        self.primary_key = true;
        self
    }

    /// Makes its values unique.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Demands a value on insert, also where the Rust type is an `Option`.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.optional = false;
        self
    }

    /// Has absent values made.
    #[must_use]
    pub fn auto(mut self, auto: Auto) -> Self {
        self.auto = Some(auto);
        self
    }

    /// Makes it a reference to the rows of an entity.
    #[must_use]
    pub fn foreign<E: Entity>(self, on_delete: OnDelete, evict_on_update: bool) -> Self {
        let (entity, key) = (E::NAME.to_owned(), E::PRIMARY_KEY.to_owned());
        self.refers_to(Foreign {
            entity,
            key,
            on_delete,
            evict_on_update,
        })
    }

    /// Makes it a reference to the rows of an entity that is known by name.
    #[must_use]
    pub fn refers_to(mut self, foreign: Foreign) -> Self {
        self.foreign = Some(foreign);
        self
    }

    /// The field's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of value it holds; for a reference, that of the primary key referred to.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Whether an insert must bring a value: it is neither optional nor made.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.optional && self.auto.is_none()
    }

    /// Whether a stored row may lack it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// Whether it is the primary key.
    #[must_use]
    pub fn is_primary_key(&self) -> bool {
        self.primary_key
    }

    /// Whether its value identifies a row: unique, or the primary key.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.unique || self.primary_key
    }

    /// How absent values are made.
    #[must_use]
    pub fn auto_value(&self) -> Option<Auto> {
        self.auto
    }

    /// What it refers to.
    #[must_use]
    pub fn reference(&self) -> Option<&Foreign> {
        self.foreign.as_ref()
    }

    /// A value of this field as JSON; a reference as `{"id": ..}`.
    #[must_use]
    pub fn to_json(&self, value: &Value) -> Json {
        match &self.foreign {
            Some(foreign) if !value.is_null() => json!({ &foreign.key: value.to_json() }),
            _ => value.to_json(),
        }
    }

    /// Reads a value of this field from JSON; a reference from `{"id": ..}`.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_json(&self, json: &Json) -> Result<Value, String> {
        let value = match (&self.foreign, json) {
            (Some(foreign), Json::Object(object)) => match object.get(&foreign.key) {
                Some(key) if object.len() == 1 && !key.is_null() => {
                    Value::from_json(self.kind, key)?
                }
                _ => return Err(reference_expected(foreign)),
            },
            (Some(foreign), json) if !json.is_null() => return Err(reference_expected(foreign)),
            _ => Value::from_json(self.kind, json)?,
        };
        match &value {
            Value::Text(text) if text.is_empty() => Err("length must be at least 1".to_owned()),
            Value::Text(text) if text.contains('\0') => Err("must not hold a NUL".to_owned()),
            _ => Ok(value),
        }
    }
}

fn reference_expected(foreign: &Foreign) -> String {
    format!(
        "expected a reference to {} as {{\"{}\": ..}}",
        foreign.entity, foreign.key
    )
}
