//! The log on SQLite, written by the store, by `sqlite3` and by Python.

#[path = "../kit/clock.rs"]
mod clock;
#[path = "../kit/member.rs"]
mod member;
#[path = "../reader.rs"]
mod reader;

mod capture;
mod clocks;
mod composite;
mod dao;
mod epochs;
mod killed;
mod kinds;
mod programs;
mod replace;
mod support;
mod versions;
