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
    write::{
        commit::Origin,
        open_transaction::{OpenTransaction, Terms},
    },
};

/// The options of a transaction; see [`Store::begin_with`](crate::Store::begin_with).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TransactionOptions {
    no_event: bool,
    timeout: Option<Duration>,
}

impl TransactionOptions {
    /// Returns the default options: handlers run for it, and it may stay open for the store's limit
    /// ([`OpenOptions::transaction_timeout`](crate::OpenOptions::transaction_timeout)).
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs no handlers for the transaction. Its rows are evicted from the cache in any case.
    pub fn silent(mut self) -> Self {
        self.no_event = true;
        self
    }

    /// Sets how long it may stay open, from its beginning to its commit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// An open transaction: several calls, on any entities, that take effect together or not at all.
/// Made by [`Store::begin`](crate::Store::begin) or
/// [`Store::transaction`](crate::Store::transaction).
///
/// Its [`dao`](Self::dao)s and [`table`](Self::table)s work like those of the store. They read the
/// transaction's own writes, never through a cache, and no one else sees these writes before the
/// commit. You can pass them to functions that take a [`Dao`]. They fail once the transaction has
/// ended.
///
/// At the commit, each changed row is one change: from its values before the transaction to its
/// values at the commit. All changes are evicted at once, and then announced together. A row that
/// ends as it began is not announced.
///
/// # How it ends
///
/// [`commit`](Self::commit) or [`rollback`](Self::rollback) ends it. If it is dropped, it is rolled
/// back soon after. The first call that fails ends it too, whatever the error, and so does its time
/// limit. In these cases nothing was changed.
///
/// # What it holds
///
/// On SQLite it holds the only writer; on PostgreSQL, a connection and the rows that it has read
/// for a write. So while it is open, do not call the store's other handles, and do not wait for a
/// handler. On SQLite, a write by them would wait for this transaction until it times out.
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
    open: OpenTransaction,
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
            origin: Origin {
                no_event: options.no_event,
                cause,
            },
            longest,
        };
        let open =
            OpenTransaction::begin(Arc::clone(&shared.engine), Arc::clone(attached), terms).await?;
        Ok(Self { open, shared })
    }

    /// Returns the typed handle of an entity's table, in this transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::dao`](crate::Store::dao).
    pub fn dao<E: Entity>(&self) -> Result<Dao<E>, Error> {
        Dao::of(self.table(E::NAME)?)
    }

    /// Returns the untyped handle of an entity's table, by the entity's name, in this transaction.
    ///
    /// # Errors
    ///
    /// As [`Store::table`](crate::Store::table).
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        table_of(&self.shared, name, Some(self.open.handle()))
    }

    /// Commits the transaction. When it returns, caches have evicted and handlers have run, as
    /// after any write.
    ///
    /// # Errors
    ///
    /// After [`Error::TransactionEnded`] and [`Error::TooLong`] nothing was changed. The commit
    /// checks references, and can fail with the database's own errors, like any write.
    /// [`Error::Commit`] if the outcome is not known.
    ///
    /// # Cancel safety
    ///
    /// Once the future has been polled, the commit runs to its end, whether or not a caller waits.
    pub async fn commit(self) -> Result<(), Error> {
        self.open.commit().await
    }

    /// Rolls back, and waits until everything that the transaction held is released.
    pub async fn rollback(self) {
        self.open.roll_back().await;
    }
}
