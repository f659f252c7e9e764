//! [`Carried`]: a log whose wake-ups go by a carrier of their own.
//!
//! A carrier is not a log. It says that there is something to read, and not what: places, epochs
//! and proofs come from the log alone. So a broker that lies or loses can make a node slow, but
//! never wrong.

use std::sync::Arc;

use tidings_core::{
    CacheKey, Value,
    log::{
        Appended, Cursor, Digest, Group, Head, Log, LogError, LogFuture, Mark, MemberId, Read,
        RowOf, Wake, WakeCarrier, WakeUps,
    },
};

/// A log that is read as it is, and whose nodes wake each other by a carrier.
#[derive(Debug)]
pub struct Carried {
    log: Arc<dyn Log>,
    carrier: Arc<dyn WakeCarrier>,
}

impl Carried {
    /// Puts a carrier in the place of the log's own wake-ups.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, carrier: Arc<dyn WakeCarrier>) -> Self {
        Self { log, carrier }
    }
}

impl Log for Carried {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        self.log.head(member)
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        self.log.read(from, limit, member)
    }

    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a Value,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        self.log.group(mark, entity, key)
    }

    fn groups<'a>(
        &'a self,
        rows: &'a [RowOf],
    ) -> LogFuture<'a, Result<Vec<Option<Group>>, LogError>> {
        self.log.groups(rows)
    }

    fn children<'a>(
        &'a self,
        entity: &'a str,
        keys: Vec<Value>,
    ) -> LogFuture<'a, Result<Vec<CacheKey>, LogError>> {
        self.log.children(entity, keys)
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        self.log.append(entry)
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.log.retire_connections()
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        self.carrier.listen()
    }

    fn wake(&self, wake: Wake) {
        self.carrier.wake(wake);
    }

    // What a carrier takes along names no keys.
    fn digest(&self, _: &CacheKey) -> Option<Digest> {
        None
    }
}
