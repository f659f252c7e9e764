//! Databases of PostgreSQL for the suite, all on one server.

use tidings_testkit::Server;

/// What a health report calls the engine.
pub(crate) const ENGINE: &str = "postgres";

/// The address of a database of one's own.
pub(crate) async fn url() -> String {
    Server::shared().database().await.url()
}
