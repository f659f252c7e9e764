//! The names of the schema are those of the JSON.

use serde::{Deserialize, Serialize};
use tidings_core::Entity;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "consumers")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Consumer {
    #[entity(primary_key)]
    id: i64,
    #[serde(rename = "user")]
    username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    custom_id: Option<String>,
    #[serde(with = "url_safe_base64")]
    avatar: Vec<u8>,
}

fn main() {}
