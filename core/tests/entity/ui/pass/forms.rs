//! Forms of an entity that are right although they look unusual.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, check_all};

/// Names in scope that the derive's output must not stumble over.
type Result = ();
type Option = ();
#[expect(dead_code, reason = "it is there to be in the way")]
struct Row;

/// Another place for the crate's names.
mod elsewhere {
    pub use tidings_core as words;
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "nodes", crate = "crate::elsewhere::words")]
struct Node {
    #[entity(primary_key)]
    r#type: String,
    /// A tree.
    #[entity(foreign, on_delete = "set_null")]
    parent: std::option::Option<Ref<Self>>,
    #[serde(default)]
    row: bool,
    schema: u32,
}

macro_rules! entity {
    ($entity:ident, $name:literal, $ty:ty) => {
        #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
        #[entity(name = $name)]
        struct $entity {
            #[entity(primary_key)]
            id: i64,
            #[entity(foreign)]
            node: $ty,
        }
    };
}

entity!(Leaf, "leaves", std::option::Option<Ref<Node>>);

fn main() {
    let _: (Result, Option) = ((), ());
    check_all(&[Node::schema(), Leaf::schema()]).expect("schemas without fault");
    assert_eq!(Node::PRIMARY_KEY, ["type"]);
    let node = Node {
        r#type: "a".to_owned(),
        parent: Some(Ref::new("b".to_owned())),
        row: true,
        schema: 7,
    };
    let json = serde_json::to_value(&node).expect("JSON");
    assert_eq!(node.to_row().to_json(Node::schema()), json);
    assert_eq!(Node::from_row(node.to_row()).expect("a row").schema, 7);
}
