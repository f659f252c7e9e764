//! [`PrimaryKey`]: identifies a row of an entity, by one value or by several.
//!
//! A key of one value costs as much as the value, without an allocation. A key of several values
//! has them in the order of the schema's fields. Its text is that of its parts in a cache key, with
//! colons between them, so that different keys never share a text.

use std::{fmt, hash::Hash};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use crate::{
    key::CacheKey,
    value::{FieldValue, Value},
};

/// The primary key of one row.
///
/// # Examples
///
/// ```
/// use tidings_core::{EntityId, PrimaryKey, Value};
///
/// let one = PrimaryKey::from(Value::Integer(7));
/// assert_eq!(one.to_text(), "7");
///
/// let several = ("a:b".to_owned(), 7_i64).to_key();
/// assert_eq!(several.parts(), ["a:b".into(), Value::Integer(7)]);
/// assert_eq!(several.to_text(), "a%3Ab:7");
/// assert_eq!(several.single(), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PrimaryKey(Parts);

#[derive(Clone, Debug, PartialEq)]
enum Parts {
    One(Value),
    /// Two at least.
    Several(Box<[Value]>),
}

impl PrimaryKey {
    /// The most fields that a primary key can have.
    pub const MOST_PARTS: usize = 4;

    /// Makes a key from its parts, in the order of the schema's fields. A key without parts is an
    /// absent value, which no row has.
    #[must_use]
    pub fn of(parts: Vec<Value>) -> Self {
        match <[Value; 1]>::try_from(parts) {
            Ok([one]) => Self(Parts::One(one)),
            Err(none) if none.is_empty() => Self(Parts::One(Value::Null)),
            Err(several) => Self(Parts::Several(several.into())),
        }
    }

    /// Returns the parts: one value, or several in the order of the schema's fields.
    #[must_use]
    pub fn parts(&self) -> &[Value] {
        match &self.0 {
            Parts::One(value) => std::slice::from_ref(value),
            Parts::Several(values) => values,
        }
    }

    /// Returns the value of a key of one value, which is the kind that other rows can refer to;
    /// `None` for a key of several values.
    #[must_use]
    pub fn single(&self) -> Option<&Value> {
        match &self.0 {
            Parts::One(value) => Some(value),
            Parts::Several(_) => None,
        }
    }

    /// Returns the parts as values of their own.
    #[must_use]
    pub fn into_parts(self) -> Vec<Value> {
        match self.0 {
            Parts::One(value) => vec![value],
            Parts::Several(values) => values.into_vec(),
        }
    }

    /// Returns whether a part is absent: no row has such a key.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.parts().iter().any(Value::is_null)
    }

    /// Returns the text that names the row in paths and page tokens: that of the value, or those of
    /// the parts with colons between them, each written as in a [`CacheKey`].
    ///
    /// [`Schema::key_from_text`](crate::Schema::key_from_text) reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.0 {
            Parts::One(value) => value.to_text(),
            Parts::Several(values) => {
                let key = CacheKey::new("", values);
                // The empty name, and then a colon before each part.
                key.as_str().chars().skip(1).collect()
            }
        }
    }

    /// Returns the key as JSON: the value, or the [text](Self::to_text) of several.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.0 {
            Parts::One(value) => value.to_json(),
            Parts::Several(_) => self.to_text().into(),
        }
    }

    /// Returns roughly how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.parts().iter().map(Value::weight).sum()
    }
}

impl From<Value> for PrimaryKey {
    fn from(value: Value) -> Self {
        Self(Parts::One(value))
    }
}

impl<T: FieldValue> From<T> for PrimaryKey {
    fn from(value: T) -> Self {
        Self::from(value.to_value())
    }
}

impl From<&str> for PrimaryKey {
    fn from(text: &str) -> Self {
        Self::from(Value::from(text))
    }
}

/// The type of an entity's primary key: the type of its one field, or a tuple of those of its two
/// to four fields.
///
/// # Examples
///
/// ```
/// use tidings_core::EntityId as _;
///
/// assert_eq!(7_i64.to_key().to_text(), "7");
/// assert_eq!(("acme".to_owned(), 7_i64).to_key().to_text(), "acme:7");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a primary key",
    note = "it is the type of a field, or a tuple of two to four of these"
)]
pub trait EntityId:
    Clone + fmt::Debug + PartialEq + Eq + Hash + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Returns the key without its type.
    #[must_use]
    fn to_key(&self) -> PrimaryKey;
}

/// Writes an implementation for what the traits of a key's parts are.
macro_rules! tuple_id {
    ($($part:ident)*) => {
        impl<$($part),*> EntityId for ($($part,)*)
        where
            $($part: FieldValue + Clone + fmt::Debug + Eq + Hash + Serialize + DeserializeOwned + Send + Sync + 'static),*
        {
            fn to_key(&self) -> PrimaryKey {
                #[expect(non_snake_case, reason = "a part is named as its type")]
                let ($($part,)*) = self;
                PrimaryKey(Parts::Several(Box::new([$($part.to_value()),*])))
            }
        }
    };
}

impl<T> EntityId for T
where
    T: FieldValue
        + Clone
        + fmt::Debug
        + Eq
        + Hash
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    fn to_key(&self) -> PrimaryKey {
        PrimaryKey(Parts::One(self.to_value()))
    }
}

tuple_id!(A B);
tuple_id!(A B C);
tuple_id!(A B C D);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Two keys are the same exactly when their texts are.
        #[test]
        fn different_keys_have_different_texts(
            a in ("[:%~@a]{0,3}", "[:%~@a]{0,3}"),
            b in ("[:%~@a]{0,3}", "[:%~@a]{0,3}"),
        ) {
            let (first, second) = (a.to_key(), b.to_key());
            prop_assert_eq!(a == b, first == second);
            prop_assert_eq!(a == b, first.to_text() == second.to_text());
        }
    }

    #[test]
    fn a_key_of_one_part_is_that_value() {
        let key = PrimaryKey::of(vec![Value::Integer(7)]);
        assert_eq!(key, PrimaryKey::from(Value::Integer(7)));
        assert_eq!(key.single(), Some(&Value::Integer(7)));
        assert_eq!(key.into_parts(), [Value::Integer(7)]);
    }

    #[test]
    fn a_key_that_lacks_a_part_is_absent() {
        assert!(PrimaryKey::of(Vec::new()).is_absent());
        assert!(PrimaryKey::of(vec![Value::Integer(7), Value::Null]).is_absent());
        assert!(!("".to_owned(), 0_i64).to_key().is_absent());
    }
}
