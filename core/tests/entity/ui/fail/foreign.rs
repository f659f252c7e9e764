//! What belongs to a reference, and only there.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "acls")]
struct Acl {
    #[entity(primary_key)]
    id: i64,
    #[entity(foreign)]
    by_text: String,
    unmarked: Ref<Acl>,
    #[entity(on_delete = "cascade", on_update = "evict")]
    group: String,
    #[entity(foreign, on_delete = "set_null")]
    demanded: Ref<Acl>,
    #[entity(foreign, required, on_delete = "set_null")]
    required: Option<Ref<Acl>>,
}

fn main() {}
