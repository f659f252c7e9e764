//! [`Rows`]: the rows that a path leads to, all of an entity's or those of one parent, and what can
//! be done to one of them by its name.
//!
//! A name is looked up first and the write is then made by primary key, with what the path promised
//! (the name, the parent) as conditions that the store checks in the write's own transaction. A row
//! that changes in between is looked up again.

// Bodies that repeat or contradict their path.
mod body;

use serde_json::Value as Json;
use tidings::{
    core::{FieldKind, Patch, Row, Schema, Value, Violations},
    store::{Error, Page, PageQuery, Selector, Table, TagFilter, WriteOptions},
};

use super::{
    names::{self, Name},
    seal::{Plain, Seal},
    tag,
};
use crate::{
    options::ListedSecrets,
    problem::Problem,
    request::{
        condition::{Condition, Tag, Verdict},
        query::{Paging, Tags},
    },
};

/// How often a write looks its row up again when other requests change the row under it.
const ATTEMPTS: usize = 8;

/// Rows of one entity.
#[derive(Debug)]
pub(crate) struct Rows {
    table: Table,
    schema: &'static Schema,
    owner: Option<Owner>,
    unique_within: Vec<usize>,
    seal: Option<Seal>,
}

/// The parent of all rows that a nested path leads to: the field that refers to it, and its primary
/// key.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) field: usize,
    pub(crate) value: Value,
}

/// The result of looking up a name.
#[derive(Debug)]
pub(crate) enum Found {
    /// A row, and which way of reading the name found it.
    Row(Row, Name),
    /// A row of another parent.
    Elsewhere,
    Nothing,
}

impl Rows {
    /// Returns all rows of an entity.
    pub(crate) fn new(table: Table, schema: &'static Schema, seal: Option<Seal>) -> Self {
        Self {
            table,
            schema,
            owner: None,
            unique_within: Vec::new(),
            seal,
        }
    }

    pub(crate) fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// Returns the row as an answer shows it, with what the request itself set.
    pub(crate) fn to_json(&self, row: &Row, plain: &Plain) -> Json {
        let mut json = row.to_json(self.schema);
        if let Some(seal) = &self.seal {
            seal.show(self.schema, row, &mut json, plain);
        }
        json
    }

    /// Returns the entity tag of a row.
    pub(crate) fn tag(&self, row: &Row) -> Tag {
        tag::of(self.schema, row)
    }

    /// Returns the row as a list shows it.
    pub(crate) fn to_listed_json(&self, row: &Row, listed: ListedSecrets) -> Json {
        let mut json = match listed {
            ListedSecrets::Masked => row.to_shown_json(self.schema),
            ListedSecrets::Shown => row.to_json(self.schema),
        };
        if let Some(seal) = &self.seal {
            seal.show(self.schema, row, &mut json, &Plain::default());
        }
        json
    }

    /// Returns a value as it is stored.
    fn stored(&self, field: usize, value: Value) -> Value {
        match &self.seal {
            Some(seal) => seal.stored(field, value),
            None => value,
        }
    }

    /// Returns only the rows of one parent, which may be named by fields that are unique among
    /// them.
    pub(crate) fn owned_by(self, owner: Owner, unique_within: &[usize]) -> Self {
        Self {
            owner: Some(owner),
            unique_within: unique_within.to_vec(),
            ..self
        }
    }

    pub(crate) fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// Returns whether a segment may give a new row its value of a field.
    pub(crate) fn names_by(&self, segment: &str, field: usize) -> bool {
        self.names(segment)
            .first()
            .is_some_and(|name| name.names(field))
    }

