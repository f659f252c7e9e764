//! Keys whose parts are no fields, or not unique: SC2, SC3, SC5.

use serde::{Deserialize, Serialize};
use tidings_core::Entity;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "consumers",
    endpoint_key = "usrename",
    cache_key("id", "tenant", "id"),
    unique("id", "tenant"),
    at_least_one_of("username", "custom_id"),
    admin_api(name = "consumers", nested = "consumers")
)]
struct Consumer {
    #[entity(primary_key)]
    id: i64,
    username: String,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "groups", endpoint_key = "name", cache_key("name"))]
struct Group {
    #[entity(primary_key)]
    id: i64,
    name: String,
}

fn main() {}
