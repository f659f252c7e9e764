//! Databases of PostgreSQL for the suite, all on one server.

use tidings_testkit::Server;

/// What a health report calls the engine.
pub(crate) const ENGINE: &str = "postgres";

/// Returns the address of a database that only this test uses.
pub(crate) async fn url() -> String {
    Server::shared().database().await.url()
}
