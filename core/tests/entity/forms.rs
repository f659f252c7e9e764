//! Rows, references and changes as JSON, and what a schema says of itself.

use proptest::{collection::btree_set, option, prelude::*};
use serde_json::{Value as Json, json};
use tidings_core::{
    CrudEvent, Entity, Field, FieldKind, FieldValue, Operation, Ref, Row, Timestamp, Value,
};
use uuid::Uuid;

use crate::entities::{Acl, Consumer, KeyAuthCredential, credential};

proptest! {
    #[test]
    fn a_row_survives_json_and_agrees_with_its_struct(
        id in any::<u128>(),
        consumer in option::of(any::<u128>()),
        key in option::of("[^\\p{Cc}\\s]{1,40}"),
        created_at in any::<i64>(),
        tags in option::of(btree_set("[^\0,/]{1,8}", 0..4)),
    ) {
        let credential = KeyAuthCredential {
            id: Uuid::from_u128(id),
            created_at: Timestamp::from_unix(created_at),
            consumer: consumer.map(|id| Ref::new(Uuid::from_u128(id))),
            key,
            tags,
        };
        let schema = KeyAuthCredential::schema();
        let row = credential.to_row();
        let json = row.to_json(schema);
        prop_assert_eq!(&json, &serde_json::to_value(&credential).expect("JSON"));
        let again: KeyAuthCredential = serde_json::from_value(json.clone()).expect("a struct");
        prop_assert_eq!(&again, &credential);
        let patch = schema.patch_from_json(json.as_object().expect("an object")).expect("a patch");
        prop_assert_eq!(&Row::empty(schema).patched(schema, &patch).expect("known fields"), &row);
        prop_assert_eq!(KeyAuthCredential::from_row(row).expect("a struct"), credential);
    }

    #[test]
    fn a_value_survives_its_type(whole in any::<i64>(), number in any::<f64>(), text in ".*") {
        fn survives<T: FieldValue + PartialEq + Clone>(value: T) -> bool {
            T::from_value(value.to_value()).as_ref() == Some(&value)
                && Option::<T>::from_value(value.to_value()) == Some(Some(value))
        }
        prop_assert!(survives(whole));
        prop_assert!(number.is_nan() || survives(number));
        prop_assert!(survives(Timestamp::from_unix(whole)));
        prop_assert!(survives(text));
        for narrow in [whole, whole >> 31, whole >> 40] {
            let value = || Value::Integer(narrow);
            prop_assert_eq!(u32::from_value(value()), u32::try_from(narrow).ok());
            prop_assert_eq!(i32::from_value(value()), i32::try_from(narrow).ok());
            // What the schema lets in is what the struct can take.
            let (unsigned, signed) = (Field::of::<u32>("n"), Field::of::<Option<i32>>("n"));
            prop_assert_eq!(unsigned.check(&value()).is_ok(), u32::from_value(value()).is_some());
            prop_assert_eq!(signed.check(&value()).is_ok(), i32::from_value(value()).is_some());
        }
    }
}

#[test]
fn the_null_of_json_is_the_absent_value() {
    assert_eq!(Json::Null.to_value(), Value::Null);
    assert_eq!(Some(Json::Null).to_value(), Value::Null);
    assert_eq!(Value::from_text(FieldKind::Json, "null"), Ok(Value::Null));
    assert!(
        Field::of::<Json>("config")
            .check(&Value::Json(Json::Null))
            .is_err()
    );
}

#[test]
fn a_reference_is_read_strictly() {
    let id = Uuid::from_u128(7);
    let read = |json: &str| serde_json::from_str::<Ref<Consumer>>(json);
    let written = serde_json::to_string(&Ref::<Consumer>::new(id)).expect("JSON");
    assert_eq!(written, format!("{{\"id\":\"{id}\"}}"));
    assert_eq!(read(&written).expect("a reference").id, id);
    for wrong in [
        "{}".to_owned(),
        format!("\"{id}\""),
        format!("{{\"name\":\"{id}\"}}"),
        format!("{{\"id\":\"{id}\",\"id\":\"{id}\"}}"),
        "{\"id\":null}".to_owned(),
    ] {
        assert!(read(&wrong).is_err(), "{wrong} was read");
    }
}