    /// Returns whether the path gives each of these rows its value of a field.
    pub(crate) fn sets(&self, field: usize) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.field == field)
    }

    /// Returns the row that a name means. Where the primary key is several fields, a text that
    /// names no row in any spelling is refused, and the answer says how one is named.
    pub(crate) async fn find(&self, segment: &str) -> Result<Found, Problem> {
        let mut elsewhere = false;
        let names = self.names(segment);
        if names.is_empty() && self.schema.single_key().is_none() {
            return Err(self.no_name(segment));
        }

        for name in names {
            let Some(row) = self.look_up(&name).await? else {
                continue;
            };
            if self.owns(&row) {
                return Ok(Found::Row(row, name));
            }
            elsewhere = true;
        }

        Ok(if elsewhere {
            Found::Elsewhere
        } else {
            Found::Nothing
        })
    }

    /// Returns one page of the rows.
    pub(crate) async fn page(&self, paging: &Paging) -> Result<Page<Row>, Problem> {
        let tags = paging.tags.clone().map(|tags| match tags {
            Tags::All(tags) => TagFilter::All(tags),
            Tags::Any(tags) => TagFilter::Any(tags),
        });
        let query = self.query().size(paging.size).tags(tags);
        let query = query.offset(paging.offset.clone());
        let fields = paging.fields.iter();
        let query = fields.fold(query, |query, (field, value)| {
            let value = self.stored(*field, value.clone());
            query.filter(self.name_of(*field), value)
        });
        Ok(self.table.page(query).await?)
    }

    /// Inserts a row.
    pub(crate) async fn insert(&self, patch: Patch) -> Result<Row, Problem> {
        let patch = self.under_owner(patch)?;
        let row = self.row(&patch)?;
        let inserted = self.table.insert(row, WriteOptions::default()).await;
        inserted.map_err(|error| self.problem(error))
    }

    /// Changes the row that a name means, if a condition holds.
    pub(crate) async fn patch(
        &self,
        segment: &str,
        patch: Patch,
        condition: &Condition,
    ) -> Result<Row, Problem> {
        let patch = self.under_owner(patch)?;
        for _ in 0..ATTEMPTS {
            let Found::Row(row, name) = self.find(segment).await? else {
                return Err(Problem::not_found());
            };

            let patch = patch.clone();
            self.keep_primary_key(&patch, &row)?;

            let selector = self.under(condition, &row, self.selector(&row, &name))?;
            let updated = self.table.update(selector, patch, WriteOptions::default());
            match updated.await {
                Ok(Some(row)) => return Ok(row),
                // Renamed, moved or changed by another request since it was judged.
                Ok(None) | Err(Error::Changed { .. }) => {}
                Err(error) => return Err(self.problem(error)),
            }
        }

        Err(Problem::contended())
    }

    /// Replaces the row that a name means, or makes it, if a condition holds.
    pub(crate) async fn put(
        &self,
        segment: &str,
        patch: Patch,
        condition: &Condition,
    ) -> Result<Row, Problem> {
        let patch = self.under_owner(patch)?;
        let mut attempt = 1;
        loop {
            let found = self.find(segment).await?;
            let is_new = matches!(found, Found::Nothing);
            let written = match found {
                Found::Elsewhere => return Err(Problem::not_found()),
                Found::Row(row, name) => {
                    self.replace(&row, &name, patch.clone(), condition).await?
                }
                Found::Nothing => self.make(segment, patch.clone(), condition).await?,
            };
            attempt += 1;

            match written {
                Ok(row) => return Ok(row),
                // The row was renamed, moved or made by another request since it was looked up.
                Err(Error::Condition { .. } | Error::Changed { .. }) if attempt <= ATTEMPTS => {}
                Err(Error::Unique { fields, .. })
                    if is_new && attempt <= ATTEMPTS && self.is_named_by(segment, &fields) => {}
                Err(error) => return Err(self.problem(error)),
            }
        }
    }

    /// Deletes the row that a name means, if there is one and a condition holds. Returns the row as
    /// it was.
    pub(crate) async fn delete(
        &self,
        segment: &str,
        condition: &Condition,
    ) -> Result<Option<Row>, Problem> {
        for _ in 0..ATTEMPTS {
            let (row, name) = match self.find(segment).await? {
                Found::Nothing => {
                    judged(condition, None)?;
                    return Ok(None);
                }
                Found::Elsewhere => return Err(Problem::not_found()),
                Found::Row(row, name) => (row, name),
            };
            let selector = self.under(condition, &row, self.selector(&row, &name))?;
            let deleted = self.table.delete(selector, WriteOptions::default());

            match deleted.await {
                Ok(Some(row)) => return Ok(Some(row)),
                Ok(None) | Err(Error::Changed { .. }) => {}
                Err(error) => return Err(self.problem(error)),
            }
        }

        Err(Problem::contended())
    }
}

/// From a name to a row.
impl Rows {
    fn names(&self, segment: &str) -> Vec<Name> {
        let mut names = names::names(self.schema, &self.unique_within, segment);
        for (field, value) in names.iter_mut().flat_map(|name| &mut name.values) {
            *value = self.stored(*field, std::mem::take(value));
        }
        names
    }

    /// Returns whether a segment would name a new row by one of these fields.
    fn is_named_by(&self, segment: &str, fields: &[String]) -> bool {
        fields
            .iter()
            .filter_map(|field| self.schema.field(field))
            .any(|(field, _)| self.names_by(segment, field))
    }

    async fn look_up(&self, name: &Name) -> Result<Option<Row>, Problem> {
        if name.unique {
            return Ok(self.table.select_where(self.by(name)).await?);
        }

        let query = name
            .values
            .iter()
            .fold(self.query(), |query, (field, value)| {
                query.filter(self.name_of(*field), value.clone())
            });
        let query = query.size(1);
        Ok(self.table.page(query).await?.data.into_iter().next())
    }

    fn owns(&self, row: &Row) -> bool {
        let mut owner = self.owner.iter();
        owner.all(|owner| row.0[owner.field] == owner.value)
    }

    /// Asks for these rows, and for those of no other parent.
    fn query(&self) -> PageQuery {
        let owner = self.owner.iter();
        owner.fold(PageQuery::new(), |query, owner| {
            query.filter(self.name_of(owner.field), owner.value.clone())
        })
    }

