//! [`Stream`]: what a node gets in place of a store.

use std::{fmt, sync::Arc};

use tidings_core::{
    clock::Clock,
    entropy::SystemEntropy,
    log::{ApartNeeds, KeptLog, LogApart, LogError, Members},
    spawn::Spawn,
};

use crate::{
    engine::Engine,
    error::StreamError,
    members::StreamMembers,
    numbered::Numbered,
    secret::{ClusterKey, Remembered, Secrets, remembered},
};

/// The largest size that can be set as the maximum of a record, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;
/// The maximum size of a record, by default.
const LIMIT: usize = 256 << 10;
/// How many keys with secrets are remembered, by default.
const REMEMBERED: usize = 262_144;

/// A kind of server that holds a stream.
pub trait Server: fmt::Debug + Send + Sync + 'static {
    /// Its name, such as `redis`.
    const NAME: &'static str;

    /// Makes the settings for an address and the name of a cluster. Does not connect.
    ///
    /// # Errors
    ///
    /// See [`StreamError`].
    fn read(address: &str, cluster: &str) -> Result<Self, StreamError>
    where
        Self: Sized;

    /// Opens an engine with links of its own. Does not connect yet.
    fn open(&self, needs: Needs) -> Arc<dyn Engine>;
}

/// The settings with which an engine is opened.
#[derive(Clone, Debug)]
pub struct Needs {
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Runs the engine's own tasks.
    pub spawn: Arc<dyn Spawn>,
    /// The maximum number of bytes of a record. A server may accept fewer.
    pub largest: usize,
}

/// A log in a stream, for a node without a store: give it to `NodeBuilder::stream` of the crate
/// `tidings`. Made as `Redis`, or as another server's.
///
/// All nodes of a cluster use the same server, cluster name and key.
pub struct Stream<S> {
    pub(crate) server: S,
    key: Option<ClusterKey>,
    largest: usize,
    loaded: Remembered,
}

impl<S: Server> Stream<S> {
    /// Makes a stream for a server's address and the name of a cluster.
    ///
    /// # Errors
    ///
    /// See [`StreamError`]. This does not connect, so the server may be down: the node waits for
    /// it.
    pub fn new(address: &str, cluster: &str) -> Result<Self, StreamError> {
        Ok(Self::over(S::read(address, cluster)?))
    }

    pub(crate) fn over(server: S) -> Self {
        Self {
            server,
            key: None,
            largest: LIMIT,
            loaded: remembered(REMEMBERED),
        }
    }

    /// Sets the cluster's key, the same on all nodes. Keys of entities with secrets are sent as
    /// digests under it, and tokens are signed with it. Without a key, a node that declares an
    /// entity with a secret does not start, and a token is valid only at the node that issued it.
    #[must_use]
    pub fn key(mut self, key: ClusterKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets how many bytes a record may have, 1 KiB to 1 MiB; 256 KiB by default. An eviction of
    /// more keys than fit becomes one of the whole cache; an event that does not fit is refused.
    ///
    /// # Errors
    ///
    /// [`StreamError::Limit`].
    pub fn record_limit(mut self, bytes: usize) -> Result<Self, StreamError> {
        if !(1 << 10..=LARGEST).contains(&bytes) {
            return Err(StreamError::Limit(bytes));
        }
        self.largest = bytes;
        Ok(self)
    }

    /// Sets how many keys with secrets are remembered by their digests; 262,144 by default. Beyond
    /// that, an eviction by another node of a key that is not found here empties its cache.
    ///
    /// # Errors
    ///
    /// [`StreamError::Remembered`].
    pub fn remembered_secrets(mut self, keys: usize) -> Result<Self, StreamError> {
        if !(1..=1 << 24).contains(&keys) {
            return Err(StreamError::Remembered(keys));
        }
        self.loaded = remembered(keys);
        Ok(self)
    }

    fn engine(&self, needs: &ApartNeeds) -> Arc<dyn Engine> {
        self.server.open(Needs {
            clock: Arc::clone(&needs.clock),
            spawn: Arc::clone(&needs.spawn),
            largest: self.largest,
        })
    }

    /// Returns the converter for keys with secrets; an error if there is no cluster's key for them.
    fn secrets(&self, needs: &ApartNeeds) -> Result<Arc<Secrets>, LogError> {
        let loaded = Arc::clone(&self.loaded);
        let secrets = Secrets::new(self.key.as_ref(), &needs.schemas, loaded);
        secrets.map(Arc::new).ok_or_else(|| LogError::Unfit {
            reason:
                "an entity has secrets, which may leave the process as digests alone: give the \
                     stream the cluster's key"
                    .to_owned(),
        })
    }
}

impl<S: Server> LogApart for Stream<S> {
    fn engine(&self) -> &'static str {
        S::NAME
    }

    fn open(&self, needs: &ApartNeeds) -> Result<Arc<dyn KeptLog>, LogError> {
        let log = Numbered::new(
            Stream::engine(self, needs),
            Arc::clone(&needs.node),
            self.secrets(needs)?,
            Arc::new(SystemEntropy),
        );
        Ok(Arc::new(log))
    }

    fn members(&self, needs: &ApartNeeds) -> Result<Arc<dyn Members>, LogError> {
        let check = self.key.as_ref().map(ClusterKey::check);
        Ok(Arc::new(StreamMembers::new(
            Stream::engine(self, needs),
            check,
            Arc::clone(&needs.clock),
        )))
    }

    fn key(&self) -> Option<[u8; 32]> {
        self.key.as_ref().map(|key| *key.expose())
    }
}

impl<S: Server> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("server", &self.server)
            .field("largest", &self.largest)
            .finish_non_exhaustive()
    }
}
