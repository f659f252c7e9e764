//! [`Schema`]: the description of an entity at run time.
//!
//! A schema is plain data, made by `#[derive(Entity)]` or by hand with [`Schema::builder`]. Making
//! a schema never fails; [`check_all`] finds every fault of all schemas at once, when a node
//! starts. Stores, caches and the admin API rely on that check and do not repeat it.

// Layers, the lowest first: a module imports from those above it in this list alone.

// One field. Must not know the schema.
mod field;

// Functions of the application that check a whole row.
mod row_check;

// Names that databases keep for themselves.
mod reserved;

// The faults of one schema.
mod check_one;

// The faults of several together.
mod check;

// A schema as JSON.
mod describe;

// Rows by its fields.
mod rows;

// The cache keys of its rows.
mod keys;

// From the text of a key back to its lookup.
mod key_text;

// From the input of clients to rows.
mod input;

use crate::{
    row::{Row, Violations},
    value::FieldKind,
};

pub use self::{
    check::{SchemaFaults, check_all},
    field::{Auto, Field, Foreign, Length, OnDelete, OnUpdate, Pattern},
    keys::Lookup,
    row_check::RowCheck,
};

/// The fields and keys of an entity.
///
/// # Examples
///
/// ```
/// use tidings_core::{Auto, Field, Schema, check_all};
/// use uuid::Uuid;
///
/// let schema = Schema::builder("consumers")
///     .field(Field::of::<Uuid>("id").primary_key().auto(Auto::Random))
///     .field(Field::of::<Option<String>>("username").unique())
///     .endpoint_key("username")
///     .build();
/// check_all(&[&schema])?;
/// assert_eq!(schema.endpoint_key(), Some(1));
/// # Ok::<(), tidings_core::SchemaFaults>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    name: String,
    fields: Vec<Field>,
    /// The indexes of the primary key's fields, in their order.
    primary_key: Vec<usize>,
    endpoint_key: Option<String>,
    cache_keys: Vec<Vec<String>>,
    unique_together: Vec<Vec<String>>,
    at_least_one_of: Vec<Vec<String>>,
    checks: Vec<RowCheck>,
    admin_api: Option<AdminApi>,
}

/// The paths under which the admin API shows an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminApi {
    /// The collection's path, as in `/key-auths`.
    pub name: String,
    /// The path below the entity to which a foreign field refers, as in `/consumers/{id}/key-auth`.
    pub nested: Option<String>,
}

/// Builds a [`Schema`] by hand.
#[derive(Clone, Debug)]
#[must_use]
pub struct SchemaBuilder {
    schema: Schema,
}

impl Schema {
    /// Returns a builder for the schema of an entity with this name.
    pub fn builder(name: &str) -> SchemaBuilder {
        SchemaBuilder {
            schema: Self {
                name: name.to_owned(),
                fields: Vec::new(),
                primary_key: Vec::new(),
                endpoint_key: None,
                cache_keys: Vec::new(),
                unique_together: Vec::new(),
                at_least_one_of: Vec::new(),
                checks: Vec::new(),
                admin_api: None,
            },
        }
    }

