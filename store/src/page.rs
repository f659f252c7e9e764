//! [`PageQuery`]: selects the rows of a list, their order, and the place to start.

// The tokens of pages.
mod token;

use std::{
    borrow::Cow,
    ops::{Bound, RangeBounds},
};

use tidings_core::{FieldKind, Row, Schema, Value};

use self::token::{read_token, token};
use crate::{
    error::Error,
    parameter::Parameter,
    selector::{FieldInput, resolve_field},
};

/// The most rows that a page can have.
pub const MAX_SIZE: usize = 1000;
/// How many rows a page has, by default.
pub const DEFAULT_SIZE: usize = 100;
/// The name of the set field to which a [`TagFilter`] applies.
const TAGS: &str = "tags";

/// Selects the rows of a list and the place to start.
///
/// By default rows come in the order of their primary keys (for a key of several fields: by the
/// first, then by the next). Changes of other rows do not disturb this order: a row that exists
/// while you read all pages appears exactly once. In another order, a row whose field changes in
/// between may be missed or appear twice.
///
/// A filter on a foreign or unique field uses an index. Filters on other fields, ranges and tags
/// scan rows, and another order sorts them. The call that takes the query reports its errors.
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
    filter: Vec<(Cow<'static, str>, Condition, FieldInput)>,
    tags: Option<TagFilter>,
    order: Option<(Cow<'static, str>, Direction)>,
}

/// An order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The lowest first, and absent values before all.
    Ascending,
    /// The highest first, and absent values after all.
    Descending,
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
            order: None,
        }
    }

    /// Sets the maximum number of rows, 1 to [`MAX_SIZE`].
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets the token that the previous page returned; `None` is the first page.
    #[must_use]
    pub fn offset(mut self, offset: impl Into<Option<String>>) -> Self {
        self.offset = offset.into();
        self
    }

    /// Requires a value of one more field; `Null` means that the field is absent.
    #[must_use]
    pub fn filter(
        mut self,
        field: impl Into<Cow<'static, str>>,
        value: impl Into<FieldInput>,
    ) -> Self {
        self.filter
            .push((field.into(), Condition::Value, value.into()));
        self
    }

    /// Requires that a field is in a range. An absent value is in no range.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::Timestamp;
    /// use tidings_store::{Direction, PageQuery};
    ///
    /// // Rows created since a moment, the newest first.
    /// let since = Timestamp::from_unix(1_700_000_000);
    /// let query = PageQuery::new()
    ///     .range("created_at", since..)
    ///     .order_by("created_at", Direction::Descending);
    /// ```
    #[must_use]
    pub fn range<V: Into<FieldInput> + Clone>(
        mut self,
        field: impl Into<Cow<'static, str>>,
        range: impl RangeBounds<V>,
    ) -> Self {
        let field = field.into();
        let bounds = [
            (range.start_bound(), Condition::AtLeast, Condition::Above),
            (range.end_bound(), Condition::AtMost, Condition::Below),
        ];
        for (bound, included, excluded) in bounds {
            let (condition, value) = match bound {
                Bound::Included(value) => (included, value),
                Bound::Excluded(value) => (excluded, value),
                Bound::Unbounded => continue,
            };
            self.filter
                .push((field.clone(), condition, value.clone().into()));
        }

        self
    }

    /// Sets the order, by one field and then by the primary key.
    #[must_use]
    pub fn order_by(mut self, field: impl Into<Cow<'static, str>>, direction: Direction) -> Self {
        self.order = Some((field.into(), direction));
        self
    }

    /// Requires tags.
    #[must_use]
    pub fn tags(mut self, tags: impl Into<Option<TagFilter>>) -> Self {
        self.tags = tags.into();
        self
    }
}

/// The tags that a row must have in its set field `tags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// All of these.
    All(Vec<String>),
    /// At least one of these.
    Any(Vec<String>),
}

impl TagFilter {
    /// Returns whether the rows of a schema can be filtered by tags.
    #[must_use]
    pub fn applies_to(schema: &Schema) -> bool {
        tags_field(schema).is_ok()
    }
}

/// Some rows, and the token of the next page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// The token of the next page, made of letters, digits, `-` and `_`; `None` on the last page.
    pub offset: Option<String>,
}

/// Everything that the text of a page's statement depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) filter: Vec<(usize, Condition)>,
    pub(crate) tags: Option<TagShape>,
    /// The order of the rows, before their primary key.
    pub(crate) order: Option<Ordered>,
    pub(crate) after: After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ordered {
    pub(crate) field: usize,
    pub(crate) direction: Direction,
}

/// Where a page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum After {
    /// At the first row.
    Nothing,
    /// After a row that has a value of the field by which rows are ordered, or in the order of
    /// primary keys.
    Value,
    /// After a row that lacks the field.
    Absent,
}

/// The condition on a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Condition {
    /// The value of a parameter.
    Value,
    /// No value.
    Absent,
    /// A value that compares with the parameter in this way.
    AtLeast,
    Above,
    AtMost,
    Below,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TagShape {
    pub(crate) field: usize,
    pub(crate) matching: TagMatch,
}

