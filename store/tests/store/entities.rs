//! The entities that the tests work with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Timestamp};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "consumers",
    endpoint_key = "username",
    cache_key("username"),
    at_least_one_of("username", "custom_id")
)]
pub(crate) struct Consumer {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    #[entity(unique)]
    pub(crate) username: Option<String>,
    #[entity(unique)]
    pub(crate) custom_id: Option<String>,
    #[entity(auto_create_time)]
    pub(crate) created_at: Timestamp,
    #[entity(auto_update_time)]
    pub(crate) updated_at: Timestamp,
    pub(crate) tags: Option<BTreeSet<String>>,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "keyauth_credentials", endpoint_key = "key", cache_key("key"))]
pub(crate) struct Credential {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    #[entity(auto_create_time)]
    pub(crate) created_at: Timestamp,
    #[entity(foreign, required, on_delete = "cascade")]
    pub(crate) consumer: Option<Ref<Consumer>>,
    #[entity(unique, auto)]
    pub(crate) key: Option<String>,
    pub(crate) tags: Option<BTreeSet<String>>,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "acls",
    cache_key("consumer", "group"),
    unique("consumer", "group")
)]
pub(crate) struct Acl {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    pub(crate) group: String,
    #[entity(foreign, on_delete = "cascade", on_update = "evict")]
    pub(crate) consumer: Ref<Consumer>,
}

/// A row that depends on an [`Acl`].
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "grants")]
pub(crate) struct Grant {
    #[entity(primary_key)]
    pub(crate) id: i64,
    #[entity(foreign, on_delete = "cascade", on_update = "evict")]
    pub(crate) acl: Ref<Acl>,
}

/// Refers to a consumer, which then cannot be deleted.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "invoices")]
pub(crate) struct Invoice {
    #[entity(primary_key)]
    pub(crate) id: String,
    #[entity(foreign)]
    pub(crate) consumer: Ref<Consumer>,
}

/// Refers to a consumer, or has lost its reference.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "notes")]
pub(crate) struct Note {
    #[entity(primary_key)]
    pub(crate) id: i64,
    #[entity(foreign, on_delete = "set_null")]
    pub(crate) author: Option<Ref<Consumer>>,
    #[entity(foreign, on_delete = "set_null")]
    pub(crate) reader: Option<Ref<Consumer>>,
    #[entity(auto_update_time)]
    pub(crate) updated_at: Timestamp,
}

pub(crate) fn consumer(username: &str) -> Consumer {
    Consumer {
        username: Some(username.to_owned()),
        ..Consumer::default()
    }
}

pub(crate) fn credential(consumer: &Consumer, key: &str) -> Credential {
    Credential {
        id: Uuid::nil(),
        created_at: Timestamp::default(),
        consumer: Some(Ref::to(consumer)),
        key: Some(key.to_owned()),
        tags: None,
    }
}

pub(crate) fn acl(consumer: &Consumer, group: &str) -> Acl {
    Acl {
        id: Uuid::nil(),
        group: group.to_owned(),
        consumer: Ref::to(consumer),
    }
}
