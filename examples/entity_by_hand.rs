//! An entity without the derive macro, for a program that generates this code itself or does not
//! want the macro.
//!
//! Run: `cargo run --example entity_by_hand`

use std::{sync::OnceLock, time::Duration};

use serde::{Deserialize, Serialize};
use tidings::{
    BoxError, CachedRows, Entity, Field, FieldValue as _, Node, Row, RowError, Schema, Store,
    core::Auto,
};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flag {
    id: Uuid,
    name: String,
    on: bool,
}

impl Entity for Flag {
    type Id = Uuid;

    const NAME: &'static str = "flags";
    const PRIMARY_KEY: &'static [&'static str] = &["id"];

    fn schema() -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            Schema::builder("flags")
                .field(Field::of::<Uuid>("id").primary_key().auto(Auto::Random))
                .field(Field::of::<String>("name").unique())
                .field(Field::of::<bool>("on"))
                .cache_key(&["name"])
                .build()
        })
    }

    fn id(&self) -> Uuid {
        self.id
    }

    fn to_row(&self) -> Row {
        // In the order of the schema's fields.
        Row(vec![
            self.id.to_value(),
            self.name.to_value(),
            self.on.to_value(),
        ])
    }

    fn from_row(mut row: Row) -> Result<Self, RowError> {
        let schema = Self::schema();
        Ok(Self {
            id: row.take(0, schema)?,
            name: row.take(1, schema)?,
            on: row.take(2, schema)?,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let store = Store::open("sqlite::memory:").await?;
    let node = Node::builder()
        .store(store)
        .entity::<Flag>()
        .start()
        .await?;

    let flags = node.dao::<Flag>()?;
    let beta = Flag {
        id: Uuid::nil(),
        name: "beta".into(),
        on: true,
    };
    let beta = flags.insert(beta).await?;
    let seen = flags.cached()?.select_by("name", "beta").await?;
    println!("{seen:?}");
    assert_eq!(seen.as_deref(), Some(&beta));

    let _ = node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
