//! [`Selector`]: selects the row of a call. [`WriteOptions`]: the options of a write.

use std::borrow::Cow;

use tidings_core::{
    Entity, Field, FieldValue, PrimaryKey, Ref, Row, Schema, Timestamp, TimestampMicros, Value,
};
use uuid::Uuid;

use crate::Error;

/// Selects one row by a unique field, and can require values of further fields.
///
/// Names and values are checked by the call that takes the selector: [`Error::UnknownField`],
/// [`Error::NotUnique`] and [`Error::WrongKind`] say what was wrong.
///
/// # Examples
///
/// ```
/// use tidings_store::Selector;
///
/// // The credential whose key is "abcd", if it belongs to consumer 7.
/// let selector = Selector::by("key", "abcd").and("consumer", 7_i64);
/// assert_eq!(selector.field(), Some("key"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// `None` is the primary key, whatever its name.
    field: Option<Cow<'static, str>>,
    value: FieldInput,
    /// The further parts of a primary key of several fields.
    parts: Vec<Value>,
    /// Further fields that are unique together with the first.
    with: Vec<(Cow<'static, str>, FieldInput)>,
    and: Vec<(Cow<'static, str>, FieldInput)>,
    unchanged: Option<Row>,
    version: Option<i64>,
}

impl Selector {
    /// Selects the row with this value of a unique field. `Null` selects none.
    #[must_use]
    pub fn by(field: impl Into<Cow<'static, str>>, value: impl Into<FieldInput>) -> Self {
        Self {
            field: Some(field.into()),
            value: value.into(),
            parts: Vec::new(),
            with: Vec::new(),
            and: Vec::new(),
            unchanged: None,
            version: None,
        }
    }

    /// Selects the row with these values of fields that are unique together, in any order.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::{FieldInput, Selector};
    ///
    /// let fields = [("consumer", FieldInput::from(7_i64)), ("group", "admins".into())];
    /// let selector = Selector::by_all(fields);
    /// ```
    #[must_use]
    pub fn by_all<N, V>(fields: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Cow<'static, str>>,
        V: Into<FieldInput>,
    {
        let fields = fields.into_iter();
        let mut fields = fields.map(|(name, value)| (name.into(), value.into()));
        let (field, value) = match fields.next() {
            Some((field, value)) => (Some(field), value),
            // No row: the primary key is never absent.
            None => (None, FieldInput::Value(Value::Null)),
        };
        Self {
            field,
            value,
            parts: Vec::new(),
            with: fields.collect(),
            and: Vec::new(),
            unchanged: None,
            version: None,
        }
    }

    /// Selects the row with this primary key, which is one field.
    #[must_use]
    pub fn primary(value: impl Into<FieldInput>) -> Self {
        Self {
            field: None,
            value: value.into(),
            parts: Vec::new(),
            with: Vec::new(),
            and: Vec::new(),
            unchanged: None,
            version: None,
        }
    }

    /// Selects the row with this primary key, of one field or of several.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::EntityId as _;
    /// use tidings_store::Selector;
    ///
    /// // Place 7 of shelf "a", of an entity whose primary key is the two of them.
    /// let selector = Selector::primary_key(("a".to_owned(), 7_i64).to_key());
    /// ```
    #[must_use]
    pub fn primary_key(key: PrimaryKey) -> Self {
        let (value, parts) = if let Some(value) = key.single() {
            (value.clone(), Vec::new())
        } else {
            let mut parts = key.into_parts();
            (parts.remove(0), parts)
        };
        Self {
            parts,
            ..Self::primary(value)
        }
    }

    /// Requires a value of one more field; `Null` means that the field is absent.
    ///
    /// The check is part of the same transaction. A row without this value counts as absent; for an
    /// upsert the result is [`Error::Condition`].
    #[must_use]
    pub fn and(
        mut self,
        field: impl Into<Cow<'static, str>>,
        value: impl Into<FieldInput>,
    ) -> Self {
        self.and.push((field.into(), value.into()));
        self
    }

    /// Requires that the row is the same as when it was read, in every field; otherwise the result
    /// is [`Error::Changed`]. The check is part of the same transaction.
    #[must_use]
    pub fn unchanged(mut self, row: Row) -> Self {
        self.unchanged = Some(row);
        self
    }

    /// Requires that the row has this version; otherwise the result is [`Error::Changed`]. The
    /// check is part of the same transaction. For an entity without a version field the result is
    /// [`Error::Unversioned`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::Selector;
    ///
    /// // Row 7, if no one has changed it since it was read at its third version.
    /// let selector = Selector::primary(7_i64).version(3);
    /// ```
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    /// Returns the name of the unique field, the first if there are several; `None` is the primary
    /// key.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Returns the value of the unique field, the first if there are several.
    #[must_use]
    pub fn value(&self) -> &FieldInput {
        &self.value
    }

    /// Returns the further conditions.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, &FieldInput)> {
        self.and
            .iter()
            .map(|(field, value)| (field.as_ref(), value))
    }

    /// Checks names and values against a schema.
    pub(crate) fn resolve(self, schema: &Schema) -> Result<Resolved, Error> {
        let mut key = match self.field {
            None => resolve_key(schema, self.value, self.parts)?,
            Some(name) => vec![resolve_field(schema, &name, self.value)?],
        };
        let all = |named: Vec<(Cow<'static, str>, FieldInput)>| {
            let named = named.into_iter();
            let resolved = named.map(|(name, value)| resolve_field(schema, &name, value));
            resolved.collect::<Result<Vec<_>, _>>()
        };
        let and = all(self.and)?;
        let version = match (self.version, schema.version()) {
            (None, _) => None,
            (Some(expected), Some(field)) => Some((field, expected)),
            (Some(_), None) => {
                return Err(Error::Unversioned {
                    entity: schema.name().to_owned(),
                });
            }
        };
        key.append(&mut all(self.with)?);

        if !is_unique(schema, &key) {
            let names = key.iter().map(|(field, _)| schema.fields()[*field].name());
            return Err(Error::NotUnique {
                entity: schema.name().to_owned(),
                field: names.collect::<Vec<_>>().join(", "),
            });
        }

        sort(schema, &mut key);
        Ok(Resolved {
            key,
            and,
            unchanged: self.unchanged,
            version,
        })
    }
}

/// Reads the parts of a primary key.
fn resolve_key(
    schema: &Schema,
    first: FieldInput,
    parts: Vec<Value>,
) -> Result<Vec<(usize, Value)>, Error> {
    let fields = schema.primary_key();
    let given = 1 + parts.len();
    if given != fields.len() {
        return Err(Error::PrimaryKeyParts {
            entity: schema.name().to_owned(),
            fields: schema.primary_key_names().join(", "),
            given,
        });
    }

    let parts = std::iter::once(first).chain(parts.into_iter().map(FieldInput::Value));
    let parts = fields.iter().zip(parts);
    parts
        .map(|(&field, part)| Ok((field, part.of(schema, &schema.fields()[field])?)))
        .collect()
}

/// Sorts the values of fields into the order in which the schema declares the fields as unique.
fn sort(schema: &Schema, key: &mut [(usize, Value)]) {
    if is_primary_key(schema, key) {
        let order = schema.primary_key();
        return key.sort_by_key(|(field, _)| order.iter().position(|it| it == field));
    }

    let fields = schema.fields();
    let has_all = |names: &&Vec<String>| {
        names.len() == key.len()
            && key
                .iter()
                .all(|(field, _)| names.iter().any(|name| name == fields[*field].name()))
    };

    if let Some(names) = schema.unique_together().iter().find(has_all) {
        key.sort_by_key(|(field, _)| names.iter().position(|name| name == fields[*field].name()));
    }
}

/// Returns whether no two rows have the same values of these fields.
fn is_unique(schema: &Schema, key: &[(usize, Value)]) -> bool {
    match key {
        [(field, _)] => schema.fields()[*field].is_unique(),
        key if is_primary_key(schema, key) => true,
        key => schema.unique_together().iter().any(|names| {
            let is_part = |(field, _): &(usize, Value)| {
                names.iter().any(|it| it == schema.fields()[*field].name())
            };
            names.len() == key.len() && key.iter().all(is_part)
        }),
    }
}

/// Returns whether these are the fields of the primary key, in any order.
fn is_primary_key(schema: &Schema, key: &[(usize, Value)]) -> bool {
    let primary = schema.primary_key();
    let has = |field: &usize| key.iter().any(|(known, _)| known == field);
    key.len() == primary.len() && primary.iter().all(has)
}

/// A selector that was checked: fields by their index in the schema, values of their fields' kinds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    /// The fields that are unique together, in the order of their declaration.
    pub(crate) key: Vec<(usize, Value)>,
    pub(crate) and: Vec<(usize, Value)>,
    /// The row that the caller has read, if the row must not have changed.
    pub(crate) unchanged: Option<Row>,
    /// The version that the row must have: the index of the field, and the number.
    pub(crate) version: Option<(usize, i64)>,
}

