//! Many rows at a time: pages, streams, counts, inserts.

use std::collections::VecDeque;

use futures_util::stream::{self, Stream};
use tidings_core::Entity;

use super::Dao;
use crate::{
    error::Error,
    page::{MAX_SIZE, Page, PageQuery},
    selector::WriteOptions,
};

impl<E: Entity> Dao<E> {
    /// Inserts many rows, all of them or none; see
    /// [`Table::insert_many`](crate::Table::insert_many).
    ///
    /// # Errors
    ///
    /// As [`Table::insert_many`](crate::Table::insert_many).
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let two = vec![Consumer::named("alice"), Consumer::named("bob")];
    /// assert_eq!(consumers.insert_many(two).await?.len(), 2);
    ///
    /// // If one is refused, none is inserted.
    /// let clash = vec![Consumer::named("carol"), Consumer::named("bob")];
    /// assert!(consumers.insert_many(clash).await.is_err());
    /// assert_eq!(consumers.select_by("username", "carol").await?, None);
    /// # Ok(()) }
    /// ```
    pub fn insert_many(
        &self,
        entities: Vec<E>,
    ) -> impl Future<Output = Result<Vec<E>, Error>> + Send + 'static + use<E> {
        let schema = self.schema();
        let rows = entities.into_iter();
        let rows = rows.map(|entity| schema.leave_unset(entity.to_row()));
        let inserted = self
            .table
            .insert_many(rows.collect(), WriteOptions::default());
        async move {
            let rows = inserted.await?.into_iter().map(E::from_row);
            Ok(rows.collect::<Result<_, _>>()?)
        }
    }

    /// Lists rows, a page at a time; see [`PageQuery`].
    ///
    /// # Errors
    ///
    /// As [`Table::page`](crate::Table::page).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::PageQuery;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// for name in ["alice", "bob", "carol"] {
    ///     consumers.insert(Consumer::named(name)).await?;
    /// }
    /// let (mut names, mut offset) = (Vec::new(), None);
    /// loop {
    ///     let page = consumers.page(PageQuery::new().size(2).offset(offset)).await?;
    ///     names.extend(page.data.into_iter().map(|row| row.username));
    ///     offset = page.offset;
    ///     if offset.is_none() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(names.len(), 3);
    /// # Ok(()) }
    /// ```
    pub fn page(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page<E>, Error>> + Send + 'static + use<E> {
        let page = self.table.page(query);
        async move {
            let Page { data, offset } = page.await?;
            let data = data.into_iter().map(E::from_row);
            let data = data.collect::<Result<_, _>>()?;
            Ok(Page { data, offset })
        }
    }

    /// Streams all rows that a query selects, in its order. Reads a page of up to [`MAX_SIZE`] rows
    /// whenever the last one is used up, whatever size the query asks for.
    ///
    /// Nothing is held between pages, so writes go on; [`PageQuery`] says what that means for rows
    /// that change. After an error the stream ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tidings_core::Entity;
    /// # use tidings_store::{Dao, Error, PageQuery};
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "accounts")]
    /// # struct Account { #[entity(primary_key)] id: i64, cents: i64 }
    /// use std::pin::pin;
    ///
    /// use futures_util::TryStreamExt as _;
    ///
    /// async fn total(accounts: &Dao<Account>) -> Result<i64, Error> {
    ///     let mut all = pin!(accounts.stream(PageQuery::new()));
    ///     let mut total = 0;
    ///     while let Some(account) = all.try_next().await? {
    ///         total += account.cents;
    ///     }
    ///     Ok(total)
    /// }
    /// ```
    pub fn stream(
        &self,
        query: PageQuery,
    ) -> impl Stream<Item = Result<E, Error>> + Send + 'static + use<E> {
        let dao = self.clone();
        let start = (Some(query.size(MAX_SIZE)), VecDeque::new());
        stream::try_unfold(start, move |(mut next, mut rows)| {
            let dao = dao.clone();
            async move {
                loop {
                    if let Some(row) = rows.pop_front() {
                        return Ok(Some((row, (next, rows))));
                    }
                    let Some(query) = next.take() else {
                        return Ok(None);
                    };
                    let page = dao.page(query.clone()).await?;
                    next = page.offset.map(|offset| query.offset(offset));
                    rows = page.data.into();
                }
            }
        })
    }

    /// Counts the rows that a query selects, on all of its pages.
    ///
    /// # Errors
    ///
    /// As [`Table::page`](crate::Table::page).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::PageQuery;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// for name in ["alice", "bob", "carol"] {
    ///     consumers.insert(Consumer::named(name)).await?;
    /// }
    /// assert_eq!(consumers.count(PageQuery::new()).await?, 3);
    /// assert_eq!(consumers.count(PageQuery::new().filter("plan", "gold")).await?, 0);
    /// # Ok(()) }
    /// ```
    pub fn count(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static + use<E> {
        self.table.count(query)
    }

    /// Returns whether there is a row that a query selects.
    ///
    /// # Errors
    ///
    /// As [`Table::page`](crate::Table::page).
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::PageQuery;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let gold = PageQuery::new().filter("plan", "gold");
    /// assert!(!consumers.exists(gold.clone()).await?);
    /// let carol = Consumer { plan: Some("gold".into()), ..Consumer::named("carol") };
    /// consumers.insert(carol).await?;
    /// assert!(consumers.exists(gold).await?);
    /// # Ok(()) }
    /// ```
    pub fn exists(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<bool, Error>> + Send + 'static + use<E> {
        self.table.exists(query)
    }
}
