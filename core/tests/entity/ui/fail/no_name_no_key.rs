//! What every entity must have.

use serde::{Deserialize, Serialize};
use tidings_core::Entity;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
struct Consumer {
    id: i64,
}

fn main() {}
