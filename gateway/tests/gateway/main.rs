//! The program and its settings, from the outside.

mod any_bytes;
mod audit;
mod auth;
#[cfg(all(feature = "nats", feature = "redis"))] // as scripts/test builds it too
mod brokers;
mod bytes;
mod capture;
mod clocks;
mod cluster;
mod cluster_sqlite;
mod commands;
mod credentials;
mod drain;
mod migrate;
mod operations;
mod process;
mod program;
mod random_faults;
mod settings;
mod startup;
mod wall;
mod worst;