#[test]
fn a_row_that_does_not_fit_names_the_field() {
    let schema = Acl::schema();
    let mut row = Row::empty(schema);
    row.0[0] = Uuid::from_u128(1).into();
    row.0[1] = Value::Integer(7);
    let error = Acl::from_row(row).expect_err("a row of another shape fitted");
    assert_eq!(
        (error.entity.as_str(), error.field.as_str()),
        ("acls", "group")
    );
    let short = Row(vec![Uuid::from_u128(1).into(), "admins".into()]);
    assert_eq!(
        Acl::from_row(short).expect_err("a short row fitted").field,
        "consumer"
    );
}

// EV1
#[test]
fn a_create_carries_the_entity_with_absent_fields_as_null_and_no_old_one() {
    let created = CrudEvent::created(KeyAuthCredential {
        tags: None,
        ..credential()
    });
    assert_eq!(created.operation, Operation::Create);
    assert_eq!(
        serde_json::to_value(&created).expect("JSON"),
        json!({
            "operation": "create",
            "entity": {
                "id": Uuid::from_u128(1),
                "created_at": 1_700_000_000,
                "consumer": {"id": Uuid::from_u128(2)},
                "key": "abcd",
                "tags": null,
            },
            "old_entity": null,
            "schema": "keyauth_credentials",
        })
    );
}

#[test]
fn an_update_carries_both_entities_and_a_delete_the_last_one() {
    let (old, new) = (
        credential(),
        KeyAuthCredential {
            key: Some("new".to_owned()),
            ..credential()
        },
    );
    let updated = CrudEvent::updated(old.clone(), new.clone());
    assert_eq!(
        (
            updated.operation,
            &updated.entity,
            updated.old_entity.as_ref()
        ),
        (Operation::Update, &new, Some(&old))
    );
    let deleted = CrudEvent::deleted(new.clone());
    assert_eq!(
        (deleted.operation, &deleted.entity, &deleted.old_entity),
        (Operation::Delete, &new, &None)
    );
    let json = serde_json::to_value([&updated, &deleted]).expect("JSON");
    assert_eq!(json[0]["old_entity"]["key"], "abcd");
    assert_eq!(
        (&json[1]["operation"], &json[1]["entity"]["key"]),
        (&json!("delete"), &json!("new"))
    );
}

#[test]
fn operations_are_read_as_they_are_written() {
    for operation in Operation::ALL {
        assert_eq!(operation.to_string().parse(), Ok(operation));
    }
    assert!("Create".parse::<Operation>().is_err());
}

#[test]
fn a_schema_describes_itself() {
    let description = KeyAuthCredential::schema().to_json();
    assert_eq!(
        description,
        json!({
            "name": "keyauth_credentials",
            "primary_key": "id",
            "endpoint_key": "key",
            "cache_key": ["key"],
            "fields": [
                {"name": "id", "type": "uuid", "required": false, "unique": true, "auto": "random", "reference": null},
                {"name": "created_at", "type": "timestamp", "required": false, "unique": false, "auto": "create_time", "reference": null},
                {
                    "name": "consumer", "type": "uuid", "required": true, "unique": false, "auto": null,
                    "reference": {"entity": "consumers", "key": "id", "on_delete": "cascade", "on_update": null},
                },
                {"name": "key", "type": "string", "required": false, "unique": true, "auto": "random", "max_length": 512, "reference": null},
                {"name": "tags", "type": "set", "required": false, "unique": false, "auto": null, "reference": null},
            ],
            "unique": [],
            "at_least_one_of": [],
            "admin_api": {"name": "key-auths", "nested": "key-auth"},
        })
    );
    let acls = Acl::schema().to_json();
    assert_eq!(acls["unique"], json!([["consumer", "group"]]));
    assert_eq!(acls["fields"][2]["reference"]["on_update"], "evict");
    let port = tidings_core::Schema::builder("ports")
        .field(Field::of::<u32>("port"))
        .build();
    assert_eq!(
        port.to_json()["fields"][0]["between"],
        json!([0, 4_294_967_295_u32])
    );
}
