//! Rules of fields that are written wrong.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Timestamp};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "things", check = "not a path", check)]
struct Thing {
    #[entity(primary_key)]
    id: i64,
    #[entity(length, pattern, one_of(), default)]
    a: String,
    #[entity(length(least = 1), pattern = 7, one_of("a" + "b"), default = f())]
    b: String,
    #[entity(length(min = -1, max = "x"), secret = true, immutable("yes"))]
    c: String,
    #[entity(expires)]
    d: String,
    #[entity(auto_update_time, immutable, default = 7)]
    e: Timestamp,
    #[entity(imutable, secert)]
    f: Option<String>,
    #[entity(version)]
    g: Option<i64>,
    #[entity(version, immutable)]
    h: i64,
    #[entity(version, auto)]
    i: String,
}

fn main() {}
