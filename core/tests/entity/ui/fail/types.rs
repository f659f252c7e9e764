//! Types that an attribute does not go with.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Timestamp};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "consumers")]
struct Consumer {
    #[entity(primary_key, auto)]
    id: i64,
    #[entity(auto)]
    expires_at: Timestamp,
    #[entity(auto_create_time)]
    created_at: String,
    #[entity(auto_update_time)]
    updated_at: Option<i64>,
    nested: Option<Option<String>>,
    camelCase: bool,
}

fn main() {}
