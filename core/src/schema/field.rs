//! [`Field`]: one field of a schema: its kind, its rules, and its reference.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The rules for one value: its length, its pattern, the allowed values.
mod rules;

// Reads values of a field, and checks them.
mod check;

use std::ops::{Bound, RangeBounds, RangeInclusive};

use serde_json::{Value as Json, json};

use crate::value::{FieldKind, FieldValue, Value};

use self::rules::Fits;
pub use self::rules::{Length, Pattern};

/// The text that is shown in place of a secret.
pub(super) const MASK: &str = "***";

/// The description of one field.
///
/// # Examples
///
/// ```
/// use tidings_core::{Field, Value};
///
/// let field = Field::of::<Option<u32>>("port");
/// assert_eq!(field.from_text("8000"), Ok(Value::Integer(8000)));
/// let breach = field.from_text("-1").unwrap_err();
/// assert_eq!(breach.to_string(), "must be between 0 and 4294967295");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Field {
    name: String,
    kind: FieldKind,
    range: Option<RangeInclusive<i64>>,
    optional: bool,
    primary_key: bool,
    /// Whether it is one of several fields of the primary key.
    shares_key: bool,
    unique: bool,
    auto: Option<Auto>,
    foreign: Option<Foreign>,
    max_length: Option<usize>,
    default: Option<Value>,
    immutable: bool,
    secret: bool,
    expires: bool,
    length: Option<Length>,
    pattern: Option<Pattern>,
    one_of: Vec<Value>,
    fits: Option<Fits>,
}

// Only NaN differs from itself. `check_all` refuses it as a default, and no row can hold it.
impl Eq for Field {}

/// How an absent value is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auto {
    /// On insert: a random UUID, or a text of 32 random letters and digits.
    Random,
    /// On insert: the time.
    CreateTime,
    /// On every write: the time.
    UpdateTime,
    /// On insert 1, and one more on every write: the version of the row.
    Version,
}

/// A reference to another entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The entity to which it refers.
    pub entity: String,
    /// The primary key field of that entity.
    pub key: String,
    /// What happens to this row when that row is deleted.
    pub on_delete: OnDelete,
    /// What happens to this row in the cache when that row is updated.
    pub on_update: OnUpdate,
}

/// What happens to a row when the row to which it refers is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// The delete of the parent is refused.
    #[default]
    Restrict,
    /// The row is deleted too.
    Cascade,
    /// The reference is cleared.
    SetNull,
}

/// What happens to a row in the cache when the row to which it refers is updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUpdate {
    /// It is kept.
    #[default]
    Keep,
    /// It is evicted too.
    Evict,
}

