//! SQLite: the only folder that names it, its driver or its SQL.

pub(crate) mod connection;
pub(crate) mod layout;
pub(crate) mod location;
pub(crate) mod statements;
pub(crate) mod values;
