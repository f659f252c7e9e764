//! [`Transaction`]: several calls on several entities, all of them or none.

use std::{sync::Arc, time::Duration};

use tidings_core::{Cause, Entity};

use crate::{
    api::{
        dao::Dao,
        shared::Shared,
        table::{Table, table_of},
    },
    error::Error,
    settings::check_limit,
    write::within::{Open, Terms},
};

/// How a transaction is done; see [`Store::begin_with`](crate::Store::begin_with).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TransactionOptions {
    no_event: bool,
    timeout: Option<Duration>,
}

impl TransactionOptions {
    /// Returns the defaults: handlers hear of it, and it may be open for as long as the store says
    /// ([`OpenOptions::transaction_timeout`](crate::OpenOptions::transaction_timeout)).
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the transaction from handlers: none hears of it. What is cached is evicted all the
    /// same.
    pub fn silent(mut self) -> Self {
        self.no_event = true;
        self
    }

    /// Sets how long it may be open, from its beginning to its commit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// An open transaction: several calls, on any entities, of which all are done or none. Made by
/// [`Store::begin`](crate::Store::begin) or [`Store::transaction`](crate::Store::transaction).
///
/// Its [`dao`](Self::dao)s and [`table`](Self::table)s are as those of the store: they read what
/// the transaction has written, never through a cache, and what they write is seen by no one else
/// before the commit. They can be handed to functions that take a [`Dao`], and fail once the
/// transaction has ended.
///
/// At the commit each row that was changed is one change, from what it was before to what it is
/// then; all of them are told together, after one eviction. A row that ends as it began is not
/// told.
///
/// # How it ends
///
/// By [`commit`](Self::commit) or [`rollback`](Self::rollback); dropped, it is rolled back, soon
/// after. The first call in it that fails ends it too, whatever the error, and so does the limit
/// on its time: then nothing was changed.
///
/// # What it holds
///
/// On SQLite the only writer, on PostgreSQL a connection and the rows that it has read for a
/// write. So do not call the store's other handles while it is open, nor wait for a handler: on
/// SQLite a write by them waits for this transaction until it gives up.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidings_core::{Entity, clock::SystemClock};
/// # use tidings_store::{Attachment, ChangeSet, ChangeSink, Error, Store};
/// # #[derive(Debug)]
/// # struct Nothing;
/// # impl ChangeSink for Nothing {
/// #     fn committed(&self, _: ChangeSet) -> futures_util::future::BoxFuture<'static, ()> {
/// #         Box::pin(std::future::ready(()))
/// #     }
/// #     fn in_doubt(&self, _: &ChangeSet) {}
/// # }
/// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
/// #[entity(name = "accounts")]
/// struct Account {
///     #[entity(primary_key)]
///     id: i64,
///     cents: i64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = Store::open("sqlite::memory:").await?;
/// # store.attach(Attachment {
/// #     schemas: vec![Account::schema()],
/// #     sink: Arc::new(Nothing),
/// #     clock: Arc::new(SystemClock::new()),
/// #     runtime: tokio::runtime::Handle::current(),
/// # }).await?;
/// for id in [1, 2] {
///     store.dao::<Account>()?.insert(Account { id, cents: 100 }).await?;
/// }
///
/// store.transaction(async |transaction| {
///     let accounts = transaction.dao::<Account>()?;
///     accounts.update(1, |account| account.cents -= 30).await?;
///     accounts.update(2, |account| account.cents += 30).await?;
///     Ok::<_, Error>(())
/// }).await?;
/// assert_eq!(store.dao::<Account>()?.select(2).await?.map(|it| it.cents), Some(130));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropped, it is rolled back"]
pub struct Transaction {
    open: Open,
    shared: Arc<Shared>,
}

impl Transaction {
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        options: TransactionOptions,
        cause: Option<Cause>,
    ) -> Result<Self, Error> {
        let attached = shared.attached.get().ok_or(Error::NotAttached)?;
        let longest = options.timeout.unwrap_or_else(|| shared.engine.longest());
        check_limit("timeout", longest)?;

        let terms = Terms {
            no_event: options.no_event,
            longest,
            cause,
        };
        let open = Open::begin(Arc::clone(&shared.engine), Arc::clone(attached), terms).await?;
        Ok(Self { open, shared })
    }

    /// Returns the typed face of an entity's table, in this transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::dao`](crate::Store::dao).
    pub fn dao<E: Entity>(&self) -> Result<Dao<E>, Error> {
        Dao::of(self.table(E::NAME)?)
    }

    /// Returns an entity's table, by the entity's name, in this transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::table`](crate::Store::table).
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        table_of(&self.shared, name, Some(self.open.within()))
    }

    /// Commits the transaction. When it returns, caches have evicted and handlers have run, as
    /// after any write.
    ///
    /// # Errors
    ///
    /// [`Error::TransactionEnded`], [`Error::TooLong`]: nothing was changed. A reference that is
    /// checked at the commit, and the database's own errors, as for any write; [`Error::Commit`] if
    /// the end is not known.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled the commit is done, whether or not anyone waits for it.
    pub async fn commit(self) -> Result<(), Error> {
        self.open.commit().await
    }

    /// Rolls back, and waits until what was held is free.
    pub async fn rollback(self) {
        self.open.roll_back().await;
    }
}
