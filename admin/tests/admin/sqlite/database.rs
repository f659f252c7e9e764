//! Databases of SQLite for the suite.

/// What a health report calls the engine.
pub(crate) const ENGINE: &str = "sqlite";

/// The address of a database of one's own.
pub(crate) async fn url() -> String {
    "sqlite::memory:".to_owned()
}
