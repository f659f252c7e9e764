//! Databases of PostgreSQL for the suite, all on one server.

use tidings_testkit::{Database, Server};

/// How many cases the random tests run; each makes a database.
pub(crate) const CASES: u32 = 12;

/// Where a test's database is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) database: Database,
}

/// A database of one's own.
pub(crate) async fn place() -> Place {
    let database = Server::shared().database().await;
    Place {
        url: database.url(),
        database,
    }
}

/// One of each kind that behaves differently.
pub(crate) async fn places() -> Vec<Place> {
    vec![place().await]
}
