//! The writes of a [`Dao`]: each is a transaction of its own, and runs to its end even if its
//! caller goes away.

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{BoxError, Entity, EntityId as _, Field, Patch, Row};

use super::{Dao, typed};
#[cfg(doc)]
use crate::api::table::Table;
use crate::{
    error::Error,
    selector::{FieldInput, Selector, Upserted, WriteOptions},
    write::operation::Edit,
};

impl<E: Entity> Dao<E> {
    /// Inserts a row and returns it as stored. A nil UUID, a zero time and an absent text are
    /// generated, if the field is declared so.
    ///
    /// # Errors
    ///
    /// As [`Table::insert`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::Error;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// assert!(!bob.id.is_nil()); // it was generated
    ///
    /// let again = consumers.insert(Consumer::named("bob")).await.unwrap_err();
    /// assert!(matches!(again, Error::Unique { fields, .. } if fields == ["username"]));
    /// # Ok(()) }
    /// ```
    pub fn insert(
        &self,
        entity: E,
    ) -> impl Future<Output = Result<E, Error>> + Send + 'static + use<E> {
        self.insert_with(entity, WriteOptions::default())
    }

    /// Inserts a row with options; see [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// As [`Table::insert`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::WriteOptions;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let silent = WriteOptions::silent(); // evicts, but runs no handler
    /// consumers.insert_with(Consumer::named("bob"), silent).await?;
    /// # Ok(()) }
    /// ```
    pub fn insert_with(
        &self,
        entity: E,
        options: WriteOptions,
    ) -> impl Future<Output = Result<E, Error>> + Send + 'static + use<E> {
        let inserted = self
            .table
            .insert(self.schema().leave_unset(entity.to_row()), options);
        async move { Ok(E::from_row(inserted.await?)?) }
    }

    /// Reads and changes the row with this primary key, in one transaction. Returns the row as
    /// stored, or `None` if there is no such row.
    ///
    /// The closure runs on the store's runtime while the writer is held, so it should be quick. If
    /// it panics, nothing is changed and the error says so.
    ///
    /// # Errors
    ///
    /// As [`Table::update`]; [`Error::Panicked`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// let changed = consumers.update(bob.id, |bob| bob.plan = Some("gold".into())).await?;
    /// assert_eq!(changed.and_then(|bob| bob.plan).as_deref(), Some("gold"));
    ///
    /// // A closure that panics changes nothing.
    /// let failed = consumers.update(bob.id, |_| panic!("not today")).await;
    /// assert!(failed.is_err() && consumers.select(bob.id).await?.is_some());
    /// # Ok(()) }
    /// ```
    pub fn update<F>(
        &self,
        id: E::Id,
        edit: F,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E, F>
    where
        F: FnOnce(&mut E) + Send + 'static,
    {
        let selector = Selector::primary_key(id.to_key());
        self.update_with(selector, edit, WriteOptions::default())
    }

    /// Changes the row with this value of a unique field; see [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// consumers.insert(Consumer::named("bob")).await?;
    /// let to_gold = |row: &mut Consumer| row.plan = Some("gold".into());
    /// assert!(consumers.update_by("username", "bob", to_gold).await?.is_some());
    /// assert_eq!(consumers.update_by("username", "eve", to_gold).await?, None);
    /// # Ok(()) }
    /// ```
    pub fn update_by<V, F>(
        &self,
        field: &str,
        value: V,
        edit: F,
    ) -> BoxFuture<'static, Result<Option<E>, Error>>
    where
        V: Into<FieldInput>,
        F: FnOnce(&mut E) + Send + 'static,
    {
        let selector = Selector::by(field.to_owned(), value);
        self.update_with(selector, edit, WriteOptions::default())
            .boxed()
    }

    /// Changes the selected row, with options; see [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::{Selector, WriteOptions};
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// consumers.insert(Consumer::named("bob")).await?;
    ///
    /// // Only if bob has no plan yet, and without running handlers.
    /// let without_plan = Selector::by("username", "bob").and("plan", None::<&str>);
    /// let to_gold = |row: &mut Consumer| row.plan = Some("gold".into());
    /// let changed = consumers.update_with(without_plan, to_gold, WriteOptions::silent());
    /// assert!(changed.await?.is_some());
    /// # Ok(()) }
    /// ```
    pub fn update_with<F>(
        &self,
        selector: Selector,
        edit: F,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E, F>
    where
        F: FnOnce(&mut E) + Send + 'static,
    {
        let edit = move |row: Row| {
            let mut entity = E::from_row(row)?;
            edit(&mut entity);
            Ok(entity.to_row())
        };
        let edit = Edit::With(Box::new(edit));
        let updated = self.table.update_with(selector, Ok(edit), options);
        async move { typed(updated.await?) }
    }

    /// Changes the row with this primary key, unless the closure returns an error; see
    /// [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update); [`Error::Refused`] with the closure's error. Then nothing is
    /// changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::Error;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// let changed = consumers.try_update(bob.id, |row| match &row.plan {
    ///     None => Err("there is no plan to cancel".into()),
    ///     Some(_) => {
    ///         row.plan = None;
    ///         Ok(())
    ///     }
    /// });
    /// assert!(matches!(changed.await, Err(Error::Refused { .. })));
    /// # Ok(()) }
    /// ```
    pub fn try_update<F>(
        &self,
        id: E::Id,
        edit: F,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E, F>
    where
        F: FnOnce(&mut E) -> Result<(), BoxError> + Send + 'static,
    {
        let edit = move |row: Row| {
            let mut entity = E::from_row(row)?;
            edit(&mut entity).map_err(|source| Error::Refused {
                entity: E::NAME.to_owned(),
                source,
            })?;
            Ok(entity.to_row())
        };
        let edit = Edit::With(Box::new(edit));
        let selector = Selector::primary_key(id.to_key());
        let updated = self
            .table
            .update_with(selector, Ok(edit), WriteOptions::default());
        async move { typed(updated.await?) }
    }

    /// Replaces the row with this entity's primary key, or creates it; see [`Table::upsert`].
    ///
    /// # Errors
    ///
    /// As [`Table::upsert`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::Upserted;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = Consumer { id: uuid::Uuid::from_u128(7), ..Consumer::named("bob") };
    /// let (_, how) = consumers.upsert(bob.clone()).await?;
    /// assert_eq!(how, Upserted::Created);
    /// let (_, how) = consumers.upsert(bob).await?;
    /// assert_eq!(how, Upserted::Replaced);
    /// # Ok(()) }
    /// ```
    pub fn upsert(
        &self,
        entity: E,
    ) -> impl Future<Output = Result<(E, Upserted), Error>> + Send + 'static + use<E> {
        let schema = self.schema();
        let key = schema.key_of(&schema.leave_unset(entity.to_row()));
        self.upsert_with(Selector::primary_key(key), entity, WriteOptions::default())
    }

    /// Replaces the row with this value of a unique field, or creates it. The entity's primary key
    /// must be that of the row, or nil. The value given here overrides the entity's value of the
    /// field.
    ///
    /// # Errors
    ///
    /// As [`Table::upsert`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::Upserted;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let (bob, how) = consumers.upsert_by("username", "bob", Consumer::named("bob")).await?;
    /// assert_eq!(how, Upserted::Created);
    /// let (same, how) = consumers.upsert_by("username", "bob", Consumer::named("bob")).await?;
    /// assert_eq!((same.id, how), (bob.id, Upserted::Replaced));
    /// # Ok(()) }
    /// ```
    pub fn upsert_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
        entity: E,
    ) -> BoxFuture<'static, Result<(E, Upserted), Error>> {
        let selector = Selector::by(field.to_owned(), value);
        self.upsert_with(selector, entity, WriteOptions::default())
            .boxed()
    }

    /// Replaces or creates the selected row, with options; see [`upsert`](Self::upsert).
    ///
    /// # Errors
    ///
    /// As [`Table::upsert`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::{Selector, Upserted, WriteOptions};
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let by_name = Selector::by("username", "bob");
    /// let bob = Consumer::named("bob");
    /// let upserted = consumers.upsert_with(by_name, bob, WriteOptions::silent());
    /// assert_eq!(upserted.await?.1, Upserted::Created);
    /// # Ok(()) }
    /// ```
    pub fn upsert_with(
        &self,
        selector: Selector,
        entity: E,
        options: WriteOptions,
    ) -> impl Future<Output = Result<(E, Upserted), Error>> + Send + 'static + use<E> {
        let names = E::schema().fields().iter().map(Field::name);
        let row: Patch = names
            .zip(self.schema().leave_unset(entity.to_row()).0)
            .collect();
        let upserted = self.table.upsert(selector, row, options);
        async move {
            let (row, upserted) = upserted.await?;
            Ok((E::from_row(row)?, upserted))
        }
    }

    /// Deletes the row with this primary key and the rows that cascade from it; see
    /// [`Table::delete`].
    ///
    /// # Errors
    ///
    /// As [`Table::delete`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// assert_eq!(consumers.delete(bob.id).await?, Some(bob.clone()));
    /// assert_eq!(consumers.delete(bob.id).await?, None); // deleting an absent row succeeds
    /// # Ok(()) }
    /// ```
    pub fn delete(
        &self,
        id: E::Id,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selector = Selector::primary_key(id.to_key());
        self.delete_with(selector, WriteOptions::default())
    }

    /// Deletes the row with this value of a unique field and the rows that cascade from it; see
    /// [`Table::delete`].
    ///
    /// # Errors
    ///
    /// As [`Table::delete`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// consumers.insert(Consumer::named("bob")).await?;
    /// assert!(consumers.delete_by("username", "bob").await?.is_some());
    /// assert_eq!(consumers.delete_by("username", "bob").await?, None);
    /// # Ok(()) }
    /// ```
    pub fn delete_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
    ) -> BoxFuture<'static, Result<Option<E>, Error>> {
        let selector = Selector::by(field.to_owned(), value);
        self.delete_with(selector, WriteOptions::default()).boxed()
    }

    /// Deletes the selected row, with options; see [`delete`](Self::delete).
    ///
    /// # Errors
    ///
    /// As [`Table::delete`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::{Selector, WriteOptions};
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// consumers.insert(Consumer::named("bob")).await?;
    ///
    /// // Only if bob is on the gold plan: the row counts as absent otherwise.
    /// let gold_bob = Selector::by("username", "bob").and("plan", "gold");
    /// let deleted = consumers.delete_with(gold_bob, WriteOptions::default()).await?;
    /// assert_eq!(deleted, None);
    /// # Ok(()) }
    /// ```
    pub fn delete_with(
        &self,
        selector: Selector,
        options: WriteOptions,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let deleted = self.table.delete(selector, options);
        async move { typed(deleted.await?) }
    }
}
