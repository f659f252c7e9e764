//! Reads that also return the time that each row has left, for code that keeps rows, such as a
//! cache.

use tidings_core::{Entity, EntityId as _, Row};

use crate::{
    api::{dao::Dao, table::Table},
    error::Error,
    live::Live,
    page::{Page, PageQuery},
    selector::{FieldInput, Selector},
};

impl Table {
    /// Selects a row like [`select_where`](Self::select_where), with the time that it has left.
    ///
    /// # Errors
    ///
    /// As [`select_where`](Self::select_where).
    pub fn select_live(
        &self,
        selector: Selector,
    ) -> impl Future<Output = Result<Option<Live<Row>>, Error>> + Send + 'static + use<> {
        self.selected(selector)
    }

    /// Lists rows like [`page`](Self::page), each with the time that it has left.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub fn page_live(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page<Live<Row>>, Error>> + Send + 'static + use<> {
        self.paged(query)
    }
}

impl<E: Entity> Dao<E> {
    /// Selects the row with this primary key, with the time that it has left.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// let bob = consumers.insert(Consumer::named("bob")).await?;
    /// let live = consumers.select_live(bob.id).await?.expect("it was just inserted");
    /// assert_eq!(live.left, None); // rows of this entity do not expire
    /// # Ok(()) }
    /// ```
    pub fn select_live(
        &self,
        id: E::Id,
    ) -> impl Future<Output = Result<Option<Live<E>>, Error>> + Send + 'static + use<E> {
        self.live(Selector::primary_key(id.to_key()))
    }

    /// Selects the row with this value of a unique field, with the time that it has left.
    ///
    /// # Errors
    ///
    /// As [`Table::select_where`].
    ///
    /// # Examples
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// consumers.insert(Consumer::named("bob")).await?;
    /// let live = consumers.select_live_by("username", "bob").await?;
    /// assert!(live.is_some_and(|live| live.left.is_none())); // it does not expire
    /// # Ok(()) }
    /// ```
    pub fn select_live_by<V: Into<FieldInput>>(
        &self,
        field: &str,
        value: V,
    ) -> impl Future<Output = Result<Option<Live<E>>, Error>> + Send + 'static + use<E, V> {
        self.live(Selector::by(field.to_owned(), value))
    }

    /// Lists rows, each with the time that it has left.
    ///
    /// # Errors
    ///
    /// As [`Table::page`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_store::PageQuery;
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/consumers.rs"));
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings_store::Error> {
    /// # let consumers = consumers().await?;
    /// consumers.insert(Consumer::named("bob")).await?;
    /// let page = consumers.page_live(PageQuery::new()).await?;
    /// assert!(page.data.iter().all(|live| live.left.is_none())); // they do not expire
    /// # Ok(()) }
    /// ```
    pub fn page_live(
        &self,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page<Live<E>>, Error>> + Send + 'static + use<E> {
        let page = self.table().page_live(query);
        async move {
            let Page { data, offset } = page.await?;
            let data = data.into_iter().map(|live| live.try_map(E::from_row));
            let data = data.collect::<Result<_, _>>()?;
            Ok(Page { data, offset })
        }
    }

    fn live(
        &self,
        selector: Selector,
    ) -> impl Future<Output = Result<Option<Live<E>>, Error>> + Send + 'static + use<E> {
        let selected = self.table().select_live(selector);
        async move {
            let live = selected.await?;
            Ok(live.map(|live| live.try_map(E::from_row)).transpose()?)
        }
    }
}
