//! What `#[derive(Entity)]` writes.

use tidings_core::{Auto, Entity, Foreign, OnDelete, OnUpdate, Ref, Schema, check_all};

use crate::entities::{Acl, Consumer, KeyAuthCredential, credential};

#[test]
fn the_gateways_entities_pass_the_check() {
    let schemas = [
        Consumer::schema(),
        KeyAuthCredential::schema(),
        Acl::schema(),
    ];
    check_all(&schemas).expect("schemas without fault");
}

#[test]
fn attributes_become_the_schema() {
    let schema = KeyAuthCredential::schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["id", "created_at", "consumer", "key", "tags"]);
    assert_eq!(schema.name(), KeyAuthCredential::NAME);
    assert_eq!(schema.primary_key(), [0]);
    assert_eq!(schema.endpoint_key(), Some(3));
    assert_eq!(schema.cache_key_fields(), ["key"]);
    let field = |name: &str| schema.field(name).expect("a field").1;
    assert_eq!(field("id").auto_value(), Some(Auto::Random));
    assert_eq!(field("created_at").auto_value(), Some(Auto::CreateTime));
    assert!(field("key").is_unique() && field("key").is_optional());
    assert!(field("consumer").is_required());
    let expected = Foreign {
        entity: "consumers".to_owned(),
        key: "id".to_owned(),
        on_delete: OnDelete::Cascade,
        on_update: OnUpdate::Keep,
    };
    assert_eq!(field("consumer").reference(), Some(&expected));
    let acls = Acl::schema();
    assert_eq!(acls.unique_together(), [["consumer", "group"]]);
    assert!(
        acls.field("consumer")
            .and_then(|(_, field)| field.reference())
            .is_some_and(|foreign| foreign.on_update == OnUpdate::Evict)
    );
    assert_eq!(
        Consumer::schema().at_least_one_of(),
        [["username", "custom_id"]]
    );
    let api = schema.admin_api().expect("an admin API");
    assert_eq!(
        (api.name.as_str(), api.nested.as_deref()),
        ("key-auths", Some("key-auth"))
    );
}

#[test]
fn a_row_comes_back_as_it_went() {
    let credential = credential();
    let row = credential.to_row();
    assert_eq!(
        KeyAuthCredential::from_row(row).expect("a row that fits"),
        credential
    );
}

#[test]
fn the_rows_json_is_that_of_the_struct() {
    let mut credential = credential();
    for consumer in [credential.consumer, None] {
        credential.consumer = consumer;
        let json = serde_json::to_value(&credential).expect("JSON");
        assert_eq!(
            credential.to_row().to_json(KeyAuthCredential::schema()),
            json
        );
    }
}

#[test]
fn the_schema_is_made_once() {
    assert!(std::ptr::eq::<Schema>(Acl::schema(), Acl::schema()));
}

#[test]
fn a_reference_to_a_row_holds_its_primary_key() {
    let credential = credential();
    assert_eq!(Ref::to(&credential).id, credential.id());
}
