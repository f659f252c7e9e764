//! A store without tables, for a node whose log is on a server of its own.
//!
//! It answers what a node asks of its store besides rows: the key that signs tokens, a position,
//! and whether the store can be reached. It holds no rows, so it refuses every entity with a table,
//! and its transactions commit nothing.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_core::{
    Row, Schema, Timestamp,
    entropy::{Entropy as _, SystemEntropy},
    log::{KeptLog, LogError, Position, Step},
};

use crate::{
    engine::{CommitError, Dialect, Engine, Refused, Session, Sql},
    error::{DatabaseError, Error},
    live::Live,
    parameter::Parameter,
    released::Released,
    sink::{Begun, CommitName},
    start::{DatabaseKey, Start},
};

/// How long a transaction may be open. It changes nothing.
const LONGEST: Duration = Duration::from_secs(30);

/// The engine of a store without tables: a log on a server of its own.
pub(crate) struct TablelessEngine {
    name: &'static str,
    log: Arc<dyn KeptLog>,
    key: DatabaseKey,
    released: Released,
}

impl TablelessEngine {
    pub(crate) fn new(name: &'static str, log: Arc<dyn KeptLog>, key: Option<[u8; 32]>) -> Self {
        // Without a key of the cluster, tokens are valid in this process only.
        let key = key.unwrap_or_else(|| {
            let mut key = [0; 32];
            SystemEntropy.fill(&mut key);
            key
        });
        Self {
            name,
            log,
            key: DatabaseKey::new(key),
            released: Released::default(),
        }
    }

    /// Returns the newest record.
    async fn newest(&self) -> Result<Step, Error> {
        if self.released.is_set() {
            return Err(Error::Closed);
        }

        let head = self
            .log
            .head(None)
            .await
            .map_err(|error| self.log_error(error))?;

        match *head.cursor.position() {
            Position::Numbered { last: number, id } => Ok(Step { number, id }),
            Position::Counted(_) | Position::Snapshot(_) | Position::Page { .. } => {
                let why = DatabaseError::other("the log has no numbers");
                Err(Error::Unreachable(why))
            }
        }
    }

    fn log_error(&self, error: LogError) -> Error {
        match error {
            LogError::Unfit { reason } => Error::Unfit {
                database: format!("the {} server", self.name),
                reason,
            },
            other => Error::Unreachable(DatabaseError::other(other)),
        }
    }
}

fn no_tables<T>() -> Result<T, Error> {
    Err(Error::NoTables {
        entities: Vec::new(),
    })
}

impl Engine for TablelessEngine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self) -> Option<PathBuf> {
        None
    }

    fn dialect(&self) -> Option<&'static dyn Dialect> {
        None
    }

    fn read<'a>(
        &'a self,
        _: &'a Sql,
        _: &'static Schema,
        _: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>> {
        std::future::ready(no_tables()).boxed()
    }

    // There are no rows that could expire.
    fn time(&self) -> BoxFuture<'_, Result<Timestamp, Error>> {
        std::future::ready(no_tables()).boxed()
    }

    fn longest(&self) -> Duration {
        LONGEST
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Session>, Error>> {
        async {
            let newest = self.newest().await?;
            Ok(Box::new(TablelessSession { newest }) as Box<dyn Session>)
        }
        .boxed()
    }

    fn lay_out<'a>(&'a self, schemas: &'a [&'static Schema]) -> BoxFuture<'a, Result<(), Error>> {
        let entities: Vec<_> = schemas.iter().map(|it| it.name().to_owned()).collect();
        let laid_out = match entities.is_empty() {
            true => Ok(()),
            false => Err(Error::NoTables { entities }),
        };
        std::future::ready(laid_out).boxed()
    }

    fn start(&self) -> BoxFuture<'_, Result<Start, Error>> {
        let key = self.key.clone();
        std::future::ready(Ok(Start { key, number: 1 })).boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { self.newest().await.map(drop) }.boxed()
    }

    fn is_busy(&self) -> bool {
        false
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.released.set();
        std::future::ready(Ok(())).boxed()
    }

    fn release(&self) {
        self.released.set();
    }

    fn released(&self) -> BoxFuture<'static, ()> {
        self.released.wait()
    }
}

impl fmt::Debug for TablelessEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TablelessEngine")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A transaction over no tables.
#[derive(Debug)]
struct TablelessSession {
    /// The newest record of the log when the transaction began.
    newest: Step,
}

impl Session for TablelessSession {
    fn rows<'a>(
        &'a mut self,
        _: &'a Sql,
        _: &'static Schema,
        _: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        std::future::ready(no_tables()).boxed()
    }

    fn read<'a>(
        &'a mut self,
        _: &'a Sql,
        _: &'static Schema,
        _: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Live<Row>>, Error>> {
        std::future::ready(no_tables()).boxed()
    }

    fn change<'a>(
        &'a mut self,
        _: &'a Sql,
        _: Vec<Parameter<'a>>,
    ) -> BoxFuture<'a, Result<u64, Refused>> {
        std::future::ready(no_tables().map_err(Refused::Failed)).boxed()
    }

    fn run<'a>(&'a mut self, _: &'static str) -> BoxFuture<'a, Result<(), Error>> {
        std::future::ready(no_tables()).boxed()
    }

    fn defer_references(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        std::future::ready(Ok(())).boxed()
    }

    fn mark(&self) -> Option<CommitName> {
        // Nothing is written, and only records have places in the log.
        let Step { number, id } = self.newest;
        Some(CommitName {
            number,
            id: Some(id),
            begun: Begun::Unknown,
            resume: None,
        })
    }

    fn commit(&mut self) -> BoxFuture<'_, Result<(), CommitError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn rollback(&mut self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn settle(&mut self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
