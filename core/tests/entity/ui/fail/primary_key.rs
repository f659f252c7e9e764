//! There is one primary key, of four fields at most, and every row has one.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Timestamp};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "many")]
struct Many {
    #[entity(primary_key)]
    a: i64,
    #[entity(primary_key)]
    b: i64,
    #[entity(primary_key)]
    c: i64,
    #[entity(primary_key)]
    d: i64,
    #[entity(primary_key)]
    e: i64,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "pairs", endpoint_key = "a", cache_key("b"))]
struct Pair {
    #[entity(primary_key)]
    a: i64,
    #[entity(primary_key, default = 7)]
    b: i64,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "single")]
struct Single {
    #[entity(primary_key)]
    id: i64,
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
    id: Ref<Single>,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "dated")]
struct Dated {
    #[entity(primary_key, auto_create_time)]
    id: Timestamp,
}

fn main() {}
