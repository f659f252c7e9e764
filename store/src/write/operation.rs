//! The kinds of writes: their arguments, what each does inside its transaction, and its result.

use tidings_core::{Auto, Field, Patch, Row, Schema, Value};

use crate::{
    error::{DatabaseError, Error},
    method::Method,
    selector::{Resolved, Selector, Upserted},
    write::transaction::Transaction,
};

/// One write, before it runs.
pub(crate) trait Operation: Send + 'static {
    /// The result for its caller.
    type Output: Send + 'static;

    /// Whether hooks run around it, because a caller requested it.
    const HOOKED: bool = true;

    /// Returns what hooks see of it: the method, the selector of the row, and the row as given.
    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>);

    /// Returns a copy of the write, in case other writes stop this one; `None` if it cannot be
    /// repeated.
    fn again(&self) -> Option<Self>
    where
        Self: Sized;

    /// Runs the write on the rows of one entity.
    fn run(
        self,
        transaction: &mut Transaction<'_>,
        entity: usize,
    ) -> impl Future<Output = Result<Self::Output, Error>> + Send;

    /// Returns the row of the result, as it is now (a deleted row: as it was last); `None` if there
    /// is none.
    fn row(output: &Self::Output) -> Option<&Row>;
}

/// A selector, as the caller passed it, for hooks, and as checked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) selector: Selector,
    pub(crate) resolved: Resolved,
}

#[derive(Clone, Debug)]
pub(crate) struct Insert(pub(crate) Row);

#[derive(Clone, Debug)]
pub(crate) struct InsertMany(pub(crate) Vec<Row>);

pub(crate) struct Update {
    pub(crate) target: Target,
    pub(crate) edit: Edit,
}

/// How an update makes the new row from the old one.
pub(crate) enum Edit {
    Patch(Patch),
    With(Box<dyn FnOnce(Row) -> Result<Row, Error> + Send>),
}

#[derive(Clone, Debug)]
pub(crate) struct Upsert {
    pub(crate) target: Target,
    pub(crate) given: Given,
}

/// The values that an upsert was given, by their index in the schema.
#[derive(Clone, Debug)]
pub(crate) struct Given(pub(crate) Vec<(usize, Value)>);

#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub(crate) target: Target,
}

/// What a selector finds.
enum Found {
    Row(Row),
    Nothing,
    /// A row whose field of this index does not meet the selector's condition.
    Elsewhere(usize),
}

impl Operation for Insert {
    type Output = Row;

    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>) {
        (Method::Insert, None, Some(&self.0))
    }

    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn run(self, transaction: &mut Transaction<'_>, entity: usize) -> Result<Row, Error> {
        transaction.insert(entity, self.0).await
    }

    fn row(output: &Row) -> Option<&Row> {
        Some(output)
    }
}

impl Operation for InsertMany {
    type Output = Vec<Row>;

    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>) {
        (Method::InsertMany, None, None)
    }

    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn run(
        self,
        transaction: &mut Transaction<'_>,
        entity: usize,
    ) -> Result<Vec<Row>, Error> {
        transaction.insert_many(entity, self.0).await
    }

    fn row(_: &Vec<Row>) -> Option<&Row> {
        None
    }
}

impl Operation for Update {
    type Output = Option<Row>;

    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>) {
        (Method::Update, Some(&self.target.selector), None)
    }

    fn again(&self) -> Option<Self> {
        match &self.edit {
            Edit::Patch(patch) => Some(Self {
                target: self.target.clone(),
                edit: Edit::Patch(patch.clone()),
            }),
            // A closure runs once.
            Edit::With(_) => None,
        }
    }

    async fn run(
        self,
        transaction: &mut Transaction<'_>,
        entity: usize,
    ) -> Result<Option<Row>, Error> {
        let Found::Row(old) = find(transaction, entity, &self.target.resolved).await? else {
            return Ok(None);
        };

        let schema = transaction.catalog.get(entity).schema;
        let new = match self.edit {
            Edit::Patch(patch) => old
                .patched(schema, &patch)
                .map_err(|violations| Error::violations(schema.name(), violations))?,
            Edit::With(edit) => edit(old.clone())?,
        };

        transaction.update(entity, old, new).await.map(Some)
    }

    fn row(output: &Option<Row>) -> Option<&Row> {
        output.as_ref()
    }
}

