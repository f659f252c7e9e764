//! One field of a schema.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use crate::value::{FieldKind, FieldValue, Value};

/// The set field that lists are filtered by.
const TAGS: &str = "tags";

/// What is known of one field.
///
/// # Examples
///
/// ```
/// use tidings_core::{Field, Value};
///
/// let field = Field::of::<Option<u32>>("port");
/// assert_eq!(field.from_text("8000"), Ok(Value::Integer(8000)));
/// assert_eq!(field.from_text("-1"), Err("must be between 0 and 4294967295".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Field {
    name: String,
    kind: FieldKind,
    range: Option<RangeInclusive<i64>>,
    optional: bool,
    primary_key: bool,
    unique: bool,
    auto: Option<Auto>,
    foreign: Option<Foreign>,
    max_length: Option<usize>,
}

/// How an absent value is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auto {
    /// On insert: a random UUID, or a text of 32 random letters and digits.
    Random,
    /// On insert: the time.
    CreateTime,
    /// On every write: the time.
    UpdateTime,
}

/// A reference to another entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The entity referred to.
    pub entity: String,
    /// The primary key field of that entity.
    pub key: String,
    /// What becomes of this row when that row is deleted.
    pub on_delete: OnDelete,
    /// Whether an update of that row evicts this one from the cache too.
    pub evict_on_update: bool,
}

/// What becomes of a row when the row it refers to is deleted.
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

impl Field {
    /// A field whose kind and range, and whether it may be absent, are those of a Rust type.
    ///
    /// That of a [`Ref`](crate::Ref) refers to its entity, with [`OnDelete::Restrict`] until
    /// [`foreign`](Self::foreign) says otherwise.
    pub fn of<T: FieldValue>(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: T::KIND,
            range: T::RANGE,
            optional: T::OPTIONAL,
            primary_key: false,
            unique: false,
            auto: None,
            foreign: T::refers_to().map(|(entity, key)| Foreign {
                entity: entity.to_owned(),
                key: key.to_owned(),
                on_delete: OnDelete::Restrict,
                evict_on_update: false,
            }),
            max_length: None,
        }
    }

    /// Makes it the primary key.
    pub fn primary_key(mut self) -> Self {
        self.primary_key = true;
        self
    }

    /// Makes its values unique; rows in which it is absent are not compared.
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Demands a value on insert, also where the Rust type is an `Option`.
    pub fn required(mut self) -> Self {
        self.optional = false;
        self
    }

    /// Generates the value when it is absent.
    pub fn auto(mut self, auto: Auto) -> Self {
        self.auto = Some(auto);
        self
    }

    /// Makes it a text of one line, such as a key, or a name that becomes a header: at most this
    /// many bytes, no control character, no blank at either end. Text that is unique or part of a
    /// key is one without being told, of [`KEY_LENGTH`](Self::KEY_LENGTH).
    pub fn one_line(mut self, max_length: usize) -> Self {
        self.max_length = Some(max_length);
        self
    }

    /// Makes it a reference to the rows of an entity that is known by name.
    pub fn refers_to(mut self, foreign: Foreign) -> Self {
        self.foreign = Some(foreign);
        self
    }

    /// The most bytes of a text that is unique or part of a key, unless its field says otherwise.
    pub const KEY_LENGTH: usize = 512;

    /// The field's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of value it holds; for a reference, that of the primary key referred to.
    #[must_use]
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// The whole numbers that it can hold, where these are fewer than an `i64` can.
    #[must_use]
    pub fn range(&self) -> Option<&RangeInclusive<i64>> {
        self.range.as_ref()
    }

    /// The most bytes of its text, where it is one line.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Whether an insert must bring a value: it is neither optional nor made.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.optional && self.auto.is_none()
    }

    /// Whether a stored row may lack it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// Whether it is the primary key.
    #[must_use]
    pub fn is_primary_key(&self) -> bool {
        self.primary_key
    }

    /// Whether its value identifies a row: unique, or the primary key.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.unique || self.primary_key
    }

    /// How absent values are made.
    #[must_use]
    pub fn auto_value(&self) -> Option<Auto> {
        self.auto
    }

    /// Whether a value that the user left out is made on insert.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.auto.is_some()
    }

    /// What it refers to.
    #[must_use]
    pub fn reference(&self) -> Option<&Foreign> {
        self.foreign.as_ref()
    }

    /// A value of this field as JSON; a reference as `{"id": ..}`.
    #[must_use]
    pub fn to_json(&self, value: &Value) -> Json {
        match &self.foreign {
            Some(foreign) if !value.is_null() => json!({ &foreign.key: value.to_json() }),
            _ => value.to_json(),
        }
    }

    /// Reads a value of this field from JSON, and checks it; a reference from `{"id": ..}`, whose
    /// other members are passed over: they are the other row's, and a copy of it may be old.
    ///
    /// `null` is read as absent whether or not the field may be absent: that is for the whole row
    /// to say, where an absent value may yet be made.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_json(&self, json: &Json) -> Result<Value, String> {
        let json = match (&self.foreign, json) {
            (None, json) | (Some(_), json @ Json::Null) => json,
            (Some(foreign), Json::Object(object)) => object
                .get(&foreign.key)
                .filter(|key| !key.is_null())
                .ok_or_else(|| foreign.expectation())?,
            (Some(foreign), _) => return Err(foreign.expectation()),
        };
        // An integer past what an `i64` can hold is an integer all the same: say what is wrong with
        // it.
        if self.kind == FieldKind::Integer && json.is_u64() && !json.is_i64() {
            return Err(outside(
                self.range.as_ref().unwrap_or(&(i64::MIN..=i64::MAX)),
            ));
        }
        self.checked(Value::from_json(self.kind, json)?)
    }

    /// Reads a value of this field from text, and checks it; a reference from the bare key.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_text(&self, text: &str) -> Result<Value, String> {
        self.checked(Value::from_text(self.kind, text)?)
    }

    /// Reads a value of this field from text that names a row, and checks it; see
    /// [`Value::from_key_text`].
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn from_key_text(&self, text: &str) -> Result<Value, String> {
        self.checked(Value::from_key_text(self.kind, text)?)
    }

    /// Checks a value against what this field can hold: its kind, its range, text that is neither
    /// empty nor holds a NUL (nor do the members of a set), text of one line where it must be, tags
    /// that a list can be asked for, and numbers that are finite.
    ///
    /// An absent value passes: whether one is demanded depends on what is done with the row.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if !value.is(self.kind) {
            return Err(self.kind.expectation().to_owned());
        }
        match (value, &self.range) {
            (Value::Integer(integer), Some(range)) if !range.contains(integer) => {
                Err(outside(range))
            }
            (Value::Number(number), _) if !number.is_finite() => {
                Err("must be a finite number".to_owned())
            }
            (Value::Text(text), _) => {
                check_text(text)?;
                self.max_length.map_or(Ok(()), |max| check_line(text, max))
            }
            (Value::Set(members), _) => members
                .iter()
                .try_for_each(|member| {
                    check_text(member)?;
                    if self.name == TAGS {
                        check_tag(member)
                    } else {
                        Ok(())
                    }
                })
                .map_err(|message| format!("each member: {message}")),
            // JSON's `null` is the absent value; another form of it would make the two unequal.
            (Value::Json(Json::Null), _) => Err(self.kind.expectation().to_owned()),
            _ => Ok(()),
        }
    }

    fn checked(&self, value: Value) -> Result<Value, String> {
        self.check(&value).map(|()| value)
    }
}