impl Resolved {
    /// Returns whether it selects no row in any case: absent values are never equal.
    pub(crate) fn is_absent(&self) -> bool {
        self.key.iter().any(|(_, value)| value.is_null())
    }

    /// Returns whether it selects a row that the caller has read before.
    pub(crate) fn is_of_a_known_row(&self) -> bool {
        self.unchanged.is_some() || self.version.is_some()
    }

    /// Refuses a row that has changed since the caller read it.
    pub(crate) fn check_unchanged(&self, schema: &Schema, row: &Row) -> Result<(), Error> {
        let is_same = self
            .unchanged
            .as_ref()
            .is_none_or(|expected| expected == row);
        let is_at = self
            .version
            .is_none_or(|(field, expected)| row.0.get(field) == Some(&Value::Integer(expected)));
        if is_same && is_at {
            return Ok(());
        }

        Err(Error::Changed {
            entity: schema.name().to_owned(),
        })
    }

    /// Returns the first of the further conditions that a row does not meet.
    pub(crate) fn mismatch(&self, row: &Row) -> Option<usize> {
        let mut conditions = self.and.iter();
        conditions
            .find(|(field, value)| row.0.get(*field) != Some(value))
            .map(|(field, _)| *field)
    }
}

/// Finds a field by its name and reads a value of it.
pub(crate) fn resolve_field(
    schema: &Schema,
    name: &str,
    value: FieldInput,
) -> Result<(usize, Value), Error> {
    let Some((index, field)) = schema.field(name) else {
        return Err(Error::UnknownField {
            entity: schema.name().to_owned(),
            field: name.to_owned(),
        });
    };
    Ok((index, value.of(schema, field)?))
}

