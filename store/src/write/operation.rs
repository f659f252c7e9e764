//! The writes: what each is asked for, what it does inside its transaction, and what it
//! answers.

use tidings_core::{Auto, Field, Patch, Row, Schema, Value};

use crate::{
    error::{DatabaseError, Error},
    method::Method,
    selector::{Resolved, Selector, Upserted},
    write::transaction::Transaction,
};

/// One write, before it is done.
pub(crate) trait Operation: Send + 'static {
    /// What its caller gets.
    type Output: Send + 'static;

    /// Whether hooks run around it: someone asked for it.
    const HOOKED: bool = true;

    /// Returns what hooks see of it: the method, which row is meant, and the row as it was given.
    fn request(&self) -> (Method, Option<&Selector>, Option<&Row>);

    /// Returns the same write again, in case others stop this one; `None` if it cannot be done
    /// twice.
    fn again(&self) -> Option<Self>
    where
        Self: Sized;

    /// Runs the write on the rows of one entity.
    fn run(
        self,
        transaction: &mut Transaction<'_>,
        entity: usize,
    ) -> impl Future<Output = Result<Self::Output, Error>> + Send;

    /// Returns the row that it was about, as it is now (a deleted one: as it was last); `None` if
    /// there is none.
    fn row(output: &Self::Output) -> Option<&Row>;
}

/// A selector as the caller wrote it, for hooks, and as it was checked.
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

/// How an update makes the new row of the old one.
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

/// What a selector leads to.
enum Found {
    Row(Row),
    Nothing,
    /// A row whose field of this index is not as the selector demands.
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

        // What is kept, then what is given, then what the selector says: the later wins.
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
                let row = inserted.map_err(|error| made_since(error, schema, &key))?;
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
    /// Makes an update by a patch, all of whose fields exist.
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

/// Reads the row that a selector means, as it will stay until the transaction ends.
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

/// Returns whether a replaced row hands its value on where none is given.
fn is_kept(field: &Field) -> bool {
    field.is_immutable() || field.auto_value() == Some(Auto::CreateTime)
}

/// Turns the clash with a row that was made since it was looked for into [`Error::Busy`]: the
/// upsert is to be done again.
fn made_since(error: Error, schema: &Schema, key: &[usize]) -> Error {
    let is_key = |fields: &[String]| {
        let names = key.iter().map(|field| schema.fields()[*field].name());
        names.eq(fields.iter().map(String::as_str))
    };

    match error {
        Error::Unique { ref fields, .. } if is_key(fields) => {
            let why = "the row was made by another write since it was looked for";
            Error::Busy(DatabaseError::contention(why))
        }
        error => error,
    }
}