impl Operation for Upsert {
    type Output = (Row, Upserted);

    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>) {
        (Method::Upsert, Some(&self.target.selector), None)
    }

    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn run(
        self,
        transaction: &mut Transaction<'_>,
        entity: usize,
    ) -> Result<(Row, Upserted), Error> {
        let target = self.target.resolved;
        let schema = transaction.catalog.get(entity).schema;
        let old = match find(transaction, entity, &target).await? {
            Found::Row(old) => Some(old),
            Found::Nothing if target.is_of_a_known_row() => {
                return Err(Error::Changed {
                    entity: schema.name().to_owned(),
                });
            }
            Found::Nothing => None,
            Found::Elsewhere(field) => {
                return Err(Error::Condition {
                    entity: schema.name().to_owned(),
                    field: schema.fields()[field].name().to_owned(),
                });
            }
        };

        // First the kept values, then the given ones, then the selector's; later ones override.
        let mut row = Row::empty(schema);
        if let Some(old) = &old {
            for (index, field) in schema.fields().iter().enumerate() {
                if is_kept(field) {
                    row.0[index].clone_from(&old.0[index]);
                }
            }
        }

        for (index, value) in self.given.0 {
            if !(is_kept(&schema.fields()[index]) && value.is_null()) {
                row.0[index] = value;
            }
        }

        let key: Vec<_> = target.key.iter().map(|(field, _)| *field).collect();
        for (index, value) in target.and.into_iter().chain(target.key) {
            row.0[index] = value;
        }

        match old {
            None => {
                let inserted = transaction.insert(entity, row).await;
                let row = inserted.map_err(|error| created_since(error, schema, &key))?;
                Ok((row, Upserted::Created))
            }
            Some(old) => Ok((
                transaction.replace(entity, old, row).await?,
                Upserted::Replaced,
            )),
        }
    }

    fn row(output: &(Row, Upserted)) -> Option<&Row> {
        Some(&output.0)
    }
}

impl Operation for Delete {
    type Output = Option<Row>;

    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>) {
        (Method::Delete, Some(&self.target.selector), None)
    }

    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn run(
        self,
        transaction: &mut Transaction<'_>,
        entity: usize,
    ) -> Result<Option<Row>, Error> {
        let Found::Row(row) = find(transaction, entity, &self.target.resolved).await? else {
            return Ok(None);
        };

        transaction.delete(entity, row.clone()).await?;
        Ok(Some(row))
    }

    fn row(output: &Option<Row>) -> Option<&Row> {
        output.as_ref()
    }
}

impl Target {
    pub(crate) fn of(selector: Selector, schema: &Schema) -> Result<Self, Error> {
        let resolved = selector.clone().resolve(schema)?;
        Ok(Self { selector, resolved })
    }
}

impl Edit {
    /// Makes an edit of a patch, after a check that all of its fields exist.
    pub(crate) fn patch(patch: Patch, schema: &Schema) -> Result<Self, Error> {
        Given::of(&patch, schema)?;
        Ok(Self::Patch(patch))
    }
}

impl Given {
    pub(crate) fn of(patch: &Patch, schema: &Schema) -> Result<Self, Error> {
        let values = patch.iter().map(|(name, value)| {
            let unknown = || Error::UnknownField {
                entity: schema.name().to_owned(),
                field: name.to_owned(),
            };
            let (index, _) = schema.field(name).ok_or_else(unknown)?;
            Ok((index, value.clone()))
        });
        values.collect::<Result<_, _>>().map(Self)
    }
}

/// Reads and locks the row of a selector.
async fn find(
    transaction: &mut Transaction<'_>,
    entity: usize,
    target: &Resolved,
) -> Result<Found, Error> {
    if target.is_absent() {
        return Ok(Found::Nothing);
    }
    let Some(row) = transaction.by_key(entity, &target.key).await? else {
        return Ok(Found::Nothing);
    };

    Ok(match target.mismatch(&row) {
        None => {
            let schema = transaction.catalog.get(entity).schema;
            target.check_unchanged(schema, &row)?;
            Found::Row(row)
        }
        Some(field) => Found::Elsewhere(field),
    })
}

/// Returns whether a replaced row keeps its value of a field if none is given.
fn is_kept(field: &Field) -> bool {
    field.is_immutable() || field.auto_value() == Some(Auto::CreateTime)
}

/// Turns the clash with a row that was created since the upsert looked for it into [`Error::Busy`],
/// so that the upsert is repeated.
fn created_since(error: Error, schema: &Schema, key: &[usize]) -> Error {
    let is_key = |fields: &[String]| {
        let names = key.iter().map(|field| schema.fields()[*field].name());
        names.eq(fields.iter().map(String::as_str))
    };

    match error {
        Error::Unique { ref fields, .. } if is_key(fields) => {
            let why = "another write has created the row since it was looked for";
            Error::Busy(DatabaseError::contention(why))
        }
        error => error,
    }
}
