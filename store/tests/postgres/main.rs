//! The log on PostgreSQL, against a server that the tests start.

#[path = "../kit/clock.rs"]
mod clock;
#[path = "../kit/member.rs"]
mod member;
#[path = "../reader.rs"]
mod reader;

mod all_kinds;
mod capture;
mod clocks;
mod composite;
mod epochs;
mod history;
mod kinds;
mod late;
mod outbox;
mod programs;
mod standby;
mod support;
mod versions;
