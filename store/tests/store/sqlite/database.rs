//! Databases of SQLite for the suite.

use tempfile::TempDir;

/// How many cases the random tests run.
pub(crate) const CASES: u32 = 96;

/// Where a test's database is.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    /// Removed with the place.
    _directory: Option<TempDir>,
}

/// A database of one's own, in memory.
pub(crate) async fn place() -> Place {
    Place {
        url: "sqlite::memory:".to_owned(),
        _directory: None,
    }
}

/// One of each kind that behaves differently.
pub(crate) async fn places() -> Vec<Place> {
    let directory = tempfile::tempdir().unwrap();
    let file = Place {
        url: format!("sqlite://{}/tidings.db", directory.path().display()),
        _directory: Some(directory),
    };
    vec![file, place().await]
}
