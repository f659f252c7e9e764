//! [`Record`]: one entry of the log, such as a row's change.
//!
//! Records carry fields and not cache keys: each reader derives the keys from its own schemas, so
//! two versions of a program with different cache keys still invalidate each other's.

use std::sync::Arc;

use uuid::Uuid;

use super::{Mark, Place};
use crate::{
    change::Operation, key::CacheKey, primary_key::PrimaryKey, row::Row, schema::Schema,
    value::Value,
};

/// One record of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where to read on: the cursor after this record.
    pub place: Place,
    /// The commit that made it. Records of one transaction share a mark if the log knows that they
    /// belong together; otherwise each has its own.
    pub mark: Mark,
    /// The node that wrote it; `None` for another program.
    pub origin: Option<Arc<str>>,
    /// What happened.
    pub body: Body,
}

/// What a record reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// One row changed.
    Row(RowRecord),
    /// Any row of an entity may have changed: its table was truncated, a partition was detached, or
    /// stored values were migrated.
    Entity(Arc<str>),
    /// Every node must evict something, although no row changed.
    Evict(Eviction),
    /// An application's own event, for the handlers of every node.
    Event(Posted),
    /// A record that this program cannot read: of another version, or malformed. It counts as a gap
    /// of its entity, or of all entities.
    Unreadable {
        /// The entity, if at least that can be read.
        entity: Option<Arc<str>>,
    },
}

/// A row that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRecord {
    /// The name of the entity's schema.
    pub entity: Arc<str>,
    /// What was done.
    pub operation: Operation,
    /// The primary key, all parts of it; for an update that changed it, the new one.
    pub key: PrimaryKey,
    /// The row as it was, for updates and deletes. [Partial](Fields::is_partial) if the log holds
    /// the keys alone.
    pub old: Fields,
    /// The row as it is, for creates and updates. [Partial](Fields::is_partial) if the log holds
    /// the keys alone.
    pub new: Fields,
    /// Whether handlers run for it.
    pub announce: Announce,
}

/// Whether handlers run for a change. Caches evict in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Announce {
    /// They do.
    Event,
    /// They do not: the write asked for silence, or the row was perhaps not replaced at all.
    Silent,
}

/// Values of some fields, by name. A field that is not among them is unknown, which is not the same
/// as absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    values: Vec<(Arc<str>, Value)>,
    partial: bool,
}

impl Fields {
    /// Makes the fields of a whole row.
    #[must_use]
    pub fn of_row(schema: &Schema, row: &Row) -> Self {
        let values = row.0.iter().cloned().chain(std::iter::repeat(Value::Null));
        let fields = schema
            .fields()
            .iter()
            .map(|field| Arc::<str>::from(field.name()));
        fields.zip(values).collect()
    }

    /// Makes partial fields: those that keys are made of, for a row that was too long to be
    /// recorded whole.
    #[must_use]
    pub fn keys_alone<N: Into<Arc<str>>>(fields: impl IntoIterator<Item = (N, Value)>) -> Self {
        let partial = true;
        Self {
            partial,
            ..fields.into_iter().collect()
        }
    }

    /// Returns whether the row has more fields than these: enough to evict by, and too few for an
    /// event.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial || self.values.is_empty()
    }

    /// Returns the value of a field; `None` if it is unknown.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .find_map(|(field, value)| (&**field == name).then_some(value))
    }

    /// Returns whether no field is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns how many fields are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns names and values, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }

    /// Returns whether every field of these names is known.
    #[must_use]
    pub fn name_all<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        names.into_iter().all(|name| self.value(name).is_some())
    }

    /// Returns the primary key that they name; none if a part of it is unknown.
    #[must_use]
    pub fn key(&self, schema: &Schema) -> Option<PrimaryKey> {
        let value = |name: &str| self.value(name).cloned();
        if let Some(field) = schema.single_key() {
            return value(schema.fields()[field].name()).map(PrimaryKey::from);
        }
        let parts = schema.primary_key_fields().map(|field| value(field.name()));
        parts.collect::<Option<_>>().map(PrimaryKey::of)
    }

    /// Lays the fields out as a row of a schema. Unknown fields become absent; fields that the
    /// schema does not have are left out.
    #[must_use]
    pub fn to_row(&self, schema: &Schema) -> Row {
        let fields = schema.fields().iter();
        let value = |name| self.value(name).cloned().unwrap_or_default();
        Row(fields.map(|field| value(field.name())).collect())
    }
}

