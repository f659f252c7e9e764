//! Pages: what is asked for, the tokens that lead from one to the next.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use tidings_core::{FieldKind, Schema, Value};

use crate::{
    error::Error,
    parameter::Parameter,
    selector::{FieldInput, resolve_field},
};

/// The most rows that a page can have.
pub const MAX_SIZE: usize = 1000;
/// How many rows a page has unless told otherwise.
pub const DEFAULT_SIZE: usize = 100;
/// The set field that a [`TagFilter`] looks at.
const TAGS: &str = "tags";

/// Which rows to list, and from where.
///
/// Rows come in the order of their primary keys, which a change of other rows does not disturb: a
/// row that is there while all pages are read appears exactly once.
///
/// A filter on a foreign or unique field is answered from an index; on other fields, and by tags,
/// rows are looked through. What is wrong with a query is said by the call that takes it.
///
/// # Examples
///
/// ```
/// use tidings_store::PageQuery;
///
/// // The first ten credentials of consumer 7.
/// let query = PageQuery::new().filter("consumer", 7_i64).size(10);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PageQuery {
    size: usize,
    offset: Option<String>,
    filter: Vec<(Cow<'static, str>, FieldInput)>,
    tags: Option<TagFilter>,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self::new()
    }
}

impl PageQuery {
    /// Returns a query for the first [`DEFAULT_SIZE`] rows.
    #[must_use]
    pub fn new() -> Self {
        Self {
            size: DEFAULT_SIZE,
            offset: None,
            filter: Vec::new(),
            tags: None,
        }
    }

    /// Sets how many rows at most, 1 to [`MAX_SIZE`].
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets the token of the page before; `None` is the first page.
    #[must_use]
    pub fn offset(mut self, offset: impl Into<Option<String>>) -> Self {
        self.offset = offset.into();
        self
    }

    /// Demands a value of one more field; `Null` means that it is absent.
    #[must_use]
    pub fn filter(
        mut self,
        field: impl Into<Cow<'static, str>>,
        value: impl Into<FieldInput>,
    ) -> Self {
        self.filter.push((field.into(), value.into()));
        self
    }

    /// Demands tags.
    #[must_use]
    pub fn tags(mut self, tags: impl Into<Option<TagFilter>>) -> Self {
        self.tags = tags.into();
        self
    }
}

/// Which tags a row must have, in its set field `tags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// All of these.
    All(Vec<String>),
    /// At least one of these.
    Any(Vec<String>),
}

impl TagFilter {
    /// Whether the rows of a schema can be chosen by tags.
    #[must_use]
    pub fn applies_to(schema: &Schema) -> bool {
        tags_field(schema).is_ok()
    }
}

/// Some rows, and where to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// The token of the next page, made of letters, digits, `-` and `_`; none on the last page.
    pub offset: Option<String>,
}

/// What the text of a page's statement depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) filter: Vec<(usize, Sought)>,
    pub(crate) tags: Option<TagShape>,
    pub(crate) after: bool,
}

/// What a field must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sought {
    /// The value of a parameter.
    Value,
    /// No value.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TagShape {
    pub(crate) field: usize,
    pub(crate) wanted: Wanted,
}

/// How many of the tags a row must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    All,
    Any,
}

/// A checked query: the shape of its statement, and what its parameters are made of.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) shape: Shape,
    values: Vec<(FieldKind, Value)>,
    tags: Option<Vec<String>>,
    after: Option<(FieldKind, Value)>,
    rows: usize,
}

impl Prepared {
    /// Rows whose fields have these values, up to a number of them.
    pub(crate) fn matching(
        schema: &Schema,
        filter: impl IntoIterator<Item = (usize, Value)>,
        rows: usize,
    ) -> Self {
        let mut prepared = Self {
            shape: Shape {
                filter: Vec::new(),
                tags: None,
                after: false,
            },
            values: Vec::new(),
            tags: None,
            after: None,
            rows,
        };
        for (index, value) in filter {
            let sought = match value {
                Value::Null => Sought::Absent,
                _ => Sought::Value,
            };
            prepared.shape.filter.push((index, sought));
            if sought == Sought::Value {
                let kind = schema.fields()[index].kind();
                prepared.values.push((kind, value));
            }
        }
        prepared
    }

