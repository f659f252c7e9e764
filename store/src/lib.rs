//! Data access objects over SQLite that end every write in a typed change.

mod cascade;
mod catalog;
mod commit;
mod connection;
mod dao;
mod error;
mod hook;
mod layout;
mod location;
mod page;
mod selector;
mod sink;
mod statements;
mod store;
mod table;
mod transaction;
mod values;

use tidings_core::Row;

pub use self::{
    dao::Dao,
    error::{BoxError, Error},
    hook::{Call, Hook, Method},
    page::{DEFAULT_SIZE, MAX_SIZE, Page, PageQuery, TagFilter},
    selector::{FieldInput, Selector, Upserted, WriteOptions},
    sink::{ChangeSet, ChangeSink, RowChange},
    store::{Attachment, Health, Store},
    table::Table,
};
