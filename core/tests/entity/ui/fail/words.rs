//! Words that no attribute has, or that are in the wrong place.

use serde::{Deserialize, Serialize};
use tidings_core::Entity;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(nmae = "consumers", endpointkey = "id", primary_key, colour = "red")]
struct Consumer {
    #[entity(primarykey)]
    id: i64,
    #[entity(name = "username", uniqe)]
    username: String,
}

fn main() {}
