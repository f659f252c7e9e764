//! Several nodes on one PostgreSQL database, against a server that the tests start.

mod changes;
mod members;
mod support;
