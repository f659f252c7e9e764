//! [`JetStream`]: a log in a stream of NATS JetStream.
//!
//! The server must be NATS 2.9 or later, with JetStream enabled. Nodes create the stream
//! `tidings-NAME` and the key-value bucket `tidings-NAME`, or use existing ones if their settings
//! fit: `shape.rs` has the names and the settings. The retention of the nodes becomes the stream's
//! `max_age`; if nodes differ, the last one to set it wins.
//!
//! # What an acknowledgement means
//!
//! JetStream acknowledges a record once it is written to a file, and syncs files to the disk some
//! time later, after two minutes by default. A power failure loses the records in between, even
//! acknowledged ones. The node that appended them notices the loss when it has connected again, and
//! begins another epoch, so every node purges. If that node is gone too, no node can notice, and
//! the others keep their cached values until their bounds on staleness. So run JetStream with
//! `sync_interval: always`, or with three replicas in a cluster of servers.
//!
//! If the leader of a replicated stream is cut off from the other servers, it may answer for some
//! seconds before it notices. A proof from that time only holds for the past.

// Layers, the lowest first: a module imports from those above it in this list alone.

// The errors of a call. Must not know how it is sent.
mod fault;

// One connection, and calls with a time limit.
mod link;

// JetStream's calls and answers. Must not know their purpose.
mod api;

// Names and settings.
mod shape;

// The values beside the stream.
mod table;

// Records, page by page.
mod line;

// Wake-ups, received and sent.
mod listener;
mod nudger;

// The engine itself.
mod engine;

use std::{fmt, sync::Arc};

use self::{
    engine::JetStreamEngine,
    link::Address,
    shape::{Replicas, Shape},
};
use crate::{
    engine::Engine,
    error::StreamError,
    stream::{Needs, Server, Stream},
};

/// The maximum length of a cluster's name.
const LONGEST_NAME: usize = 128;

/// A log in a stream of NATS JetStream, for a node without a store.
///
/// The address is `nats://host:port` or `tls://host:port`, with a user and a password before the
/// host if the server asks for them. The user needs the right to publish and to subscribe to
/// `tidings-log.NAME`, `tidings-nudge.NAME`, `$KV.tidings-NAME.>`, `$JS.API.>` and `_INBOX.>`.
///
/// # Examples
///
/// ```
/// use tidings_streams::{ClusterKey, JetStream};
///
/// // For `Node::builder().stream(..)`; it does not connect yet.
/// let stream = JetStream::new("nats://127.0.0.1:4222", "shop")?
///     .key(ClusterKey::new("a long secret that all nodes have")?)
///     .replicas(3)?;
/// # drop(stream);
/// # Ok::<(), tidings_streams::StreamError>(())
/// ```
pub type JetStream = Stream<JetStreamServer>;

/// A NATS server with JetStream, or a cluster of them.
#[derive(Clone)]
pub struct JetStreamServer {
    address: Address,
    cluster: String,
    replicas: Replicas,
}

impl Server for JetStreamServer {
    const NAME: &'static str = "jetstream";

    fn read(address: &str, cluster: &str) -> Result<Self, StreamError> {
        let expected = "nats://HOST:PORT or tls://HOST:PORT";
        if !address.starts_with("nats://") && !address.starts_with("tls://") {
            let source = None;
            return Err(StreamError::Address { expected, source });
        }

        let address = address.parse().map_err(|error| StreamError::Address {
            expected,
            source: Some(Box::new(error)),
        })?;

        let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fits = (1..=LONGEST_NAME).contains(&cluster.len()) && cluster.chars().all(of_a_name);
        if !fits {
            return Err(StreamError::Name(cluster.to_owned()));
        }

        Ok(Self {
            address: Address(address),
            cluster: cluster.to_owned(),
            replicas: Replicas(1),
        })
    }

    fn open(&self, needs: Needs) -> Arc<dyn Engine> {
        let shape = Shape::new(&self.cluster, self.replicas, needs.largest);
        Arc::new(JetStreamEngine::new(self.address.clone(), shape, needs))
    }
}

impl JetStream {
    /// Sets how many servers of a NATS cluster keep stream and bucket, 1 to 5; 1 by default. It
    /// only has an effect on the node that creates them; existing ones stay as they are.
    ///
    /// # Errors
    ///
    /// [`StreamError::Replicas`].
    pub fn replicas(mut self, servers: u8) -> Result<Self, StreamError> {
        if !(1..=5).contains(&servers) {
            return Err(StreamError::Replicas(servers));
        }
        self.server.replicas = Replicas(servers);
        Ok(self)
    }
}

impl fmt::Debug for JetStreamServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("JetStreamServer")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
