//! The words that every part of Tidings shares: entities and their schemas, changes, cache keys, the clock.
//!
//! No I/O happens here and nothing is spawned. Tokio is used for its timer ([`clock::SystemClock`]) and as the default of the
//! seam through which others start tasks ([`spawn`]).

// So that derived code finds this crate by its own name in its unit tests too.
extern crate self as tidings_core;

mod cause;
mod change;
pub mod clock;
mod entity;
pub mod entropy;
mod error;
mod key;
pub mod log;
mod reference;
mod row;
mod schema;
pub mod spawn;
mod timestamp;
mod value;

pub use tidings_derive::Entity;

pub use self::{
    cause::{Cause, CauseGuard, Origin},
    change::{CrudEvent, Operation, UnknownOperation},
    entity::Entity,
    error::{BoxError, panic_text},
    key::{CacheKey, INLINE, KeyBuilder, KeyPart},
    reference::Ref,
    row::{Patch, Row, RowError, Violation, Violations},
    schema::{
        AdminApi, Auto, Field, Foreign, OnDelete, Schema, SchemaBuilder, SchemaFaults, check_all,
    },
    timestamp::Timestamp,
    value::{FieldKind, FieldValue, Value},
};

#[doc(hidden)]
pub use self::key::{SecretInUse, set_key_secret};

#[doc(hidden)]
pub mod derive {
    //! What the derive macro's output names; the facade re-exports it under the same name.
    pub use std::sync::OnceLock;

    pub use crate::{Auto, Entity, Field, FieldValue, OnDelete, Row, RowError, Schema};
}
