//! There is one primary key, and every row has one.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Timestamp};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "twice")]
struct Twice {
    #[entity(primary_key)]
    id: i64,
    #[entity(primary_key)]
    number: i64,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "optional")]
struct Optional {
    #[entity(primary_key)]
    id: Option<i64>,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "borrowed")]
struct Borrowed {
    #[entity(primary_key, foreign)]
    id: Ref<Twice>,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "dated")]
struct Dated {
    #[entity(primary_key, auto_create_time)]
    id: Timestamp,
}

fn main() {}
