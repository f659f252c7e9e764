//! Data access objects over SQLite that end every write in a typed change.
