//! The words that every part of Tidings shares: entities and their schemas, changes, cache keys,
//! the clock.
//!
//! No I/O happens here and nothing is spawned. Tokio is used for its timer ([`clock::SystemClock`])
//! and as the default of the seam through which others start tasks ([`spawn`]).

// So that derived code finds this crate by its own name in its unit tests too.
extern crate self as tidings_core;

// Layers, the lowest first: a module imports from those above it in this list alone.

// Errors of user code and the text of a panic.
mod error;

// Wall-clock time, for display. Must not know any clock.
mod timestamp;

// How long things took. Must not know any clock.
pub mod meter;

// Where time comes from.
pub mod clock;

// Where chance comes from.
pub mod entropy;

// Where tasks run.
pub mod spawn;

// The change that is being handled. Must not know events.
mod cause;

// The names of cached things. Must not know entities.
mod key;

// Values of fields and their kinds. Must not know schemas.
mod value;

// Bytes in serde's form.
pub mod base64;

// Rows, patches and what is wrong with one. Must not know schemas.
mod row;

// What is known of an entity without its type. Must not know the struct.
mod schema;

// A struct with a schema. Must not know what refers to it.
mod entity;

// A foreign key with a type.
mod reference;

// What happened to a row. Must not know who hears of it.
mod change;

// The record of changes that nodes read. Must not know any engine.
pub mod log;

pub use tidings_derive::{Entity, FieldValue};

pub use self::{
    cause::{Cause, CauseGuard, Origin},
    change::{CrudEvent, Operation, UnknownOperation},
    entity::Entity,
    error::{BoxError, panic_text},
    key::{CacheKey, INLINE, KeyBuilder, KeyPart},
    reference::Ref,
    row::{Breach, Patch, Row, RowError, Rule, Violation, Violations},
    schema::{
        AdminApi, Auto, Field, Foreign, Length, Lookup, OnDelete, Pattern, RowCheck, Schema,
        SchemaBuilder, SchemaFaults, check_all,
    },
    timestamp::{Timestamp, TimestampMicros},
    value::{FieldKind, FieldValue, Fit, Json, Value},
};

#[doc(hidden)]
pub use self::key::{SecretInUse, set_key_secret};

#[doc(hidden)]
pub mod derive {
    //! What the derive macro's output names; the facade re-exports it under the same name.
    pub use std::sync::OnceLock;

    pub use crate::{
        Auto, Entity, Field, FieldKind, FieldValue, Fit, KeyBuilder, KeyPart, OnDelete, Row,
        RowError, Schema, Value, Violations,
    };
}
