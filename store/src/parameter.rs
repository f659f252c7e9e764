//! [`Parameter`]: a parameter of a statement.

use tidings_core::{Field, FieldKind, Value};

/// A parameter of a statement. It carries its kind, because an absent value and an empty list have
/// none of their own.
#[derive(Clone, Debug)]
pub(crate) enum Parameter<'a> {
    /// A value of a field, which may be absent.
    One(FieldKind, &'a Value),
    /// Values of a field, as one parameter, regardless of their number.
    Many(FieldKind, Vec<&'a Value>),
    /// Primary keys of several fields: the values of each field, in the order of the keys.
    Keys(Vec<(FieldKind, Vec<&'a Value>)>),
    /// Texts, as one parameter.
    Texts(&'a [String]),
    /// A number of rows or texts.
    Count(usize),
}

impl<'a> Parameter<'a> {
    /// Makes a parameter of a value of this field.
    pub(crate) fn of(field: &Field, value: &'a Value) -> Self {
        Self::One(field.kind(), value)
    }

    /// Makes a parameter of a list of values of this field.
    pub(crate) fn list(field: &Field, values: impl IntoIterator<Item = &'a Value>) -> Self {
        Self::Many(field.kind(), values.into_iter().collect())
    }
}

/// A parameter that owns its values, for a statement that another task runs.
#[derive(Clone, Debug)]
pub(crate) enum Owned {
    One(FieldKind, Value),
    Many(FieldKind, Vec<Value>),
    Keys(Vec<(FieldKind, Vec<Value>)>),
    Texts(Vec<String>),
    Count(usize),
}

impl Owned {
    pub(crate) fn as_parameter(&self) -> Parameter<'_> {
        match self {
            Self::One(kind, value) => Parameter::One(*kind, value),
            Self::Many(kind, values) => Parameter::Many(*kind, values.iter().collect()),
            Self::Keys(fields) => {
                let fields = fields.iter();
                let lent = fields.map(|(kind, values)| (*kind, values.iter().collect()));
                Parameter::Keys(lent.collect())
            }
            Self::Texts(texts) => Parameter::Texts(texts),
            Self::Count(count) => Parameter::Count(*count),
        }
    }
}

impl From<Parameter<'_>> for Owned {
    fn from(parameter: Parameter<'_>) -> Self {
        match parameter {
            Parameter::One(kind, value) => Self::One(kind, value.clone()),
            Parameter::Many(kind, values) => {
                Self::Many(kind, values.into_iter().cloned().collect())
            }
            Parameter::Keys(fields) => {
                let fields = fields.into_iter();
                let owned =
                    fields.map(|(kind, values)| (kind, values.into_iter().cloned().collect()));
                Self::Keys(owned.collect())
            }
            Parameter::Texts(texts) => Self::Texts(texts.to_vec()),
            Parameter::Count(count) => Self::Count(count),
        }
    }
}
