//! [`Redis`]: a log in a stream of a Redis server, or of what speaks its protocol.
//!
//! Redis 7 and Valkey are supported; a Redis cluster's node too, since all keys of a log are in one
//! slot. The keys are `tidings:{NAME}:records`, a stream whose entries have the ids `0-1`, `0-2`
//! and so on; `tidings:{NAME}:table`, a hash; and `tidings:{NAME}:nudges`, a stream that nodes
//! wait on.
//!
//! Steps that have to be atomic are one script, so that an append sees the epoch that it is made
//! in. Nodes wait by `XREAD BLOCK` over a connection of its own, which has no limit of time for its
//! answers but a watchdog: a wait that outlasts what was asked for is a dead link.
//!
//! A server that may evict the log when its memory is full (`maxmemory-policy allkeys-*`) is
//! refused, and so is a replica. One that may not be written to for the moment (it has become a
//! replica, has fewer of them than `min-replicas-to-write`, or cannot write its snapshot) is not
//! read from either: what it answers may be old.

// The scripts. Must not know who runs them.
mod scripts;

// From an answer to values. Must not know what was asked.
mod answer;

// How much an answer may have. Must not know what an answer is.
mod bounded;

// Connections. Must not know what is asked over them.
mod link;

// Waiting for others. Must not know the log.
mod listening;

mod engine;

use std::{fmt, sync::Arc};

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

use self::engine::RedisEngine;
use crate::{
    engine::Engine,
    error::StreamError,
    stream::{Needs, Server, Stream},
};

/// The longest name of a cluster.
const LONGEST: usize = 128;

/// A log in a Redis stream, for `NodeBuilder::stream` of the crate `tidings`.
///
/// The address is `redis://host:port/database`, with a user and a password before the host if the
/// server asks for them. A node opens up to four connections, when each is first used, and again
/// after an error.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tidings_streams::StreamError> {
/// use tidings_streams::{ClusterKey, Redis};
///
/// // Nothing is asked of the server yet.
/// let stream = Redis::new("redis://127.0.0.1:6379", "shop")?
///     .key(ClusterKey::new("a secret that all nodes share")?);
/// # drop(stream);
/// # Ok(()) }
/// ```
pub type Redis = Stream<RedisServer>;

/// A Redis server, and the name of a cluster on it.
pub struct RedisServer {
    host: String,
    port: u16,
    /// As which user a connection logs in, and which database it selects.
    settings: RedisConnectionInfo,
    cluster: String,
}

/// The keys of one log.
#[derive(Clone, Debug)]
struct Keys {
    records: String,
    table: String,
    nudges: String,
}

impl Server for RedisServer {
    const NAME: &'static str = "redis";

    fn read(address: &str, cluster: &str) -> Result<Self, StreamError> {
        let refused = |source| StreamError::Address {
            expected: "redis://HOST:PORT",
            source,
        };
        if !address.starts_with("redis://") {
            return Err(refused(None));
        }

        let info = address.into_connection_info();
        let info = info.map_err(|error| refused(Some(Box::new(error))))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(refused(None));
        };

        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=LONGEST).contains(&cluster.len()) || !cluster.bytes().all(is_part) {
            return Err(StreamError::Name(cluster.to_owned()));
        }

        Ok(Self {
            host: host.clone(),
            port: *port,
            settings: info.redis_settings().clone(),
            cluster: cluster.to_owned(),
        })
    }

    fn open(&self, needs: Needs) -> Arc<dyn Engine> {
        let of = |what| format!("tidings:{{{}}}:{what}", self.cluster);
        let keys = Keys {
            records: of("records"),
            table: of("table"),
            nudges: of("nudges"),
        };
        let server = link::Place {
            host: self.host.clone(),
            port: self.port,
            settings: self.settings.clone(),
        };
        Arc::new(RedisEngine::new(server, keys, needs))
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisServer")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
