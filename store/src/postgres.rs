//! PostgreSQL: the log that triggers write.

pub mod log;
