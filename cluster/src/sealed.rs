//! [`SealedWakes`]: a log whose wake-ups name keys, sealed with the cluster's key.
//!
//! They travel over the log's own channel or over a carrier, which see only text and no keys. A
//! node evicts at once what an authentic wake-up names. One that cannot be opened only makes the
//! node read the log. Places, epochs and proofs come from the log alone. So a broker that forges or
//! loses wake-ups can make a node slow, but never wrong.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, OnceLock},
};

use tidings_core::{
    CacheKey, PrimaryKey, Value,
    log::{
        Appended, Cursor, Digest, Group, Head, Log, LogError, LogFuture, Mark, MemberId, Read,
        RowOf, Sealed, Wake, WakeCarrier, WakeUps,
    },
};

use crate::seal::Seal;

/// A log whose nodes wake each other with sealed wake-ups. It is read as it is.
#[derive(Debug)]
pub struct SealedWakes {
    log: Arc<dyn Log>,
    /// Used in place of the log's own channel.
    carrier: Option<Arc<dyn WakeCarrier>>,
    /// Until it is set, wake-ups name no keys.
    seal: Arc<OnceLock<Seal>>,
}

impl SealedWakes {
    /// Seals the wake-ups of a log, which travel over the carrier if there is one.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, carrier: Option<Arc<dyn WakeCarrier>>) -> Self {
        Self {
            log,
            carrier,
            seal: Arc::default(),
        }
    }

    /// Sets the cluster's key, from which those of wake-ups are derived. Later calls do nothing.
    pub fn key(&self, key: &[u8; 32]) {
        let _ = self.seal.set(Seal::new(key));
    }
}

impl Log for SealedWakes {
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
        key: &'a PrimaryKey,
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

    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.log.answers()
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        self.log.append(entry)
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.log.retire_connections()
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        Box::pin(async move {
            let wakes = match &self.carrier {
                Some(carrier) => carrier.listen().await?,
                None => self.log.listen().await?,
            };
            let opening = Opening {
                wakes,
                seal: Arc::clone(&self.seal),
                opened: VecDeque::new(),
            };
            Ok(Box::new(opening) as Box<dyn WakeUps>)
        })
    }

    fn wake(&self, wake: Wake) {
        let wake = match (wake, self.seal.get()) {
            (Wake::Committed { mark, keys }, Some(seal)) => seal.seal(mark, &keys),
            (Wake::Committed { .. }, None) => Wake::Look,
            (wake @ (Wake::Look | Wake::Reported | Wake::Sealed(_)), _) => wake,
        };
        match &self.carrier {
            Some(carrier) => carrier.wake(wake),
            None => self.log.wake(wake),
        }
    }

    fn note_load(&self, key: &CacheKey) {
        self.log.note_load(key);
    }

    fn digest(&self, key: &CacheKey) -> Option<Digest> {
        self.seal.get().map(|seal| seal.digest(key))
    }
}

/// A listener that opens the sealed wake-ups it receives.
struct Opening {
    wakes: Box<dyn WakeUps>,
    seal: Arc<OnceLock<Seal>>,
    /// The other wake-ups of the last message, which are still to be handed on.
    opened: VecDeque<Wake>,
}

impl Opening {
    /// Returns the wake-ups of a message that are authentic.
    fn open(&self, sealed: &Sealed) -> VecDeque<Wake> {
        let Some(seal) = self.seal.get() else {
            return VecDeque::new();
        };
        let opened = sealed.commits().filter_map(|commit| seal.open(commit));
        opened.collect()
    }
}

impl WakeUps for Opening {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(async move {
            if let Some(wake) = self.opened.pop_front() {
                return Ok(wake);
            }

            match self.wakes.next().await? {
                Wake::Sealed(sealed) => {
                    self.opened = self.open(&sealed);
                    Ok(self.opened.pop_front().unwrap_or(Wake::Look))
                }
                wake @ (Wake::Look | Wake::Reported | Wake::Committed { .. }) => Ok(wake),
            }
        })
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("wakes", &self.wakes)
            .finish_non_exhaustive()
    }
}
