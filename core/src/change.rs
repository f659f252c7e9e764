//! [`CrudEvent`]: the change of one row.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{entity::Entity, schema::Schema};

/// The operation on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The row is new.
    Create,
    /// The row existed and has other values now.
    Update,
    /// The row is gone.
    Delete,
}

impl Operation {
    /// All three, in the order of a row's life.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// Returns the word used in channel names, as in `"consumers:update"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(text: &str) -> Result<Self, UnknownOperation> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == text)
            .ok_or(UnknownOperation)
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The text names no [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such operation: expected create, update or delete")]
pub struct UnknownOperation;

/// A change of one row, in the form that handlers see.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings_core::{CrudEvent, Entity, Operation};
///
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "flags")]
/// struct Flag {
///     #[entity(primary_key)]
///     id: i64,
///     on: bool,
/// }
///
/// let change = CrudEvent::updated(Flag { id: 7, on: false }, Flag { id: 7, on: true });
/// assert_eq!(change.operation, Operation::Update);
/// assert!(change.old_entity.is_some_and(|old| !old.on));
/// assert_eq!(change.schema.name(), "flags");
/// ```
#[derive(Clone, PartialEq)]
pub struct CrudEvent<E> {
    /// The operation.
    pub operation: Operation,
    /// The row after the change; for a delete, the row as it was last.
    pub entity: E,
    /// The true predecessor of [`entity`](Self::entity); for updates only.
    pub old_entity: Option<E>,
    /// The schema of the entity.
    pub schema: &'static Schema,
}

impl<E: Entity> CrudEvent<E> {
    /// Makes the event of a row that was created.
    #[must_use]
    pub fn created(entity: E) -> Self {
        Self {
            operation: Operation::Create,
            entity,
            old_entity: None,
            schema: E::schema(),
        }
    }

    /// Makes the event of a row that was updated.
    #[must_use]
    pub fn updated(old_entity: E, entity: E) -> Self {
        let old_entity = Some(old_entity);
        Self {
            operation: Operation::Update,
            entity,
            old_entity,
            schema: E::schema(),
        }
    }

    /// Makes the event of a row that was deleted.
    #[must_use]
    pub fn deleted(entity: E) -> Self {
        Self {
            operation: Operation::Delete,
            entity,
            old_entity: None,
            schema: E::schema(),
        }
    }
}

/// With secrets masked.
impl<E: Entity> fmt::Debug for CrudEvent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event = f.debug_struct("CrudEvent");
        event.field("operation", &self.operation);

        if self.schema.has_secrets() {
            let shown = |entity: &E| entity.to_row().to_shown_json(self.schema);
            let old = self.old_entity.as_ref().map(shown);
            event
                .field("entity", &shown(&self.entity))
                .field("old_entity", &old);
        } else {
            event
                .field("entity", &self.entity)
                .field("old_entity", &self.old_entity);
        }

        event.field("schema", &self.schema.name()).finish()
    }
}

impl<E: Serialize> Serialize for CrudEvent<E> {
    /// Writes the dynamic form for wildcard handlers: `{operation, entity, old_entity, schema}`,
    /// with the schema's name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serializer.serialize_struct("CrudEvent", 4)?;
        event.serialize_field("operation", &self.operation)?;
        event.serialize_field("entity", &self.entity)?;
        event.serialize_field("old_entity", &self.old_entity)?;
        event.serialize_field("schema", self.schema.name())?;
        event.end()
    }
}
