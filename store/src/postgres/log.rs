//! The log on PostgreSQL: every change of a captured row, by any program, in the transaction that
//! made it.
//!
//! Triggers write it ([`install`]). [`PgLog`] reads it with a cursor that is a snapshot, so that a
//! transaction that commits late is not skipped. [`status`] reports the writes that no trigger
//! captures.
//!
//! # What is promised
//!
//! - A record exists exactly if its transaction committed.
//! - No write of another program fails because of a trigger, short of a full disk.
//! - A reader gets every record once, in the order of ids, or a gap in place of records that it
//!   cannot prove to have received.

mod error;
mod names;
mod values;

mod columns;
mod function;
mod tables;
mod tree;

mod capture;
mod status;

mod installer;

mod decode;
mod epoch;
mod record;
mod watch;

mod settings;

mod link;
mod members;
mod read;
mod wake;

mod prune;

mod engine;

mod children;
mod outbox;

pub(crate) use self::{
    capture::install_within,
    epoch::begun,
    tables::{LOCK as LAYOUT_LOCK, NODE_LOCK, START, prepare},
};
pub use self::{
    capture::{InstallOptions, Wake, install, remove},
    engine::PgLog,
    error::PgLogError,
    installer::Installer,
    members::{Alone, PgMembers},
    prune::{Pruned, prune},
    settings::{PgLogSettings, Retire},
    status::status,
};
pub use crate::logs::status::{Installed, Status, TableStatus};
