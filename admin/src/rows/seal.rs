//! [`Seal`]: a field that is stored as a digest, so that only the client knows its text.

use std::fmt;

use serde_json::Value as Json;
use tidings::core::{Patch, Row, Schema, Value};

use crate::options::{AdminOptions, Digest};

/// Shown in place of a text that is not known.
const MASK: &str = "***";

/// A field whose texts are stored as digests.
#[derive(Clone)]
pub(crate) struct Seal {
    field: usize,
    digest: Digest,
}

/// A text that a request set: its answer shows it, and none after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain(Option<String>);

impl Seal {
    /// Returns the seal of an entity's rows, if they have one.
    pub(crate) fn of(options: &AdminOptions, schema: &Schema) -> Option<Self> {
        let mut digests = options.digests.iter();
        let digested = digests.find(|it| it.entity == schema.name())?;
        let (field, _) = schema.field(&digested.field)?;
        Some(Self {
            field,
            digest: Digest::clone(&digested.digest),
        })
    }

    /// Returns the value as it is stored: the digest of a text of the field.
    pub(crate) fn stored(&self, field: usize, value: Value) -> Value {
        match value {
            Value::Text(text) if field == self.field => Value::Text((self.digest)(&text)),
            value => value,
        }
    }

    /// Puts the digest into a patch; returns the text.
    pub(crate) fn seal(&self, schema: &'static Schema, patch: &mut Patch) -> Plain {
        let name = schema.fields()[self.field].name();
        match patch.value(name).cloned() {
            Some(Value::Text(text)) => {
                patch.set(name, (self.digest)(&text));
                Plain(Some(text))
            }
            _ => Plain(None),
        }
    }

    /// Puts the digest of a new text into the patch of a row that needs one and was given none.
    pub(crate) fn seal_new(&self, schema: &'static Schema, patch: &mut Patch) -> Plain {
        let field = &schema.fields()[self.field];
        let is_given = patch.value(field.name()).is_some_and(|it| !it.is_null());
        if !is_given && let Some(made) = field.random() {
            patch.set(field.name(), made);
        }
        self.seal(schema, patch)
    }

    /// Shows the text in the answer to the request that set it, and masks it elsewhere.
    pub(crate) fn show(&self, schema: &Schema, row: &Row, json: &mut Json, plain: &Plain) {
        let stored = &row.0[self.field];
        if stored.is_null() {
            return;
        }
        // The path may have said otherwise than the body, and won.
        let set = plain.0.as_ref();
        let set = set.filter(|text| *stored == Value::Text((self.digest)(text)));
        let shown = set.map_or(MASK, String::as_str);
        json[schema.fields()[self.field].name()] = shown.into();
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seal").field(&self.field).finish()
    }
}