impl Field {
    /// Makes a field from a Rust type, which determines its kind, its range, and whether it may be
    /// absent.
    ///
    /// A field of the type [`Ref`](crate::Ref) refers to its entity, with [`OnDelete::Restrict`]
    /// unless [`foreign`](Self::foreign) sets another rule.
    pub fn of<T: FieldValue>(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: T::KIND,
            range: T::RANGE,
            optional: T::OPTIONAL,
            primary_key: false,
            shares_key: false,
            unique: false,
            auto: None,
            foreign: T::refers_to().map(|(entity, key)| Foreign {
                entity: entity.to_owned(),
                key: key.to_owned(),
                on_delete: OnDelete::Restrict,
                on_update: OnUpdate::Keep,
            }),
            max_length: None,
            default: None,
            immutable: false,
            secret: false,
            expires: false,
            length: None,
            pattern: None,
            one_of: T::VALUES.iter().map(|&text| Value::from(text)).collect(),
            fits: T::FITS.map(Fits::new::<T>),
        }
    }

    /// Makes it the primary key, or one of its parts if several fields of a schema are marked.
    pub fn primary_key(mut self) -> Self {
        self.primary_key = true;
        self
    }

    /// Notes that other fields of its schema make the primary key with it.
    pub(super) fn share_key(&mut self) {
        self.shares_key = true;
    }

    /// Makes its values unique. Rows in which it is absent do not count.
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Requires a value on insert, even if the Rust type is an `Option`.
    pub fn required(mut self) -> Self {
        self.optional = false;
        self
    }

    /// Generates the value when it is absent.
    pub fn auto(mut self, auto: Auto) -> Self {
        self.auto = Some(auto);
        self
    }

    /// Makes it a text of one line, such as a key or a name that becomes a header: at most this
    /// many bytes, no control characters, and no blanks at either end.
    ///
    /// Text that is unique or part of a key is always one line, of at most
    /// [`KEY_LENGTH`](Self::KEY_LENGTH) bytes by default.
    pub fn one_line(mut self, max_length: usize) -> Self {
        self.max_length = Some(max_length);
        self
    }

    /// Makes it a reference to the rows of an entity, by the entity's name.
    pub fn refers_to(mut self, foreign: Foreign) -> Self {
        self.foreign = Some(foreign);
        self
    }

    /// Sets the value of new rows that do not set the field. It is also the default of the column,
    /// so the column can be added to an existing table, and other programs can omit it.
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(match (self.kind, value.into()) {
            // A literal without a fraction is a number too.
            (FieldKind::Number | FieldKind::Float, Value::Integer(whole)) => {
                Value::Number(whole as f64)
            }
            // So is one without a sign.
            (FieldKind::Unsigned, Value::Integer(whole @ 0..)) => {
                Value::Unsigned(whole.unsigned_abs())
            }
            (_, value) => value,
        });

        self
    }

    /// Refuses another value after the insert. A replaced row keeps the value if none is given.
    pub fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Hides the value everywhere except in the row itself: in lists, the `Debug` form of changes,
    /// errors, logs and feeds.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Makes it the time, in Unix seconds, at which the row expires. From then on stores do not
    /// return the row and caches do not serve it, and later it is removed. A row without a value
    /// stays.
    pub fn expires(mut self) -> Self {
        self.expires = true;
        self
    }

    /// Requires a length: the number of characters of a text, of bytes, or of members of a set, a
    /// list or a map.
    pub fn length(mut self, length: impl RangeBounds<usize>) -> Self {
        let min = match length.start_bound() {
            Bound::Included(&min) => min,
            Bound::Excluded(&min) => min.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let max = match length.end_bound() {
            Bound::Included(&max) => Some(max),
            Bound::Excluded(&max) => Some(max.saturating_sub(1)),
            Bound::Unbounded => None,
        };
        self.length = Some(Length { min, max });

        self
    }

    /// Requires that the whole text, or each member of a set or list, matches a regular expression
    /// of the crate `regex`.
    pub fn pattern(mut self, pattern: &str) -> Self {
        self.pattern = Some(Pattern::new(pattern));
        self
    }

    /// Requires one of these values; for a set or list, each member must be one of them.
    pub fn one_of<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.one_of = values.into_iter().map(Into::into).collect();
        self
    }

    /// The maximum number of bytes of a text that is unique or part of a key, unless its field sets
    /// another.
    pub const KEY_LENGTH: usize = 512;

    /// Returns the field's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind of its values; for a reference, the kind of the other entity's primary key.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Returns the range of its integers, if it is smaller than that of an `i64`.
    #[must_use]
    pub fn range(&self) -> Option<&RangeInclusive<i64>> {
        self.range.as_ref()
    }

    /// Returns the maximum number of bytes of its text, if it is one line.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Returns the value of new rows that do not set the field.
    #[must_use]
    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// Returns the default of the table's column: the field's default, or the first version.
    #[must_use]
    pub fn column_default(&self) -> Option<Value> {
        match self.auto {
            Some(Auto::Version) => Some(Value::Integer(1)),
            _ => self.default.clone(),
        }
    }

    /// Returns whether a row keeps its first value.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.immutable || self.primary_key
    }

    /// Returns whether its values are hidden.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// Returns whether it is the time at which the row expires.
    #[must_use]
    pub fn is_expiry(&self) -> bool {
        self.expires
    }

    /// Returns the allowed lengths of its values.
    #[must_use]
    pub fn length_rule(&self) -> Option<Length> {
        self.length
    }

    /// Returns the pattern of its texts.
    #[must_use]
    pub fn pattern_rule(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// Returns the allowed values; empty if there is no such list.
    #[must_use]
    pub fn allowed(&self) -> &[Value] {
        &self.one_of
    }

    /// Returns whether an insert must set the field: it is neither optional nor generated, and has
    /// no default.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.optional && self.auto.is_none() && self.default.is_none()
    }

    /// Returns whether a stored row may lack it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// Returns whether it is the primary key, or part of it.
    #[must_use]
    pub fn is_primary_key(&self) -> bool {
        self.primary_key
    }

    /// Returns whether it is the primary key by itself, and not one part of several.
    #[must_use]
    pub fn is_whole_key(&self) -> bool {
        self.primary_key && !self.shares_key
    }

    /// Returns whether its value identifies a row: unique, or the whole primary key.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.unique || self.is_whole_key()
    }

    /// Returns how absent values are generated.
    #[must_use]
    pub fn auto_value(&self) -> Option<Auto> {
        self.auto
    }

    /// Returns whether an insert generates the value if the user omits it.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.auto.is_some()
    }

    /// Returns the reference of a foreign field.
    #[must_use]
    pub fn reference(&self) -> Option<&Foreign> {
        self.foreign.as_ref()
    }

    /// Returns a value of this field as JSON; a reference as `{"id": ..}`.
    #[must_use]
    pub fn to_json(&self, value: &Value) -> Json {
        match &self.foreign {
            Some(foreign) if !value.is_null() => json!({ &foreign.key: value.to_json() }),
            _ => value.to_json(),
        }
    }

    /// Returns the value in the form that may be shown: a secret is masked, unless it is absent.
    #[must_use]
    pub fn shown(&self, value: &Value) -> Value {
        if self.secret && !value.is_null() {
            Value::from(MASK)
        } else {
            value.clone()
        }
    }
}

impl OnDelete {
    /// Returns the word for it in the derive attribute and in schemas.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restrict => "restrict",
            Self::Cascade => "cascade",
            Self::SetNull => "set_null",
        }
    }
}

impl Auto {
    /// Returns the word for it in schemas.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::CreateTime => "create_time",
            Self::UpdateTime => "update_time",
            Self::Version => "version",
        }
    }
}
