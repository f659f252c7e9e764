//! The writes of a [`Dao`] that take effect only if the row has not changed since its caller read
//! it: optimistic locking, by the whole row or by its version.

use tidings_core::{Entity, EntityId as _};

use super::Dao;
#[cfg(doc)]
use crate::api::table::Table;
use crate::{
    error::Error,
    selector::{Selector, WriteOptions},
};

impl<E: Entity> Dao<E> {
    /// Replaces a row that the caller has read, if every field still has the value that was read.
    /// Returns the row as stored, or `None` if there is no such row. This is optimistic locking,
    /// with the row itself as its version: no lock is held between the read and this call.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if another write came in between: read the row again, and decide.
    /// Otherwise as [`update`](Self::update).
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings_core::Entity;
    /// # use tidings_store::{Dao, Error};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "accounts")]
    /// # struct Account { #[entity(primary_key)] id: i64, cents: i64 }
    /// async fn withdraw(accounts: &Dao<Account>, id: i64, cents: i64) -> Result<(), Error> {
    ///     while let Some(read) = accounts.select(id).await? {
    ///         let new = Account { cents: read.cents - cents, ..read.clone() };
    ///         match accounts.replace(&read, new).await {
    ///             Err(Error::Changed { .. }) => continue,
    ///             ended => return ended.map(drop),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn replace(
        &self,
        read: &E,
        new: E,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selector = Selector::primary_key(read.id().to_key()).unchanged(read.to_row());
        self.update_with(selector, move |row| *row = new, WriteOptions::default())
    }

    /// Changes the row with this primary key, if it has this version; see [`update`](Self::update).
    /// Each write increments the version.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if it has another version: read the row again, and decide.
    /// [`Error::Unversioned`] if no field is marked `#[entity(version)]`. Otherwise as
    /// [`update`](Self::update).
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings_core::Entity;
    /// # use tidings_store::{Dao, Error};
    /// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// #[entity(name = "accounts")]
    /// struct Account {
    ///     #[entity(primary_key)]
    ///     id: i64,
    ///     cents: i64,
    ///     #[entity(version)]
    ///     version: i64,
    /// }
    ///
    /// // The form was sent out with the row's version, and brings it back.
    /// async fn correct(accounts: &Dao<Account>, form: Account) -> Result<(), Error> {
    ///     let cents = form.cents;
    ///     accounts.update_at(form.id, form.version, move |account| account.cents = cents).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn update_at<F>(
        &self,
        id: E::Id,
        version: i64,
        edit: F,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E, F>
    where
        F: FnOnce(&mut E) + Send + 'static,
    {
        let selector = Selector::primary_key(id.to_key()).version(version);
        self.update_with(selector, edit, WriteOptions::default())
    }

    /// Replaces the row that has the same primary key, if it has this version. Returns the row as
    /// stored, or `None` if there is no such row. See [`update_at`](Self::update_at).
    ///
    /// # Errors
    ///
    /// As [`update_at`](Self::update_at).
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings_core::Entity;
    /// # use tidings_store::{Dao, Error};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "accounts")]
    /// # struct Account {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     cents: i64,
    /// #     #[entity(version)]
    /// #     version: i64,
    /// # }
    /// /// Stores what a form holds, unless the row has changed since the form was filled in.
    /// async fn save(accounts: &Dao<Account>, form: Account) -> Result<bool, Error> {
    ///     match accounts.replace_at(form.version, form).await {
    ///         Err(Error::Changed { .. }) => Ok(false),
    ///         saved => Ok(saved?.is_some()),
    ///     }
    /// }
    /// ```
    pub fn replace_at(
        &self,
        version: i64,
        new: E,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selector = Selector::primary_key(new.id().to_key()).version(version);
        self.update_with(selector, move |row| *row = new, WriteOptions::default())
    }

    /// Deletes the row with this primary key and the rows that cascade from it, if it has this
    /// version; see [`update_at`](Self::update_at).
    ///
    /// # Errors
    ///
    /// As [`update_at`](Self::update_at) and [`Table::delete`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings_core::Entity;
    /// # use tidings_store::{Dao, Error};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "accounts")]
    /// # struct Account {
    /// #     #[entity(primary_key)]
    /// #     id: i64,
    /// #     cents: i64,
    /// #     #[entity(version)]
    /// #     version: i64,
    /// # }
    /// /// Closes an account, unless it has changed since it was read.
    /// async fn close(accounts: &Dao<Account>, read: &Account) -> Result<bool, Error> {
    ///     match accounts.delete_at(read.id, read.version).await {
    ///         Err(Error::Changed { .. }) => Ok(false),
    ///         closed => Ok(closed?.is_some()),
    ///     }
    /// }
    /// ```
    pub fn delete_at(
        &self,
        id: E::Id,
        version: i64,
    ) -> impl Future<Output = Result<Option<E>, Error>> + Send + 'static + use<E> {
        let selector = Selector::primary_key(id.to_key()).version(version);
        self.delete_with(selector, WriteOptions::default())
    }
}
