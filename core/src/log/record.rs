//! [`Record`]: what the log holds of one change.
//!
//! Records carry fields and not cache keys: each reader derives the keys from its own schemas, so
//! two versions of a program with different cache keys still invalidate each other's.

use std::sync::Arc;

use uuid::Uuid;

use super::{Mark, Place};
use crate::{change::Operation, key::CacheKey, row::Row, schema::Schema, value::Value};

/// One record of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The cursor after this record.
    pub place: Place,
    /// The commit that made it. Records of one transaction have one mark where the log knows them
    /// to be one; where it does not, each has its own.
    pub mark: Mark,
    /// The node whose write it was; none if another program's.
    pub origin: Option<Arc<str>>,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// One row changed.
    Row(RowRecord),
    /// Any row of an entity may have changed: it was truncated, a partition was detached, stored
    /// values were migrated.
    Entity(Arc<str>),
    /// Every node is to evict something that no row names.
    Evict(Eviction),
    /// Every node's handlers are to hear of an event of an application's own.
    Event(Posted),
    /// A record that this program cannot read: of another version, or malformed. It counts as a gap
    /// of its entity, or of all.
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
    /// The primary key; for an update that changed it, the new one.
    pub key: Value,
    /// The row as it was, for updates and deletes. [Partial](Fields::is_partial) if the log holds
    /// the keys alone.
    pub old: Fields,
    /// The row as it is, for creates and updates. [Partial](Fields::is_partial) if the log holds
    /// the keys alone.
    pub new: Fields,
    /// Whether handlers hear of it.
    pub announce: Announce,
}

/// Whether the handlers of a change hear of it. Caches evict in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Announce {
    /// They do.
    Event,
    /// They do not: the write asked for silence, or the record names what was only perhaps
    /// replaced.
    Silent,
}

/// Values of some fields, by name. A field that is not named is unknown, and not absent.
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

    /// Makes the fields that keys are made of, of a row that was too long to be recorded whole.
    #[must_use]
    pub fn keys_alone<N: Into<Arc<str>>>(fields: impl IntoIterator<Item = (N, Value)>) -> Self {
        let partial = true;
        Self {
            partial,
            ..fields.into_iter().collect()
        }
    }

    /// Returns whether the row has more fields than the log holds: they are enough to evict by, and
    /// too few to tell handlers.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial || self.values.is_empty()
    }

    /// Returns the value of a field, if it is named.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .find_map(|(field, value)| (&**field == name).then_some(value))
    }

    /// Returns whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns how many are named.
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

    /// Lays the fields out as a row of a schema. What is not named is absent; what the schema does
    /// not know is left out.
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

/// What every node is to evict, without a row that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Eviction {
    /// Random: by it the node that asked knows its own record, and readers know a second copy.
    pub id: Uuid,
    /// The node that asked.
    pub origin: Option<Arc<str>>,
    /// The name of the cache.
    pub cache: Arc<str>,
    /// What of it.
    pub target: EvictionTarget,
}

/// An event of an application's own, for the handlers of every node.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// Random: by it readers know a second copy.
    pub id: Uuid,
    /// The node that has posted it.
    pub origin: Option<Arc<str>>,
    /// The channel's source.
    pub source: Arc<str>,
    /// The channel's event.
    pub event: Arc<str>,
    /// The event as JSON.
    pub payload: Arc<str>,
}

/// What can be appended to a log: what is not a row's change.
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// Every node is to evict something.
    Evict(Eviction),
    /// Every node's handlers are to hear of something.
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

/// What of a cache is to be evicted.
#[derive(Clone, Debug, PartialEq)]
pub enum EvictionTarget {
    /// Some keys.
    Keys(Vec<CacheKey>),
    /// Whatever carries a tag.
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
