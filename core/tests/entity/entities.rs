//! The entities that the tests work with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Timestamp};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "consumers",
    endpoint_key = "username",
    at_least_one_of("username", "custom_id"),
    admin_api(name = "consumers")
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
#[entity(
    name = "keyauth_credentials",
    endpoint_key = "key",
    cache_key("key"),
    admin_api(name = "key-auths", nested = "key-auth")
)]
pub(crate) struct KeyAuthCredential {
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
    unique("consumer", "group"),
    admin_api(name = "acls", nested = "acls")
)]
pub(crate) struct Acl {
    #[entity(primary_key, auto)]
    pub(crate) id: Uuid,
    pub(crate) group: String,
    #[entity(foreign, on_delete = "cascade", on_update = "evict")]
    pub(crate) consumer: Ref<Consumer>,
    #[entity(auto_create_time)]
    pub(crate) created_at: Timestamp,
    pub(crate) tags: Option<BTreeSet<String>>,
}

/// A row of each kind of field, most of them set.
pub(crate) fn credential() -> KeyAuthCredential {
    KeyAuthCredential {
        id: Uuid::from_u128(1),
        created_at: Timestamp::from_unix(1_700_000_000),
        consumer: Some(Ref::new(Uuid::from_u128(2))),
        key: Some("abcd".to_owned()),
        tags: Some(["a".to_owned(), "b".to_owned()].into()),
    }
}
