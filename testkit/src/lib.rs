//! Throwaway servers for tests: PostgreSQL, pgbouncer, NATS and Redis.
//!
//! The server runs as an unprivileged user on a free port, in a directory of its own that is copied
//! from one `initdb`. However the binary ends, even by a kill, the server stops: a shell waits for
//! the end of the binary's pipe, stops the server and removes the directory.
//!
//! [`Certificates`] are for servers with TLS, [`Server::standby`] starts a standby, and [`Bouncer`]
//! is a pgbouncer in front of a server. A [`Proxy`] sits between a test and the server; it can cut
//! the connection, and hold or lose data. A [`Broker`] is a NATS or Redis server of one test.
//! [`ask_at_each_log_line`] lets a test read what is logged while others run.
//!
//! PostgreSQL's programs come from `TIDINGS_POSTGRES_BIN`, or else from Debian's package
//! `postgresql`.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Log lines that one test reads. Must not know servers.
mod logs;

// Free ports, and servers that listen on one.
mod port;

// A NATS or Redis server. Must not know PostgreSQL.
mod broker;

// A PostgreSQL server and its databases.
mod server;

// A pgbouncer in front of a server.
mod bouncer;

// Servers that follow another.
mod standby;

// Servers with TLS.
mod tls;

// A link that fails. Must not know what passes, but for a commit of PostgreSQL's.
mod proxy;

pub use self::{
    bouncer::Bouncer,
    broker::{Broker, Protocol},
    logs::ask_at_each_log_line,
    proxy::{Commit, Link, Proxy, Then},
    server::{Database, End, Server},
    tls::Certificates,
};