impl<N: Into<Arc<str>>> FromIterator<(N, Value)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(fields: I) -> Self {
        let fields = fields.into_iter();
        Self {
            values: fields.map(|(name, value)| (name.into(), value)).collect(),
            partial: false,
        }
    }
}

impl RowRecord {
    /// Returns roughly how many bytes what it names takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let fields = |fields: &Fields| -> usize {
            let values = fields.values.iter();
            values
                .map(|(_, value)| size_of::<Arc<str>>() + value.weight())
                .sum()
        };
        self.key.weight() + fields(&self.old) + fields(&self.new)
    }
}

impl Record {
    /// Returns roughly how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let body = match &self.body {
            Body::Row(row) => row.weight(),
            Body::Evict(eviction) => match &eviction.target {
                EvictionTarget::Keys(keys) => keys.iter().map(|key| key.as_str().len() + 32).sum(),
                EvictionTarget::Tag(tag) => tag.len(),
                EvictionTarget::All => 0,
            },
            Body::Event(posted) => posted.payload.len(),
            Body::Entity(_) | Body::Unreadable { .. } => 0,
        };
        size_of::<Self>() + body
    }
}

/// Something that every node must evict, although no row changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// Random. The node that asked recognizes its own record by it, and readers a second copy.
    pub id: Uuid,
    /// The node that asked.
    pub origin: Option<Arc<str>>,
    /// The name of the cache.
    pub cache: Arc<str>,
    /// What to evict of it.
    pub target: EvictionTarget,
}

/// An application's own event, for the handlers of every node.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// Random. Readers recognize a second copy by it.
    pub id: Uuid,
    /// The node that posted it.
    pub origin: Option<Arc<str>>,
    /// The channel's source.
    pub source: Arc<str>,
    /// The channel's event.
    pub event: Arc<str>,
    /// The event as JSON.
    pub payload: Arc<str>,
}

/// What can be appended to a log directly: everything but a row's change.
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// Every node must evict something.
    Evict(Eviction),
    /// The handlers of every node must receive an event.
    Event(Posted),
}

impl Appended {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::Evict(eviction) => eviction.id,
            Self::Event(posted) => posted.id,
        }
    }

    /// Returns the node that appends it.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        match self {
            Self::Evict(eviction) => eviction.origin.as_deref(),
            Self::Event(posted) => posted.origin.as_deref(),
        }
    }
}

impl From<Appended> for Body {
    fn from(entry: Appended) -> Self {
        match entry {
            Appended::Evict(eviction) => Self::Evict(eviction),
            Appended::Event(posted) => Self::Event(posted),
        }
    }
}

/// What to evict of a cache.
#[derive(Clone, Debug, PartialEq)]
pub enum EvictionTarget {
    /// Some keys.
    Keys(Vec<CacheKey>),
    /// Everything that carries a tag.
    Tag(Arc<str>),
    /// Everything.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Field;

    #[test]
    fn a_row_has_what_is_named_and_nothing_else() {
        let schema = Schema::builder("flags")
            .field(Field::of::<i64>("id"))
            .field(Field::of::<String>("name"))
            .field(Field::of::<bool>("on"))
            .build();
        let fields: Fields = [
            ("on", Value::Boolean(true)),
            ("id", Value::Integer(7)),
            ("gone", Value::Null),
        ]
        .into_iter()
        .collect();

        let row = fields.to_row(&schema);
        assert_eq!(
            row.0,
            [Value::Integer(7), Value::Null, Value::Boolean(true)]
        );
        assert!(fields.name_all(["id", "on"]));
        assert!(!fields.name_all(["id", "name"]));
        assert_eq!(Fields::of_row(&schema, &row).to_row(&schema), row);
    }
}
