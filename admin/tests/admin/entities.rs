//! What the tests store.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidings::{Entity, Ref, Timestamp};
use uuid::Uuid;

/// A tenant: two names, one of which is demanded.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "shops",
    endpoint_key = "name",
    at_least_one_of("name", "code"),
    admin_api(name = "shops")
)]
pub(crate) struct Shop {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    #[entity(unique)]
    pub(crate) name: Option<String>,
    #[entity(unique)]
    pub(crate) code: Option<String>,
    #[entity(auto_create_time)]
    pub(crate) created_at: Timestamp,
    #[entity(auto_update_time)]
    pub(crate) updated_at: Timestamp,
    pub(crate) tags: Option<BTreeSet<String>>,
}

/// A secret of a shop, made where none is given.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "shop_keys",
    endpoint_key = "key",
    cache_key("key"),
    admin_api(name = "shop-keys", nested = "keys")
)]
pub(crate) struct ShopKey {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    #[entity(unique, auto)]
    pub(crate) key: Option<String>,
    #[entity(foreign, required, on_delete = "cascade")]
    pub(crate) shop: Option<Ref<Shop>>,
    #[entity(auto_create_time)]
    pub(crate) created_at: Timestamp,
    pub(crate) tags: Option<BTreeSet<String>>,
}

/// A role that is unique within a shop, and named by itself there.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "roles",
    unique("shop", "role"),
    cache_key("shop", "role"),
    admin_api(name = "roles", nested = "roles")
)]
pub(crate) struct Role {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    pub(crate) role: String,
    #[entity(foreign, on_delete = "cascade")]
    pub(crate) shop: Ref<Shop>,
    pub(crate) tags: Option<BTreeSet<String>>,
}

/// A row with a number for a primary key and fields of every kind, which may outlive its shop.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "shelves",
    endpoint_key = "place",
    admin_api(name = "shelves", nested = "shelves")
)]
pub(crate) struct Shelf {
    #[entity(primary_key)]
    pub(crate) number: i64,
    #[entity(unique)]
    pub(crate) place: Option<u32>,
    #[entity(foreign, on_delete = "set_null")]
    pub(crate) shop: Option<Ref<Shop>>,
    pub(crate) height: Option<f64>,
    pub(crate) fragile: Option<bool>,
    pub(crate) checked_at: Option<Timestamp>,
    pub(crate) extra: Option<serde_json::Value>,
}

/// A row with a text for a primary key, which keeps its shelf from being deleted.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "boxes", admin_api(name = "boxes", nested = "boxes"))]
pub(crate) struct Crate {
    #[entity(primary_key)]
    pub(crate) label: String,
    #[entity(foreign, on_delete = "restrict")]
    pub(crate) shelf: Ref<Shelf>,
    #[entity(foreign, on_delete = "cascade")]
    pub(crate) within: Option<Ref<Crate>>,
}

/// An entity that the API does not show.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "secrets")]
pub(crate) struct Secret {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    pub(crate) text: String,
}
