//! The gateway's entities: consumers, their keys and their groups.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidings::{Entity, Ref, Timestamp};
use uuid::Uuid;

/// A user of the service.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "consumers",
    endpoint_key = "username",
    at_least_one_of("username", "custom_id"),
    admin_api(name = "consumers")
)]
pub struct Consumer {
    /// The primary key.
    #[entity(primary_key, auto)]
    pub id: Uuid,
    /// A name, unique among all consumers.
    #[entity(unique)]
    pub username: Option<String>,
    /// The id of this consumer in another system.
    #[entity(unique)]
    pub custom_id: Option<String>,
    /// When the row was made.
    #[entity(auto_create_time)]
    pub created_at: Timestamp,
    /// When the row was changed last.
    #[entity(auto_update_time)]
    pub updated_at: Timestamp,
    /// Labels to list by.
    pub tags: Option<BTreeSet<String>>,
}

/// A key that identifies a consumer.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "keyauth_credentials",
    endpoint_key = "key",
    cache_key("key"),
    admin_api(name = "key-auths", nested = "key-auth")
)]
pub struct KeyAuthCredential {
    /// The primary key.
    #[entity(primary_key, auto)]
    pub id: Uuid,
    /// When the row was made.
    #[entity(auto_create_time)]
    pub created_at: Timestamp,
    /// The consumer that the key identifies. Deleting a consumer deletes its keys.
    #[entity(foreign, required, on_delete = "cascade")]
    pub consumer: Option<Ref<Consumer>>,
    /// The secret that a client sends; 32 random characters if none is given.
    #[entity(unique, auto, secret)]
    pub key: Option<String>,
    /// Whether the key is enabled. A disabled key is refused like an unknown one.
    #[entity(default = true)]
    pub enabled: bool,
    /// The time at which the key expires; absent for a key that never does.
    #[entity(expires)]
    pub expires_at: Option<Timestamp>,
    /// Labels to list by.
    pub tags: Option<BTreeSet<String>>,
}

/// A consumer's membership in a group.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "acls",
    cache_key("consumer", "group"),
    unique("consumer", "group"),
    admin_api(name = "acls", nested = "acls")
)]
pub struct Acl {
    /// The primary key.
    #[entity(primary_key, auto)]
    pub id: Uuid,
    /// When the row was made.
    #[entity(auto_create_time)]
    pub created_at: Timestamp,
    /// The member.
    #[entity(foreign, on_delete = "cascade")]
    pub consumer: Ref<Consumer>,
    /// The group. `X-Consumer-Groups` lists groups with a comma between them.
    #[entity(pattern = "[^,]*")]
    pub group: String,
    /// Labels to list by.
    pub tags: Option<BTreeSet<String>>,
}
