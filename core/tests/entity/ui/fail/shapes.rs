//! An entity is a struct with named fields and without parameters.

use serde::{Deserialize, Serialize};
use tidings_core::Entity;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "tuples")]
struct Tuple(i64);

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "units")]
struct Unit;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "enums")]
enum Either {
    One,
    Other,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "generics")]
struct Generic<T> {
    #[entity(primary_key)]
    id: T,
}

fn main() {}
