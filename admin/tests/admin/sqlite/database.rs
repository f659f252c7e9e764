//! Databases of SQLite for the suite.

/// What a health report calls the engine.
pub(crate) const ENGINE: &str = "sqlite";

/// Returns the address of a database that only this test uses.
pub(crate) async fn url() -> String {
    "sqlite::memory:".to_owned()
}
