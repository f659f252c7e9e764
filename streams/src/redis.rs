//! [`Redis`]: a log in a stream of a Redis server, or of a server with the same protocol.
//!
//! Redis 7 and Valkey are supported, and so is a node of a Redis cluster, because all keys of a log
//! are in one slot. The keys are `tidings:{NAME}:records`, a stream whose entries have the ids
//! `0-1`, `0-2` and so on; `tidings:{NAME}:table`, a hash; and `tidings:{NAME}:nudges`, a stream
//! that nodes wait on.
//!
//! Steps that must be atomic are one script, so an append knows its epoch. Nodes wait with `XREAD
//! BLOCK` over a separate connection, which has a watchdog in place of a time limit: a wait that
//! outlasts the requested time means a dead link.
//!
//! A server that may evict the log when its memory is full (`maxmemory-policy allkeys-*`) is
//! refused, and so is a replica. A server that currently refuses writes (it has become a replica,
//! has fewer replicas than `min-replicas-to-write`, or cannot write its snapshot) is not read from
//! either, because its answers may be old.

// The scripts. Must not know who runs them.
mod scripts;

// From an answer to values. Must not know the request.
mod answer;

// The maximum size of an answer. Must not know its contents.
mod bounded;

// Connections. Must not know the requests over them.
mod link;

// Waiting for wake-ups. Must not know the log.
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
/// // It does not connect yet.
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
    /// The user and the database of a connection.
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