/// How many of the tags a row must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TagMatch {
    All,
    Any,
}

/// A checked query: the shape of its statement, and the values of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) shape: Shape,
    values: Vec<(FieldKind, Value)>,
    tags: Option<Vec<String>>,
    /// The values to start after.
    after: Vec<(FieldKind, Value)>,
    rows: usize,
}

impl Prepared {
    /// Returns a query for rows whose fields have these values, up to a number of rows.
    pub(crate) fn matching(
        schema: &Schema,
        filter: impl IntoIterator<Item = (usize, Value)>,
        rows: usize,
    ) -> Self {
        let mut prepared = Self {
            shape: Shape {
                filter: Vec::new(),
                tags: None,
                order: None,
                after: After::Nothing,
            },
            values: Vec::new(),
            tags: None,
            after: Vec::new(),
            rows,
        };
        for (index, value) in filter {
            prepared.add_condition(schema, index, Condition::Value, value);
        }

        prepared
    }

    fn add_condition(&mut self, schema: &Schema, index: usize, condition: Condition, value: Value) {
        if value.is_null() && condition == Condition::Value {
            return self.shape.filter.push((index, Condition::Absent));
        }
        self.shape.filter.push((index, condition));
        self.values.push((schema.fields()[index].kind(), value));
    }

    /// Returns the parameters of the conditions, in the order of the statement.
    pub(crate) fn conditions(&self) -> Vec<Parameter<'_>> {
        let mut parameters: Vec<_> = self
            .values
            .iter()
            .map(|(kind, value)| Parameter::One(*kind, value))
            .collect();
        if let Some(tags) = &self.tags {
            parameters.push(Parameter::Texts(tags));
        }
        parameters
    }

    /// Returns all parameters of a page, in the order of the statement.
    pub(crate) fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters = self.conditions();
        let after = self.after.iter();
        parameters.extend(after.map(|(kind, value)| Parameter::One(*kind, value)));
        parameters.push(Parameter::Count(self.rows));
        parameters
    }

    /// Makes the token of the page that follows a row.
    pub(crate) fn token(&self, schema: &Schema, last: &Row) -> String {
        token(schema, self.shape.order, last)
    }
}

impl PageQuery {
    /// Returns a query for the first of the same rows.
    pub(crate) fn first(self) -> Self {
        self.size(1).offset(None)
    }

    /// Returns the maximum number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.size
    }

    /// Checks the query.
    ///
    /// It reads one row more than the page's size, to know whether there is a next page.
    pub(crate) fn prepare(self, schema: &Schema) -> Result<Prepared, Error> {
        if !(1..=MAX_SIZE).contains(&self.size) {
            return Err(Error::InvalidSize {
                size: self.size,
                max: MAX_SIZE,
            });
        }

        let mut prepared = Prepared::matching(schema, [], self.size + 1);
        for (name, condition, value) in self.filter {
            let (index, value) = resolve_field(schema, &name, value)?;
            if condition != Condition::Value {
                check_ordered(schema, index)?;
                if value.is_null() {
                    return Err(wrong(schema, index, "a range ends at a value, or nowhere"));
                }
            }
            prepared.add_condition(schema, index, condition, value);
        }

        if let Some((name, direction)) = self.order {
            let absent = FieldInput::Value(Value::Null);
            let (field, _) = resolve_field(schema, &name, absent)?;
            check_ordered(schema, field)?;
            prepared.shape.order = Some(Ordered { field, direction });
        }

        if let Some(tags) = self.tags {
            let (matching, tags) = match tags {
                TagFilter::All(tags) => (TagMatch::All, tags),
                TagFilter::Any(tags) => (TagMatch::Any, tags),
            };
            let field = tags_field(schema)?;
            prepared.shape.tags = Some(TagShape { field, matching });
            let tags: std::collections::BTreeSet<_> = tags.into_iter().collect();
            prepared.tags = Some(tags.into_iter().collect());
        }

        if let Some(token) = self.offset {
            let order = prepared.shape.order;
            let (value, key) = read_token(schema, order, &token).ok_or(Error::InvalidOffset)?;
            let kind = |field: usize| schema.fields()[field].kind();
            prepared.shape.after = After::Value;

            if let Some((order, value)) = order.zip(value) {
                if value.is_null() {
                    prepared.shape.after = After::Absent;
                } else {
                    let value = (kind(order.field), value);
                    prepared.after.extend([value.clone(), value]);
                }
            }

            let parts = schema.primary_key().iter().zip(key.into_parts());
            prepared
                .after
                .extend(parts.map(|(field, part)| (kind(*field), part)));
        }

        Ok(prepared)
    }
}

/// Refuses a field whose values have no order.
fn check_ordered(schema: &Schema, field: usize) -> Result<(), Error> {
    if schema.fields()[field].kind().is_composite() {
        Err(wrong(schema, field, "its values have no order"))
    } else {
        Ok(())
    }
}

fn wrong(schema: &Schema, field: usize, message: &str) -> Error {
    Error::WrongKind {
        entity: schema.name().to_owned(),
        field: schema.fields()[field].name().to_owned(),
        message: message.to_owned(),
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
