//! [`FieldKind`]: what values a field holds.

/// What kind of value a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldKind {
    /// `bool`
    Boolean,
    /// `i64`, `i32`, `u32`; the narrower ones have a [`Field::range`](crate::Field::range)
    Integer,
    /// `u64`
    Unsigned,
    /// `f64`
    Number,
    /// `f32`
    Float,
    /// `String`
    Text,
    /// `Uuid`
    Uuid,
    /// [`Timestamp`](crate::Timestamp)
    Timestamp,
    /// [`TimestampMicros`](crate::TimestampMicros)
    TimestampMicros,
    /// `Vec<u8>`
    Bytes,
    /// `BTreeSet<String>`
    Set,
    /// `Vec<String>`
    List,
    /// `BTreeMap<String, V>`, `HashMap<String, V>`
    Map,
    /// `serde_json::Value`, [`Json<T>`](crate::Json)
    Json,
}

impl FieldKind {
    /// Returns the word for this kind in schemas and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned",
            Self::Number => "number",
            Self::Float => "float",
            Self::Text => "string",
            Self::Uuid => "uuid",
            Self::Timestamp => "timestamp",
            Self::TimestampMicros => "timestamp_micros",
            Self::Bytes => "bytes",
            Self::Set => "set",
            Self::List => "list",
            Self::Map => "map",
            Self::Json => "json",
        }
    }

    /// Returns whether a value of this kind is made of several.
    #[must_use]
    pub fn is_composite(self) -> bool {
        matches!(self, Self::Set | Self::List | Self::Map | Self::Json)
    }

    /// Returns whether a field of this kind can be unique or part of a key: its values are equal
    /// exactly when their texts are. Sets, lists, maps and JSON are composite, and a floating-point
    /// number has two zeros and a value that differs from itself.
    #[must_use]
    pub fn can_be_key(self) -> bool {
        !self.is_composite() && !matches!(self, Self::Number | Self::Float)
    }

    pub(crate) fn expectation(self) -> &'static str {
        match self {
            Self::Boolean => "expected a boolean",
            Self::Integer => "expected an integer",
            Self::Unsigned => "expected an integer between 0 and 18446744073709551615",
            Self::Number | Self::Float => "expected a number",
            Self::Text => "expected a string",
            Self::Uuid => "expected a valid UUID",
            Self::Set => "expected a set of strings",
            Self::Timestamp => "expected a timestamp in Unix seconds",
            Self::TimestampMicros => "expected a timestamp in Unix microseconds",
            Self::Bytes => "expected bytes in base64",
            Self::List => "expected a list of strings",
            Self::Map => "expected an object",
            Self::Json => "expected JSON",
        }
    }
}
