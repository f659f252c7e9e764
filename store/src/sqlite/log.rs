//! The log on SQLite: every change of a captured row, by whatever program, in the transaction that
//! made it.
//!
//! Triggers write it ([`Installer`]) in the SQLite of the program that writes, down to version
//! 3.34. What they would miss is told by [`Installer::status`].
//!
//! # What is promised
//!
//! - A record is there exactly if its transaction committed.
//! - No write of another program fails because of a trigger, short of a full disk.
//! - A reader gets every record once in the order of ids, or a gap in place of what it cannot prove
//!   to have got.
//!
//! # What SQLite does not tell
//!
//! A trigger cannot see where a transaction begins. A write of the store is one change of each row.
//! So is another program's transaction of up to 1,000 records, where the write-ahead log still says
//! where it began and ended when it is read. Any other that changes a row several times is that
//! many changes, each with its true predecessor: two transactions are never taken for one.

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

mod pen;

mod wal;

mod commits;

mod epoch;
mod record;
mod settings;
mod stamp;

mod read;

mod link;
mod witness;

mod nudge;
mod prune;

mod engine;

mod groups;

mod children;
mod members;
mod outbox;

pub(crate) use self::{
    capture::{install_within, is_captured},
    engine::SqliteLog,
    members::SqliteMembers,
    pen::Pen,
    settings::Settings,
    stamp::{Stamp, Told, newest, stamp},
};
pub use self::{error::SqliteLogError, installer::Installer};
pub use crate::logs::status::{Installed, Status, TableStatus};
