//! [`Event`]: what a channel can carry; [`Form`]: whether it has a JSON form.

use std::any::Any;

use serde::Serialize;
use serde_json::Value as Json;

use crate::{error::Refusal, event::limit};

/// What a channel can carry: anything that several threads may read at once.
///
/// A channel that is declared with [`declare`](crate::WorkerEvents::declare) shows its payloads to
/// wildcard handlers as JSON; one declared with
/// [`declare_opaque`](crate::WorkerEvents::declare_opaque) asks nothing of its type.
pub trait Event: Send + Sync + 'static {}

impl<T: Send + Sync + 'static> Event for T {}

/// A payload without its type.
pub(crate) type AnyPayload = dyn Any + Send + Sync;

/// Whether the payloads of a channel have a JSON form, and how it is made and measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Json {
        make: fn(&AnyPayload) -> Result<Json, String>,
        measure: fn(&AnyPayload, usize) -> Result<(), Refusal>,
    },
    Opaque,
}

impl Form {
    /// Describes the form of a type that serializes.
    pub(crate) fn json<T: Event + Serialize>() -> Self {
        Self::Json {
            make: |payload| {
                let payload = typed::<T>(payload);
                serde_json::to_value(payload).map_err(|error| error.to_string())
            },
            measure: |payload, limit| limit::check(typed::<T>(payload), limit),
        }
    }

    /// Makes the JSON form.
    pub(crate) fn of(self, payload: &AnyPayload) -> Result<Json, String> {
        match self {
            Self::Json { make, .. } => make(payload),
            Self::Opaque => Err("the type of this channel has no JSON form".to_owned()),
        }
    }

    /// Checks the payload against a limit in bytes of JSON; one without that form has no such size.
    pub(crate) fn check(self, payload: &AnyPayload, limit: usize) -> Result<(), Refusal> {
        match self {
            Self::Json { measure, .. } => measure(payload, limit),
            Self::Opaque => Ok(()),
        }
    }
}

fn typed<T: Event>(payload: &AnyPayload) -> &T {
    match payload.downcast_ref() {
        Some(payload) => payload,
        None => unreachable!("a channel is bound to its type when it is declared"),
    }
}
