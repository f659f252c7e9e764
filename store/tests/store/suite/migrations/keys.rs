//! Primary keys: no plan changes one.

use tidings_core::{Field, Schema};
use tidings_store::{Error, Migrations, Store};

use super::{
    super::support::{Fixture, Place, stored_place},
    leak,
};

/// The table of a schema whose key is these of three fields.
fn boxes(key: &[&str]) -> &'static Schema {
    let fields = ["id", "tenant", "place"];
    let schema = fields
        .iter()
        .fold(Schema::builder("boxes"), |schema, name| {
            let field = Field::of::<i64>(name);
            schema.field(if key.contains(name) {
                field.primary_key()
            } else {
                field
            })
        });
    leak(schema)
}

async fn obstacles(place: &Place, schema: &'static Schema) -> Vec<String> {
    let migrations = Migrations::of(&place.url).schema(schema);
    migrations.plan().await.unwrap().obstacles
}

#[tokio::test]
async fn a_plan_that_would_change_a_primary_key_is_refused_and_named() {
    let place = stored_place().await;
    let store = Store::open(&place.url).await.unwrap();
    let laid = Fixture::attach(store, &[boxes(&["id", "tenant"])])
        .await
        .unwrap();
    laid.store.close().await.unwrap();

    assert_eq!(obstacles(&place, boxes(&["id", "tenant"])).await, [""; 0]);
    assert_eq!(
        obstacles(&place, boxes(&["id"])).await,
        ["boxes.tenant is (part of) the primary key, and should not be"]
    );
    assert_eq!(
        obstacles(&place, boxes(&["id", "tenant", "place"])).await,
        ["boxes.place is not part of the primary key, and should be"]
    );
    let fewer = Field::of::<i64>("id").primary_key();
    let fewer = leak(Schema::builder("boxes").field(fewer));
    let told = obstacles(&place, fewer).await;
    let expected = "boxes.tenant is part of the primary key, and the schema does not know it";
    assert!(told.iter().any(|it| it == expected), "{told:?}");

    let more = Field::of::<i64>("shelf").primary_key();
    let boxes_on_shelves = Schema::builder("boxes")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<i64>("tenant").primary_key())
        .field(Field::of::<i64>("place"))
        .field(more);
    let told = obstacles(&place, leak(boxes_on_shelves)).await;
    let expected = "boxes lacks the column shelf, which is required, and no migration adds a \
                    column of the primary key";
    assert!(told.iter().any(|it| it == expected), "{told:?}");

    let store = Store::open(&place.url).await.unwrap();
    let refused = Fixture::attach(store, &[boxes(&["id"])]).await;
    assert!(
        matches!(refused, Err(Error::Incompatible { .. })),
        "{refused:?}"
    );
}
