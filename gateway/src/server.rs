//! Accepts and serves connections, for the proxy side and the admin side alike: listeners, time
//! limits, and an orderly end.
//!
//! # One listening socket
//!
//! Every worker accepts for itself, from its own duplicate of one listening socket. The
//! alternative, a socket per worker under `SO_REUSEPORT`, was rejected for four reasons: the kernel
//! hands a connection to a socket for good, so one worker that is held up by a slow handler would
//! hold up its share of the new clients too; what is queued at a worker's socket is lost when it
//! closes; any other program of the same user could join the port unnoticed, before or after the
//! start; and a hash over few connections is lopsided. What `SO_REUSEPORT` gives for free, an even
//! spread, is done by [`Seats`]: a worker lets one that has fewer connections (or, of equals, has
//! accepted fewer so far) go first, though not for longer than a moment. The price is that all
//! workers wake for a new connection.
//!
//! # Time limits
//!
//! Connections carry a mark in coarse time instead of a timer, and one task per worker checks all
//! marks periodically ([`Connections::watch`]). This costs a request two plain stores.

// The state of one connection, as its time limits see it.
mod connection;

// The bytes of a connection, with the answers that hyper writes by itself completed.
mod io;

// The shared socket and the seats at it. Must not know a connection.
mod listener;

// The open connections of one worker, and their time limits.
mod registry;

// The loop that accepts connections and hands them to the worker's registry.
mod accept;

pub(crate) use self::{
    accept::Acceptor,
    connection::{Answering, ConnectionState},
    io::{GuardedIo, Imprint},
    listener::{BindError, Listener, Seats},
    registry::{Connections, serve},
};