    /// The parameters, in the order in which the statement wants them.
    pub(crate) fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters: Vec<_> = self
            .values
            .iter()
            .map(|(kind, value)| Parameter::One(*kind, value))
            .collect();
        if let Some(tags) = &self.tags {
            parameters.push(Parameter::Texts(tags));
        }
        if let Some((kind, value)) = &self.after {
            parameters.push(Parameter::One(*kind, value));
        }
        parameters.push(Parameter::Count(self.rows));
        parameters
    }
}

impl PageQuery {
    /// Returns how many rows are asked for.
    pub(crate) fn rows(&self) -> usize {
        self.size
    }

    /// Checks the query.
    ///
    /// One row more than asked for is read, to know whether there is a next page.
    pub(crate) fn prepare(self, schema: &Schema) -> Result<Prepared, Error> {
        if !(1..=MAX_SIZE).contains(&self.size) {
            return Err(Error::InvalidSize {
                size: self.size,
                max: MAX_SIZE,
            });
        }

        let filter = self.filter.into_iter();
        let filter = filter.map(|(name, value)| resolve_field(schema, &name, value));
        let filter = filter.collect::<Result<Vec<_>, _>>()?;
        let mut prepared = Prepared::matching(schema, filter, self.size + 1);

        if let Some(tags) = self.tags {
            let (wanted, tags) = match tags {
                TagFilter::All(tags) => (Wanted::All, tags),
                TagFilter::Any(tags) => (Wanted::Any, tags),
            };
            let field = tags_field(schema)?;
            prepared.shape.tags = Some(TagShape { field, wanted });
            let tags: std::collections::BTreeSet<_> = tags.into_iter().collect();
            prepared.tags = Some(tags.into_iter().collect());
        }

        if let Some(token) = self.offset {
            let after = read_token(schema, &token).ok_or(Error::InvalidOffset)?;
            prepared.shape.after = true;
            prepared.after = Some((schema.fields()[schema.primary_key()].kind(), after));
        }
        Ok(prepared)
    }
}

fn tags_field(schema: &Schema) -> Result<usize, Error> {
    match schema.field(TAGS) {
        Some((index, field)) if field.kind() == FieldKind::Set => Ok(index),
        Some(_) => Err(Error::WrongKind {
            entity: schema.name().to_owned(),
            field: TAGS.to_owned(),
            message: "it is not a set, so rows cannot be chosen by tags".to_owned(),
        }),
        None => Err(Error::UnknownField {
            entity: schema.name().to_owned(),
            field: TAGS.to_owned(),
        }),
    }
}

/// The token that leads to what follows a primary key.
pub(crate) fn token(schema: &Schema, last: &Value) -> String {
    BASE64.encode(format!("{}:{}", schema.name(), last.to_text()))
}

/// The primary key that a token was made of; none if it was made otherwise or for another entity.
fn read_token(schema: &Schema, token: &str) -> Option<Value> {
    let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
    let last = text.strip_prefix(schema.name())?.strip_prefix(':')?;
    let kind = schema.fields()[schema.primary_key()].kind();
    Value::from_key_text(kind, last).ok()
}

#[cfg(test)]
mod tests {
    use tidings_core::Field;

    use super::*;

    fn schema(name: &str) -> Schema {
        Schema::builder(name)
            .field(Field::of::<String>("id").primary_key())
            .build()
    }

    #[test]
    fn a_token_leads_back_to_its_key_and_serves_no_other_entity() {
        let schema_a = schema("a");
        for text in ["x", "a:b", "\"quoted\"", "\u{1F980} /?&=", "%00"] {
            let last = Value::Text(text.to_owned());
            let token = token(&schema_a, &last);
            let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            assert!(token.chars().all(safe), "{token}");
            assert_eq!(read_token(&schema_a, &token), Some(last));
            assert_eq!(read_token(&schema("b"), &token), None);
            assert_eq!(read_token(&schema_a, &token[1..]), None);
        }
        for token in ["", "!", "Yg", "\u{0}"] {
            let read = read_token(&schema_a, token);
            assert!(read.is_none(), "{token:?} is {read:?}");
        }
    }
    #[test]
    fn a_token_of_another_spelling_of_a_key_is_not_one() {
        let schema = Schema::builder("a")
            .field(Field::of::<i64>("id").primary_key())
            .build();
        let written = |last: &str| read_token(&schema, &BASE64.encode(format!("a:{last}")));
        assert_eq!(written("7"), Some(Value::Integer(7)));
        for other in ["007", "+7", "-0", " 7", ""] {
            assert_eq!(written(other), None, "{other:?}");
        }
    }
}
