//! Types that cannot be those of a field.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, FieldValue};

#[derive(FieldValue)]
enum Shape {
    Circle { radius: u32 },
    #[serde(alias = "x")]
    Square,
    Line(u32),
}

#[derive(FieldValue)]
enum Nothing {}

#[derive(FieldValue)]
#[serde(rename_all = "lowercase")]
enum Twice {
    Ab,
    AB,
}

#[derive(FieldValue)]
#[serde(rename_all = "Title Case")]
enum Odd {
    A,
}

#[derive(FieldValue)]
struct Two(u32, u32);

#[derive(FieldValue)]
struct Any<T>(T);

#[derive(FieldValue)]
struct Hidden(#[serde(with = "hex")] u64);

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "things")]
struct Thing {
    #[entity(primary_key)]
    id: i64,
    #[serde(with = "hex")]
    data: Vec<u8>,
    list: Vec<u32>,
}

fn main() {}
