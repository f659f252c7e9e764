//! The rows that the simulation writes, and the keys by which it reads them.

use serde::{Deserialize, Serialize};
use tidings_core::{CacheKey, Entity, Row};

use super::super::model::ModelStore;

/// A row. Each write gives it a version that no other write has.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "items", cache_key("name"))]
pub(super) struct Item {
    #[entity(primary_key)]
    pub(super) id: i64,
    #[entity(unique)]
    pub(super) name: String,
    pub(super) version: i64,
}

/// How many rows there are, and how many names.
pub(super) const ROWS: i64 = 3;
pub(super) const NAMES: [&str; 3] = ["a", "b", "c"];

/// What a client looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A row by its primary key.
    Id(i64),
    /// The first row with a name.
    Name(usize),
}

impl Key {
    /// Every key.
    pub(super) const ALL: [Self; 6] = [
        Self::Id(0),
        Self::Id(1),
        Self::Id(2),
        Self::Name(0),
        Self::Name(1),
        Self::Name(2),
    ];

    pub(super) fn cache_key(self) -> CacheKey {
        match self {
            Self::Id(id) => CacheKey::primary("items", id),
            Self::Name(name) => CacheKey::new("items", &[NAMES[name % NAMES.len()]]),
        }
    }

    pub(super) fn index(self) -> usize {
        Self::ALL.iter().position(|key| *key == self).unwrap_or(0)
    }

    /// Looks the key up in the store as it is.
    pub(super) fn version_in(self, rows: &[Item]) -> Option<i64> {
        let found = match self {
            Self::Id(id) => rows.iter().find(|row| row.id == id),
            Self::Name(name) => rows
                .iter()
                .find(|row| row.name == NAMES[name % NAMES.len()]),
        };
        found.map(|row| row.version)
    }
}

/// Returns the committed rows.
pub(super) fn rows(store: &ModelStore) -> Vec<Item> {
    let rows = store.rows("items").into_iter();
    rows.filter_map(|row| Item::from_row(row).ok()).collect()
}

pub(super) fn row_of(id: i64, name: usize, version: i64) -> Row {
    Row(vec![
        id.into(),
        NAMES[name % NAMES.len()].into(),
        version.into(),
    ])
}
