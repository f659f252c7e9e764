//! The log on SQLite, written by the store, by `sqlite3` and by Python.

#[path = "../reader.rs"]
mod reader;

mod capture;
mod dao;
mod epochs;
mod killed;
mod kinds;
mod programs;
mod replace;
mod support;
