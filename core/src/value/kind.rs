//! [`FieldKind`]: what values a field holds.

/// What kind of value a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldKind {
    /// `bool`
    Boolean,
    /// `i64`, `i32`, `u32`; the narrower ones have a [`Field::range`](crate::Field::range)
    Integer,
    /// `f64`
    Number,
    /// `String`
    Text,
    /// `Uuid`
    Uuid,
    /// [`Timestamp`](crate::Timestamp)
    Timestamp,
    /// `BTreeSet<String>`
    Set,
    /// `serde_json::Value`
    Json,
}

impl FieldKind {
    /// The word for this kind in schemas and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "string",
            Self::Uuid => "uuid",
            Self::Timestamp => "timestamp",
            Self::Set => "set",
            Self::Json => "json",
        }
    }

    /// Whether a value of this kind is made of several.
    #[must_use]
    pub fn is_composite(self) -> bool {
        matches!(self, Self::Set | Self::Json)
    }

    /// Whether a field of this kind can be unique or part of a key: its values are equal exactly
    /// when their texts are. Sets and JSON are composite, and a floating-point number has two zeros
    /// and a value that differs from itself.
    #[must_use]
    pub fn can_be_key(self) -> bool {
        !self.is_composite() && self != Self::Number
    }

    pub(crate) fn expectation(self) -> &'static str {
        match self {
            Self::Boolean => "expected a boolean",
            Self::Integer => "expected an integer",
            Self::Number => "expected a number",
            Self::Text => "expected a string",
            Self::Uuid => "expected a valid UUID",
            Self::Set => "expected a set of strings",
            Self::Timestamp => "expected a timestamp in Unix seconds",
            Self::Json => "expected JSON",
        }
    }
}