    /// Returns the entity's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the fields, in the order of the struct.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Returns a field and its index, by name. Costs a walk over the fields.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.name() == name)
    }

    /// Returns the indexes of the primary key's fields, in their order. Most schemas have one. A
    /// schema without a key has none, and [`check_all`] refuses it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("stocks")
    ///     .field(Field::of::<String>("shelf").primary_key())
    ///     .field(Field::of::<i64>("pieces"))
    ///     .field(Field::of::<i64>("place").primary_key())
    ///     .build();
    /// assert_eq!(schema.primary_key(), [0, 2]);
    /// assert_eq!(schema.primary_key_names(), ["shelf", "place"]);
    /// assert_eq!(schema.single_key(), None);
    /// ```
    #[must_use]
    pub fn primary_key(&self) -> &[usize] {
        &self.primary_key
    }

    /// Returns the index of the primary key if it is one field, so that other rows can refer to it.
    #[must_use]
    pub fn single_key(&self) -> Option<usize> {
        match self.primary_key[..] {
            [field] => Some(field),
            _ => None,
        }
    }

    /// Returns the primary key's fields.
    pub fn primary_key_fields(&self) -> impl Iterator<Item = &Field> {
        self.primary_key.iter().map(|field| &self.fields[*field])
    }

    /// Returns the names of the primary key's fields.
    #[must_use]
    pub fn primary_key_names(&self) -> Vec<&str> {
        self.primary_key_fields().map(Field::name).collect()
    }

    /// Returns the index of the unique field that paths accept in place of the primary key.
    #[must_use]
    pub fn endpoint_key(&self) -> Option<usize> {
        self.endpoint_key
            .as_deref()
            .and_then(|name| self.field(name))
            .map(|(index, _)| index)
    }

    /// Returns the names of the cache key's fields; those of the first key if there are several,
    /// and none if the primary key is the cache key.
    #[must_use]
    pub fn cache_key_fields(&self) -> &[String] {
        self.cache_keys.first().map_or(&[], Vec::as_slice)
    }

    /// Returns the declared cache keys, each as the names of its fields.
    #[must_use]
    pub fn cache_keys(&self) -> &[Vec<String>] {
        &self.cache_keys
    }

    /// Returns the sets of fields that are unique together.
    #[must_use]
    pub fn unique_together(&self) -> &[Vec<String>] {
        &self.unique_together
    }

    /// Returns the sets of fields of which at least one must be set.
    #[must_use]
    pub fn at_least_one_of(&self) -> &[Vec<String>] {
        &self.at_least_one_of
    }

    /// Returns the functions that check each row before it is stored.
    #[must_use]
    pub fn checks(&self) -> &[RowCheck] {
        &self.checks
    }

    /// Returns the index of the field with the time at which a row expires.
    #[must_use]
    pub fn expiry(&self) -> Option<usize> {
        self.fields.iter().position(Field::is_expiry)
    }

    /// Returns the index of the field that counts the versions of a row.
    #[must_use]
    pub fn version(&self) -> Option<usize> {
        let mut fields = self.fields.iter();
        fields.position(|field| field.auto_value() == Some(Auto::Version))
    }

    /// Returns whether a field is secret.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.fields.iter().any(Field::is_secret)
    }

    /// Returns the paths of the entity in the admin API.
    #[must_use]
    pub fn admin_api(&self) -> Option<&AdminApi> {
        self.admin_api.as_ref()
    }
}

impl SchemaBuilder {
    /// Adds a field.
    pub fn field(mut self, field: Field) -> Self {
        self.schema.fields.push(field);
        self
    }

    /// Sets the unique field that paths accept in place of the primary key.
    pub fn endpoint_key(mut self, field: &str) -> Self {
        self.schema.endpoint_key = Some(field.to_owned());
        self
    }

    /// Adds a cache key of these fields. Call it again for a further key; rows are looked up by
    /// each.
    pub fn cache_key(mut self, fields: &[&str]) -> Self {
        if !fields.is_empty() {
            self.schema.cache_keys.push(owned(fields));
        }
        self
    }

    /// Adds a set of fields that are unique together.
    pub fn unique_together(mut self, fields: &[&str]) -> Self {
        self.schema.unique_together.push(owned(fields));
        self
    }

    /// Adds a set of fields of which at least one must be set.
    pub fn at_least_one_of(mut self, fields: &[&str]) -> Self {
        self.schema.at_least_one_of.push(owned(fields));
        self
    }

    /// Registers a function that checks each row before it is stored, once its single fields are
    /// valid. It runs inside the write's transaction, so it should be quick, and may run several
    /// times for one write. Its name identifies it in messages.
    pub fn check(mut self, name: &str, run: fn(&Row) -> Result<(), Violations>) -> Self {
        self.schema.checks.push(RowCheck::new(name, run));
        self
    }

    /// Shows the entity in the admin API.
    pub fn admin_api(mut self, name: &str, nested: Option<&str>) -> Self {
        let nested = nested.map(str::to_owned);
        self.schema.admin_api = Some(AdminApi {
            name: name.to_owned(),
            nested,
        });
        self
    }

    /// Makes the schema, without a check. From now on its text fields that are unique or part of a
    /// key hold one line.
    #[must_use]
    pub fn build(self) -> Schema {
        let mut schema = self.schema;
        let fields = schema.fields.iter().enumerate();
        let marked = fields.filter(|(_, field)| field.is_primary_key());
        schema.primary_key = marked.map(|(index, _)| index).collect();

        if schema.primary_key.len() > 1 {
            for &field in &schema.primary_key {
                schema.fields[field].share_key();
            }
        }

        let parts = schema.unique_together.iter().flatten();
        let parts: Vec<String> = parts
            .chain(schema.cache_keys.iter().flatten())
            .chain(&schema.endpoint_key)
            .cloned()
            .collect();

        for field in &mut schema.fields {
            let identifies = field.is_unique() || field.is_primary_key();
            let is_key = identifies || parts.iter().any(|part| part == field.name());
            if is_key && field.kind() == FieldKind::Text && field.max_length().is_none() {
                *field = field.clone().one_line(Field::KEY_LENGTH);
            }
        }
        schema
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
