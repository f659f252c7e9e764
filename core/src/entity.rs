//! [`Entity`]: a Rust struct whose rows are stored, cached and announced.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    key::CacheKey,
    primary_key::EntityId,
    row::{Row, RowError},
    schema::{Field, Foreign, OnDelete, Schema},
};

/// A struct with a schema. Derive it: `#[derive(Entity)]`; the attributes are described at
/// [the macro](macro@crate::Entity).
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
    /// The type of the primary key: that of its field, or a tuple of those of its fields.
    type Id: EntityId;

    /// The entity's name, and that of its table and its channel.
    const NAME: &'static str;
    /// The name of the field that is the primary key, or those of its fields in the order of the
    /// schema.
    const PRIMARY_KEY: &'static [&'static str];

    /// Returns the schema, made at the first call; later ones cost one atomic load. Its faults are
    /// found by [`check_all`](crate::check_all), which a node calls when it starts.
    fn schema() -> &'static Schema;

    /// Returns the primary key of this row: a clone of its field, or of each of its fields.
    fn id(&self) -> Self::Id;

    /// Returns the row without its type, fields in the order of the schema. Clones every field.
    fn to_row(&self) -> Row;

    /// Takes a row back.
    ///
    /// # Errors
    ///
    /// A field is absent, of another kind or out of range.
    fn from_row(row: Row) -> Result<Self, RowError>;

    /// Returns the key that this row is cached under: the schema's cache key, or the primary key
    /// where the schema names none or no part of it is set.
    ///
    /// Makes a row to take it from. To look up by a value at hand, build the key from that value:
    /// [`CacheKey::new`] with the entity's name.
    fn cache_key(&self) -> CacheKey {
        Self::schema().cache_key_of(&self.to_row())
    }
}

impl Field {
    /// Makes it a reference to the rows of an entity, whose primary key is one field;
    /// [`check_all`](crate::check_all) refuses another.
    pub fn foreign<E: Entity>(self, on_delete: OnDelete, evict_on_update: bool) -> Self {
        let (entity, key) = (E::NAME.to_owned(), E::PRIMARY_KEY.join(", "));
        self.refers_to(Foreign {
            entity,
            key,
            on_delete,
            evict_on_update,
        })
    }
}
