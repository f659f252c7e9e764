//! A throwaway PostgreSQL server for tests: one per test binary, a database per test.
//!
//! The server runs as an unprivileged user on a free port, in a directory of its own that is copied
//! from one `initdb`. It is stopped however the binary ends, by a kill too: a shell that waits for
//! the end of the binary's pipe stops it and removes the directory.
//!
//! [`Certificates`] and [`Server::standby`] make servers with TLS, and standbys; [`Bouncer`] is a
//! pgbouncer before a server.
//!
//! [`Proxy`] is between a test and the server, and can cut, hold and lose what passes.
//!
//! [`Broker`] is a NATS or Redis server of one test.
//!
//! PostgreSQL's programs come from `TIDINGS_POSTGRES_BIN`, or else from Debian's package
//! `postgresql`.

mod broker;

mod server;

mod bouncer;

mod standby;

mod tls;

mod proxy;

pub use self::{
    bouncer::Bouncer,
    broker::{Broker, Protocol},
    proxy::{Commit, Link, Proxy, Then},
    server::{Database, End, Server},
    tls::Certificates,
};
