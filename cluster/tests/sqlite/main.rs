//! Several nodes on one file of SQLite.

#[path = "../watched.rs"]
mod watched;

mod changes;
mod conformance;
mod members;
mod support;
