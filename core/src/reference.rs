//! [`Ref`]: a foreign key with the type of the entity to which it refers.

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    ops::RangeInclusive,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use crate::{
    entity::Entity,
    key::{KeyBuilder, KeyPart},
    value::{FieldKind, FieldValue, Value},
};

/// A reference to a row of another entity, by its primary key, which is one field. In JSON:
/// `{"id": ..}`, where `id` is the name of that field.
///
/// A reference takes as much memory as the primary key. It does not guarantee that the row exists.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tidings_core::{Entity, Ref};
/// use uuid::Uuid;
///
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "consumers")]
/// struct Consumer {
///     #[entity(primary_key, auto)]
///     id: Uuid,
/// }
///
/// let consumer = Consumer { id: Uuid::nil() };
/// let json = serde_json::to_string(&Ref::to(&consumer))?;
/// assert_eq!(json, r#"{"id":"00000000-0000-0000-0000-000000000000"}"#);
/// assert_eq!(serde_json::from_str::<Ref<Consumer>>(&json)?.id, consumer.id);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// You cannot refer to an entity whose primary key has several fields:
///
/// ```compile_fail,E0277
/// # use serde::{Deserialize, Serialize};
/// # use tidings_core::{Entity, Ref};
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "stocks")]
/// struct Stock {
///     #[entity(primary_key)]
///     shelf: String,
///     #[entity(primary_key)]
///     place: i64,
/// }
///
/// tidings_core::Field::of::<Ref<Stock>>("stock");
/// ```
pub struct Ref<E: Entity> {
    /// The primary key of the row.
    pub id: E::Id,
    entity: PhantomData<fn() -> E>,
}

impl<E: Entity> Ref<E> {
    /// Makes a reference by primary key.
    #[must_use]
    pub fn new(id: E::Id) -> Self {
        Self {
            id,
            entity: PhantomData,
        }
    }

    /// Makes a reference to this row.
    #[must_use]
    pub fn to(entity: &E) -> Self {
        Self::new(entity.id())
    }
}

// By hand, because derives would demand the traits of `E` and not of `E::Id`.

impl<E: Entity> Clone for Ref<E> {
    fn clone(&self) -> Self {
        Self::new(self.id.clone())
    }
}

impl<E: Entity> Copy for Ref<E> where E::Id: Copy {}

impl<E: Entity> fmt::Debug for Ref<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({} {:?})", E::NAME, self.id)
    }
}

impl<E: Entity> PartialEq for Ref<E> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<E: Entity> Eq for Ref<E> {}

impl<E: Entity> Hash for Ref<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// Returns the name of the one field that a reference holds; empty for an entity without a primary
/// key, whose schema is faulty.
fn key_of<E: Entity>() -> &'static str {
    E::PRIMARY_KEY.first().copied().unwrap_or_default()
}

impl<E: Entity<Id: FieldValue>> Serialize for Ref<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key_of::<E>(), &self.id)?;
        map.end()
    }
}

impl<'de, E: Entity<Id: FieldValue>> Deserialize<'de> for Ref<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

impl<E: Entity<Id: FieldValue>> FieldValue for Ref<E> {
    const KIND: FieldKind = E::Id::KIND;
    const RANGE: Option<RangeInclusive<i64>> = E::Id::RANGE;

    fn refers_to() -> Option<(&'static str, &'static str)> {
        Some((E::NAME, key_of::<E>()))
    }

    fn to_value(&self) -> Value {
        self.id.to_value()
    }

    fn from_value(value: Value) -> Option<Self> {
        E::Id::from_value(value).map(Self::new)
    }
}

impl<E: Entity<Id: FieldValue>> KeyPart for Ref<E> {
    fn write(&self, key: &mut KeyBuilder) {
        self.to_value().write(key);
    }
}

struct Visitor<E>(PhantomData<fn() -> E>);

impl<'de, E: Entity<Id: FieldValue>> de::Visitor<'de> for Visitor<E> {
    type Value = Ref<E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map with the one entry `{}`", key_of::<E>())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Ref<E>, A::Error> {
        let mut id = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != key_of::<E>() {
                return Err(de::Error::unknown_field(&key, E::PRIMARY_KEY));
            }
            if id.replace(map.next_value()?).is_some() {
                return Err(de::Error::duplicate_field(key_of::<E>()));
            }
        }

        id.map(Ref::new)
            .ok_or_else(|| de::Error::missing_field(key_of::<E>()))
    }
}
