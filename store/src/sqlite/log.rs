//! The log on SQLite: every change of a captured row, by any program, in the transaction that made
//! it.
//!
//! Triggers write it ([`Installer`]), run by the SQLite of the program that writes, from version
//! 3.34 on. [`Installer::status`] reports the writes that no trigger captures.
//!
//! # What is promised
//!
//! - A record exists exactly if its transaction committed.
//! - No write of another program fails because of a trigger, short of a full disk.
//! - A reader gets every record once, in the order of ids, or a gap in place of records that it
//!   cannot prove to have received.
//!
//! # What SQLite does not show
//!
//! A trigger cannot see where a transaction begins. A write of the store is one change of each row.
//! So is another program's transaction of up to 1,000 records, if the write-ahead log still shows
//! its beginning and end when it is read. Any other transaction that changes a row several times is
//! that many changes, each with its true predecessor. Two transactions are never taken for one.

mod error;
mod names;

mod key;

mod words;

mod shape;
mod tables;
mod triggers;

mod capture;
mod watch;

mod status;

mod installer;

mod writer;

mod wal;

mod commits;

mod epoch;
mod record;
mod settings;

mod commit_name;

mod read;

mod link;
mod newest_seen;

mod nudge;
mod prune;

mod engine;

mod groups;

mod children;
mod members;
mod outbox;

pub(crate) use self::{
    capture::{install_within, is_captured},
    commit_name::{RecordId, name_commit, newest},
    engine::SqliteLog,
    members::SqliteMembers,
    settings::Settings,
    writer::LogWriter,
};
pub use self::{error::SqliteLogError, installer::Installer};
pub use crate::logs::status::{Installed, Status, TableStatus};