/// The options of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether to run no handlers for the write. Its rows are evicted in any case.
    pub no_event: bool,
}

impl WriteOptions {
    /// Returns the options of a write for which no handler runs.
    #[must_use]
    pub fn silent() -> Self {
        Self { no_event: true }
    }
}

/// The result of an upsert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upserted {
    /// The row did not exist and was created.
    Created,
    /// The row existed and was replaced.
    Replaced,
}

/// A field's value, in the form that the typed methods take. Text is parsed by the field's kind, so
/// that you can pass a UUID as text.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldInput {
    /// A value of the field's kind.
    Value(Value),
    /// Text, to be parsed as the field's kind.
    Text(String),
}

impl FieldInput {
    /// Returns the value, if it is valid for this field.
    pub(crate) fn of(self, schema: &Schema, field: &Field) -> Result<Value, Error> {
        let value = match self {
            Self::Text(text) => Value::from_text(field.kind(), &text),
            Self::Value(value) if value.is(field.kind()) => Ok(value),
            Self::Value(_) => Err(format!("expected a {}", field.kind().name())),
        };
        value.map_err(|message| Error::WrongKind {
            entity: schema.name().to_owned(),
            field: field.name().to_owned(),
            message,
        })
    }
}

impl From<Value> for FieldInput {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<&str> for FieldInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for FieldInput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for FieldInput {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Uuid> for FieldInput {
    fn from(uuid: &Uuid) -> Self {
        Self::Value(Value::Uuid(*uuid))
    }
}

impl<E: Entity<Id: FieldValue>> From<&Ref<E>> for FieldInput {
    fn from(reference: &Ref<E>) -> Self {
        Self::Value(FieldValue::to_value(reference))
    }
}

impl<T: Into<Self>> From<Option<T>> for FieldInput {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Value(Value::Null), Into::into)
    }
}

macro_rules! field_input {
    ($($type:ty),*) => {$(
        impl From<$type> for FieldInput {
            fn from(value: $type) -> Self {
                Self::Value(FieldValue::to_value(&value))
            }
        }
    )*};
}

field_input!(
    bool,
    i64,
    i32,
    u32,
    u64,
    f64,
    f32,
    Uuid,
    Timestamp,
    TimestampMicros,
    Vec<u8>
);
