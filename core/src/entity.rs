//! [`Entity`]: a Rust struct whose rows are stored, cached and announced.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    key::CacheKey,
    primary_key::EntityId,
    row::{Row, RowError},
    schema::{Field, Foreign, OnDelete, OnUpdate, Schema},
};

/// A struct with a schema. Derive it with `#[derive(Entity)]`; [the macro](macro@crate::Entity)
/// describes the attributes.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings_core::{Entity, Timestamp};
/// use uuid::Uuid;
///
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "consumers", endpoint_key = "username")]
/// struct Consumer {
///     #[entity(primary_key, auto)]
///     id: Uuid,
///     #[entity(unique)]
///     username: Option<String>,
///     #[entity(auto_create_time)]
///     created_at: Timestamp,
/// }
///
/// assert_eq!(Consumer::schema().name(), "consumers");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an entity",
    note = "put `#[derive(Entity)]` on it"
)]
pub trait Entity:
    Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + Sized + 'static
{
    /// The type of the primary key: the type of its field, or a tuple of the types of its fields.
    type Id: EntityId;

    /// The name of the entity, its table and its channel.
    const NAME: &'static str;
    /// The names of the primary key's fields, in the order of the schema.
    const PRIMARY_KEY: &'static [&'static str];

    /// Returns the schema. The first call makes it; later calls cost one atomic load.
    /// [`check_all`](crate::check_all), which a node calls when it starts, finds its faults.
    fn schema() -> &'static Schema;

    /// Returns the primary key of this row: a clone of its field, or of each of its fields.
    fn id(&self) -> Self::Id;

    /// Returns the untyped row, with fields in the order of the schema. Clones every field.
    fn to_row(&self) -> Row;

    /// Makes the entity from an untyped row.
    ///
    /// # Errors
    ///
    /// A field is absent, of another kind or out of range.
    fn from_row(row: Row) -> Result<Self, RowError>;

    /// Returns the key under which this row is cached: the schema's cache key, or the primary key
    /// if the schema has no cache key or the row sets none of its parts.
    ///
    /// This makes an untyped row first. To look up a value that you already have, build the key
    /// from it: [`CacheKey::new`] with the entity's name.
    fn cache_key(&self) -> CacheKey {
        Self::schema().cache_key_of(&self.to_row())
    }
}

impl Field {
    /// Makes it a reference to the rows of an entity, whose primary key is one field;
    /// [`check_all`](crate::check_all) refuses another.
    pub fn foreign<E: Entity>(self, on_delete: OnDelete, on_update: OnUpdate) -> Self {
        let (entity, key) = (E::NAME.to_owned(), E::PRIMARY_KEY.join(", "));
        self.refers_to(Foreign {
            entity,
            key,
            on_delete,
            on_update,
        })
    }
}
