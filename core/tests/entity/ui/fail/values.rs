//! Values that an attribute cannot have, and attributes given twice.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Timestamp};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "Consumers",
    name = "consumers",
    endpoint_key = id,
    cache_key = "id",
    unique("id"),
    at_least_one_of("id"),
    admin_api(name = "/consumers", path = "x")
)]
struct Consumer {
    #[entity(primary_key = true, auto = "yes")]
    id: Uuid,
    #[entity(foreign, on_delete = "cascad", on_update = "cascade")]
    parent: Option<Ref<Consumer>>,
    #[entity(foreign, on_delete)]
    other: Option<Ref<Consumer>>,
    #[entity(unique, unique, auto_create_time, auto_update_time)]
    created_at: Timestamp,
    #[entity = "unique"]
    username: String,
}

fn main() {}
