//! The admin API through its router, on a real node over an SQLite database in memory.
//!
//! The entities are this test's own: a small gateway's under other names, and a warehouse with the kinds and
//! relations that a gateway lacks. Nothing of the API is written for either.

mod browsers;
mod bytes;
mod cache;
mod entities;
mod given;
mod guards;
mod health;
mod items;
mod kinds;
mod lists;
mod nearly;
mod nested;
mod node;
mod nonsense;
mod races;
mod refusals;
mod scrape;
mod sockets;
