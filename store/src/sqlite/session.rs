//! [`SqliteSession`]: one transaction, and what it adds to its own records.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{
    Row, RowError, Schema,
    log::{Announce, CommitName},
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    engine::{CommitError, Refused, Session, Sql},
    error::Error,
    live::Live,
    parameter::Parameter,
    sqlite::{
        codes::{commit_error, failed, refused},
        connection::{Writer, change, execute, rows},
        log::{self, RecordId},
        values::{arguments, decode, decode_live},
    },
};

/// A transaction, which holds the writer.
#[derive(Debug)]
pub(crate) struct SqliteSession {
    pub(super) writer: OwnedMutexGuard<Writer>,
    /// `None` if the file keeps no log.
    pub(super) records: Option<Records>,
}

/// What a transaction adds to its own records.
#[derive(Debug)]
pub(super) struct Records {
    /// The newest record before the transaction.
    pub(super) first: RecordId,
    pub(super) node: Option<Arc<str>>,
    pub(super) announce: Announce,
    /// The last record of the transaction, once it is known.
    pub(super) mark: Option<RecordId>,
}

impl Session for SqliteSession {
    fn rows<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        async move {
            let parameters = arguments(parameters)?;
            let connection = self.writer.connection_in_transaction()?;
            let found = rows(connection, sql, parameters).await.map_err(failed)?;
            let decoded = found.iter().map(|row| decode(schema, row));
            Ok(decoded.collect::<Result<_, RowError>>()?)
        }
        .boxed()
    }

    fn read<'a>(
        &'a mut self,
        sql: &'a Sql,
        schema: &'static Schema,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>> {
        async move {
            let parameters = arguments(parameters)?;
            let connection = self.writer.connection_in_transaction()?;
            let found = rows(connection, sql, parameters).await.map_err(failed)?;
            let decoded = found.iter().map(|row| decode_live(schema, row));
            Ok(decoded.collect::<Result<_, RowError>>()?)
        }
        .boxed()
    }

    fn change<'a>(
        &'a mut self,
        sql: &'a Sql,
        parameters: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<u64, Refused>> {
        async move {
            let parameters = arguments(parameters)?;
            let connection = self.writer.connection_in_transaction()?;
            change(connection, sql, parameters).await.map_err(refused)
        }
        .boxed()
    }

    fn run<'a>(&'a mut self, sql: &'static str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let connection = self.writer.connection_in_transaction()?;
            execute(connection, sql).await.map_err(failed)
        }
        .boxed()
    }

    fn defer_references(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let connection = self.writer.connection_in_transaction()?;
            let deferred = execute(connection, "PRAGMA defer_foreign_keys = ON");
            deferred.await.map_err(failed)
        }
        .boxed()
    }

    fn silence(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        if let Some(records) = &mut self.records {
            records.announce = Announce::Silent;
        }
        std::future::ready(Ok(())).boxed()
    }

    fn seal<'a>(&'a mut self, changed: &'a [&'static str]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let Some(records) = &mut self.records else {
                return Ok(());
            };

            let named = log::name_commit(
                self.writer.connection_in_transaction()?,
                records.first.number,
                records.node.as_deref(),
                records.announce,
                changed,
            );
            records.mark = Some(named.await?);

            Ok(())
        }
        .boxed()
    }

    fn mark(&self) -> Option<CommitName> {
        let records = self.records.as_ref()?;
        let last = records.mark.unwrap_or(records.first);
        Some(CommitName::numbered(last.number.unsigned_abs(), last.id))
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), CommitError>> {
        async move { self.writer.commit().await.map_err(commit_error) }.boxed()
    }

    fn rollback(&mut self) -> BoxFuture<'_, ()> {
        self.writer.rollback().boxed()
    }

    // The connection's thread runs one statement after the other, so the rollback runs after the
    // commit.
    fn settle(&mut self) -> BoxFuture<'_, ()> {
        self.writer.rollback().boxed()
    }
}
