//! The log on PostgreSQL, against a server that the tests start.

#[path = "../reader.rs"]
mod reader;

mod all_kinds;
mod capture;
mod epochs;
mod history;
mod kinds;
mod late;
mod outbox;
mod programs;
mod support;