    /// Demands that the row belongs to the parent.
    fn owned(&self, selector: Selector) -> Selector {
        let owner = self.owner.iter();
        owner.fold(selector, |selector, owner| {
            selector.and(self.name_of(owner.field), owner.value.clone())
        })
    }

    fn name_of(&self, field: usize) -> &'static str {
        self.schema.fields()[field].name()
    }

    /// Selects the row that a name means by itself.
    fn by(&self, name: &Name) -> Selector {
        let values = name.values.iter();
        Selector::by_all(values.map(|(field, value)| (self.name_of(*field), value.clone())))
    }

    /// Selects a row as it was found: by its primary key, while it has its name and its parent.
    fn selector(&self, row: &Row, name: &Name) -> Selector {
        let selector = self.owned(Selector::primary_key(self.schema.key_of(row)));
        if name.is_primary(self.schema) {
            return selector;
        }
        name.values
            .iter()
            .fold(selector, |selector, (field, value)| {
                selector.and(self.name_of(*field), value.clone())
            })
    }
}

/// Preconditions.
impl Rows {
    /// Refuses the write unless the condition holds, and returns the selector for it. Where the
    /// condition depends on the content of the row, the store checks in the write's own transaction
    /// that the row is still the same.
    fn under(
        &self,
        condition: &Condition,
        row: &Row,
        selector: Selector,
    ) -> Result<Selector, Problem> {
        if condition.is_empty() {
            return Ok(selector);
        }
        judged(condition, Some(&self.tag(row)))?;
        Ok(if condition.names_tags() {
            selector.unchanged(row.clone())
        } else {
            selector
        })
    }
}

/// Refuses a write whose condition does not hold.
fn judged(condition: &Condition, tag: Option<&Tag>) -> Result<(), Problem> {
    match condition.judge(tag) {
        Verdict::Holds => Ok(()),
        Verdict::NotAsDemanded | Verdict::AsKnown => Err(Problem::precondition_failed()),
    }
}

/// The writes themselves, and their errors.
impl Rows {
    async fn replace(
        &self,
        row: &Row,
        name: &Name,
        mut patch: Patch,
        condition: &Condition,
    ) -> Result<Result<Row, Error>, Problem> {
        self.keep_primary_key(&patch, row)?;
        self.name_it(&mut patch, name);
        let selector = self.under(condition, row, self.selector(row, name))?;
        Ok(self.upsert(selector, patch).await)
    }

    /// Makes the row that a name would mean: the first way of reading the name that can make one.
    async fn make(
        &self,
        segment: &str,
        mut patch: Patch,
        condition: &Condition,
    ) -> Result<Result<Row, Error>, Problem> {
        judged(condition, None)?;
        let Some(name) = self.names(segment).into_iter().next() else {
            return Err(self.no_name(segment));
        };

        if name.is_primary(self.schema) {
            for (field, value) in &name.values {
                self.agree(&patch, *field, value)?;
            }
        }
        self.name_it(&mut patch, &name);

        // With a condition the row is inserted, and never replaces one that was made in the
        // meantime.
        if name.unique && condition.is_empty() {
            let selector = self.owned(self.by(&name));
            return Ok(self.upsert(selector, patch).await);
        }
        let row = self.row(&patch)?;
        Ok(self.table.insert(row, WriteOptions::default()).await)
    }

    /// Says why no row can have this name: the text field that would hold it does not allow it. A
    /// number in another spelling is simply not found; for a key of several fields the message
    /// gives the right spelling.
    fn no_name(&self, segment: &str) -> Problem {
        let is_several = self.schema.single_key().is_none();
        let of_key = || self.schema.key_from_text(segment).err();
        let of_key = is_several.then(of_key).flatten();
        let named = self.schema.endpoint_key();
        let named = named.or_else(|| self.unique_within.first().copied());
        let of_field = || {
            let field = &self.schema.fields()[named?];
            let breach = field.from_key_text(segment).err();
            (field.kind() == FieldKind::Text).then_some((field.name(), breach?))
        };
        let Some((name, breach)) = of_key.map(|it| ("@entity", it)).or_else(of_field) else {
            return Problem::not_found();
        };

        let mut violations = Violations::default();
        violations.broken(name, breach);
        Problem::violations(&violations)
    }

    async fn upsert(&self, selector: Selector, patch: Patch) -> Result<Row, Error> {
        let written = self
            .table
            .upsert(selector, patch, WriteOptions::default())
            .await;
        written.map(|(row, _)| row)
    }

    /// Returns the problem that a client sees. If the parent was deleted since the path was read,
    /// the path is not found.
    fn problem(&self, error: Error) -> Problem {
        match (&error, &self.owner) {
            (Error::ForeignKey { field, .. }, Some(owner))
                if *field == self.schema.fields()[owner.field].name() =>
            {
                Problem::not_found()
            }
            _ => error.into(),
        }
    }
}