impl Foreign {
    fn expectation(&self) -> String {
        format!(
            "expected a reference to {} as {{\"{}\": ..}}",
            self.entity, self.key
        )
    }
}

impl OnDelete {
    /// The word for it in the derive attribute and in schemas.
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
    /// The word for it in schemas.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::CreateTime => "create_time",
            Self::UpdateTime => "update_time",
        }
    }
}

fn outside(range: &RangeInclusive<i64>) -> String {
    format!("must be between {} and {}", range.start(), range.end())
}

fn check_text(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Err("length must be at least 1".to_owned())
    } else if text.contains('\0') {
        Err("must not hold a NUL".to_owned())
    } else {
        Ok(())
    }
}

/// A text that is compared whole, and may be sent as a header.
fn check_line(text: &str, max_length: usize) -> Result<(), String> {
    if text.len() > max_length {
        Err(format!("length must be at most {max_length} bytes"))
    } else if text.contains(char::is_control) {
        Err("must not hold a control character".to_owned())
    } else if text.trim() != text {
        Err("must not begin or end with a blank".to_owned())
    } else {
        Ok(())
    }
}

/// A list is asked for `a,b` or `a/b`, which could not say a tag that holds either character.
fn check_tag(tag: &str) -> Result<(), String> {
    if tag.contains([',', '/']) {
        Err("must not hold ',' or '/'".to_owned())
    } else {
        Ok(())
    }
}
