//! Several nodes on one PostgreSQL database, against a server that the tests start.

#[path = "../watched.rs"]
mod watched;

mod changes;
mod conformance;
mod members;
mod support;
