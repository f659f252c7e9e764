//! The types that every part of Tidings shares: entities and their schemas, changes, cache keys,
//! the clock.
//!
//! This crate does no I/O and spawns no task. It uses tokio for its timer
//! ([`clock::SystemClock`]), and as the default executor for tasks of the other crates ([`spawn`]).

// Lets derived code in this crate's own unit tests find the crate by its name.
extern crate self as tidings_core;

// The modules are in the order of the layers, lowest first. A module imports only from those above
// it in this list.

// Errors of user code, and the text of a panic.
mod error;

// Wall-clock time, for display. Must not know any clock.
mod timestamp;

// Histograms of durations. Must not know any clock.
pub mod meter;

// The source of time.
pub mod clock;

// The source of randomness.
pub mod entropy;

// The place where tasks run.
pub mod spawn;

// The change that this thread is handling. Must not know events.
mod cause;

// The keys of cached values. Must not know entities.
mod key;

// Values of fields and their kinds. Must not know schemas.
mod value;

// Bytes in serde's form.
pub mod base64;

// Primary keys, of one value or several. Must not know schemas.
mod primary_key;

// Rows, patches and their violations. Must not know schemas.
mod row;

// The description of an entity, without its type. Must not know the struct.
mod schema;

// A struct with a schema. Must not know what refers to it.
mod entity;

// A foreign key with a type.
mod reference;

// Changes of rows. Must not know any listener.
mod change;

// The record of changes that nodes read. Must not know any engine.
pub mod log;

/// Every attribute and every type of a field, in one example:
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet, HashMap};
///
/// use serde::{Deserialize, Serialize};
/// use tidings_core::{
///     Entity, FieldValue, Json, Ref, Timestamp, TimestampMicros, Violations, check_all,
/// };
/// use uuid::Uuid;
///
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "tenants", endpoint_key = "name", admin_api(name = "tenants"))]
/// struct Tenant {
///     #[entity(primary_key, auto)]
///     id: Uuid,
///     #[entity(unique)]
///     name: String,
/// }
///
/// #[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum State {
///     Open,
///     InReview,
/// }
///
/// #[derive(FieldValue, Clone, Debug, Serialize, Deserialize)]
/// struct Price(u64);
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Limits {
///     per_minute: u32,
/// }
///
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(
///     name = "offers",
///     endpoint_key = "code",
///     cache_key("code"),
///     cache_key("tenant", "state"),
///     unique("tenant", "title"),
///     at_least_one_of("title", "summary"),
///     check = "low_is_below_high",
///     admin_api(name = "offers", nested = "offers"),
///     crate = "tidings_core" // the default finds it by itself
/// )]
/// struct Offer {
///     #[entity(primary_key, auto)]
///     id: Uuid,
///     #[entity(foreign, on_delete = "cascade", on_update = "evict")]
///     tenant: Ref<Tenant>,
///     #[entity(foreign, on_delete = "set_null")]
///     instead_of: Option<Ref<Offer>>,
///     #[entity(unique, immutable, length(min = 3, max = 20), pattern = "[a-z-]+")]
///     code: String,
///     #[entity(required)]
///     title: Option<String>,
///     summary: Option<String>,
///     #[entity(unique, auto, secret)]
///     token: Option<String>,
///     #[entity(default = "open")]
///     state: State,
///     #[entity(one_of("eur", "usd"), default = "eur")]
///     currency: String,
///     price: Price,
///     #[entity(default = true)]
///     enabled: bool,
///     low: Option<i64>,
///     high: Option<i32>,
///     port: Option<u32>,
///     hits: Option<u64>,
///     weight: f64,
///     ratio: Option<f32>,
///     #[serde(with = "tidings_core::base64")]
///     image: Option<Vec<u8>>,
///     tags: Option<BTreeSet<String>>,
///     lines: Option<Vec<String>>,
///     labels: Option<BTreeMap<String, String>>,
///     counts: Option<HashMap<String, u32>>,
///     limits: Option<Json<Limits>>,
///     extra: Option<serde_json::Value>,
///     #[entity(auto_create_time)]
///     created_at: Timestamp,
///     #[entity(auto_update_time)]
///     updated_at: TimestampMicros,
///     #[entity(expires)]
///     until: Option<Timestamp>,
///     #[entity(version)]
///     version: i64,
/// }
///
/// /// A primary key of several fields is marked on each of them; their order in the struct is the
/// /// key's. One of them may be a reference.
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "stocks")]
/// struct Stock {
///     #[entity(primary_key, foreign, on_delete = "cascade")]
///     tenant: Ref<Tenant>,
///     #[entity(primary_key)]
///     shelf: String,
///     pieces: u32,
/// }
///
/// let stock = Stock { tenant: Ref::new(Uuid::nil()), shelf: "a:1".into(), pieces: 3 };
/// assert_eq!(
///     stock.cache_key().as_str(),
///     "stocks@:00000000-0000-0000-0000-000000000000:a%3A1"
/// );
///
/// fn low_is_below_high(offer: &Offer) -> Result<(), Violations> {
///     match (offer.low, offer.high) {
///         (Some(low), Some(high)) if low >= high.into() => {
///             Err(Violations::check("high", "must lie above low"))
///         }
///         _ => Ok(()),
///     }
/// }
///
/// check_all(&[Tenant::schema(), Offer::schema(), Stock::schema()])?;
/// # Ok::<(), tidings_core::SchemaFaults>(())
/// ```
pub use tidings_derive::Entity;
pub use tidings_derive::FieldValue;

pub use self::{
    cause::{Cause, CauseGuard, Origin},
    change::{CrudEvent, Operation, UnknownOperation},
    entity::Entity,
    error::{BoxError, Chain, panic_text},
    key::{CacheKey, INLINE, KeyBuilder, KeyPart},
    primary_key::{EntityId, PrimaryKey},
    reference::Ref,
    row::{Breach, Patch, Row, RowError, Rule, Violation, Violations},
    schema::{
        AdminApi, Auto, Field, Foreign, Length, Lookup, OnDelete, OnUpdate, Pattern, RowCheck,
        Schema, SchemaBuilder, SchemaFaults, check_all,
    },
    timestamp::{Timestamp, TimestampMicros},
    value::{FieldKind, FieldValue, Fit, Json, Value},
};

#[doc(hidden)]
pub use self::key::{SecretInUse, mask_keys, set_key_secret};

#[doc(hidden)]
pub mod derive {
    //! The names that the derive macro's output uses; the facade re-exports them under the same
    //! path.
    pub use std::sync::OnceLock;

    pub use crate::{
        Auto, Entity, Field, FieldKind, FieldValue, Fit, KeyBuilder, KeyPart, OnDelete, OnUpdate,
        Row, RowError, Schema, Value, Violations,
    };
}
