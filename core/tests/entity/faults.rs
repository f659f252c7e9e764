//! What `check_all` finds in schemas, all of it at once.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tidings_core::{
    Auto, Entity, Field, Foreign, OnDelete, OnUpdate, Schema, SchemaBuilder, Timestamp, check_all,
};
use uuid::Uuid;

use crate::entities::{Consumer, KeyAuthCredential};

/// A schema without faults, to be given one.
fn sound() -> SchemaBuilder {
    Schema::builder("things")
        .field(Field::of::<Uuid>("id").primary_key().auto(Auto::Random))
        .field(Field::of::<String>("name").unique())
        .field(Field::of::<Option<String>>("group"))
        .field(Field::of::<BTreeSet<String>>("tags"))
        .field(Field::of::<Json>("config"))
        .field(Field::of::<f64>("weight"))
        .field(Field::of::<Timestamp>("created_at").auto(Auto::CreateTime))
}

#[track_caller]
pub(crate) fn assert_faults(schema: SchemaBuilder, expected: &[&str]) {
    let faults = check_all(&[&schema.build()]).expect_err("a faulty schema passed");
    let expected: Vec<_> = expected
        .iter()
        .map(|fault| format!("things: {fault}"))
        .collect();
    assert_eq!(faults.0, expected);
}

#[test]
fn a_sound_schema_passes() {
    check_all(&[&sound().build()]).expect("no fault");
}

// SC1
#[test]
fn a_schema_may_name_a_cache_key() {
    for key in [&["name"] as &[&str], &["id"], &["group", "name"], &[]] {
        check_all(&[&sound().cache_key(key).build()]).expect("no fault");
    }
}

// SC2
#[test]
fn the_parts_of_the_cache_key_must_be_fields() {
    assert_faults(
        sound().cache_key(&["name", "tenant", "name"]),
        &[
            "cache_key names tenant, which is not a field",
            "cache_key names name twice",
        ],
    );
}

// SC3
#[test]
fn a_single_part_of_the_cache_key_must_be_unique() {
    assert_faults(
        sound().cache_key(&["group"]),
        &["the cache key's only part group must be unique"],
    );
}

// SC5
#[test]
fn the_endpoint_key_must_be_a_unique_field() {
    assert_faults(
        sound().endpoint_key("nmae"),
        &["the endpoint key nmae is not a field"],
    );
    assert_faults(
        sound().endpoint_key("group"),
        &["the endpoint key group must be unique"],
    );
}

// SC6
#[test]
fn a_primary_key_is_demanded() {
    let none = Schema::builder("things").field(Field::of::<Uuid>("id"));
    assert_faults(
        none,
        &["a primary key is missing: mark one field as primary_key"],
    );
    let empty = Schema::builder("things");
    assert_faults(
        empty,
        &["a primary key is missing: mark one field as primary_key"],
    );
    let optional = Schema::builder("things").field(Field::of::<Option<Uuid>>("id").primary_key());
    assert_faults(optional, &["the primary key id cannot be optional"]);
}

// SC8
#[test]
fn composite_and_floating_point_fields_can_be_neither_unique_nor_part_of_a_key() {
    assert_faults(
        sound()
            .field(Field::of::<Option<BTreeSet<String>>>("labels").unique())
            .field(Field::of::<Json>("extra").unique())
            .field(Field::of::<f64>("ratio").unique())
            .cache_key(&["tags", "weight"])
            .unique_together(&["name", "config"]),
        &[
            "field labels is of kind set and cannot be unique",
            "field extra is of kind json and cannot be unique",
            "field ratio is of kind number and cannot be unique",
            "cache_key names tags, which is of kind set and cannot be part of a key",
            "cache_key names weight, which is of kind number and cannot be part of a key",
            "unique names config, which is of kind json and cannot be part of a key",
        ],
    );
}

#[test]
fn values_are_made_only_where_something_can_make_them() {
    assert_faults(
        sound()
            .field(Field::of::<i64>("number").auto(Auto::Random))
            .field(Field::of::<i64>("time").auto(Auto::UpdateTime))
            .field(
                Field::of::<Uuid>("parent")
                    .auto(Auto::Random)
                    .refers_to(to("things")),
            ),
        &[
            "field number is of kind integer; auto makes a uuid or a string",
            "field time is of kind integer; a time needs a timestamp",
            "field parent refers to a row, and a value that is made refers to none",
        ],
    );
}

#[test]
fn a_reference_must_fit_what_it_refers_to() {
    let child = Schema::builder("children")
        .field(Field::of::<Uuid>("id").primary_key())
        .field(Field::of::<Uuid>("nobody").refers_to(to("nobodies")))
        .field(Field::of::<String>("text").refers_to(to("things")))
        .field(Field::of::<Uuid>("by_name").refers_to(Foreign {
            key: "name".to_owned(),
            ..to("things")
        }))
        .field(Field::of::<Uuid>("cleared").refers_to(Foreign {
            on_delete: OnDelete::SetNull,
            ..to("things")
        }))
        .build();
    let faults = check_all(&[&sound().build(), &child]).expect_err("a faulty schema passed");
    assert_eq!(
        faults.0,
        [
            "children: field cleared is required, so on_delete cannot be set_null",
            "children: field nobody refers to nobodies, which is not among the node's entities",
            "children: field text is of kind string, and the primary key of things of kind uuid",
            "children: field by_name refers to things by name, and its primary key is id",
        ]
    );
}

#[test]
fn a_parent_without_fields_is_a_fault_and_no_panic() {
    let parent = Schema::builder("parents").build();
    let child = sound().field(Field::of::<Uuid>("parent").refers_to(to("parents")));
    let faults = check_all(&[&parent, &child.build()]).expect_err("a faulty schema passed");
    assert_eq!(faults.0.len(), 1, "{faults}");
}

#[test]
fn names_are_unique_and_fit_for_tables_and_paths() {
    assert_faults(
        sound()
            .field(Field::of::<bool>("name"))
            .field(Field::of::<bool>("camelCase"))
            .admin_api("/things", Some("")),
        &[
            "field name is declared twice",
            "a field's name is made of a-z, 0-9 and _, and \"camelCase\" is not",
            "an admin path is made of a-z, 0-9, - and _, and \"/things\" is not",
            "an admin path is made of a-z, 0-9, - and _, and \"\" is not",
            "admin_api names a nested path, and no field is foreign",
        ],
    );
    let odd = Schema::builder("Things").field(Field::of::<Uuid>("id").primary_key());
    assert!(check_all(&[&odd.build()]).is_err());
}

#[test]
fn no_two_entities_take_one_path_of_the_admin_api() {
    let first = sound().admin_api("things", None).build();
    let second = Schema::builder("others")
        .field(Field::of::<Uuid>("id").primary_key())
        .field(Field::of::<Uuid>("thing").refers_to(to("things")))
        .field(Field::of::<Uuid>("other_thing").refers_to(to("things")))
        .admin_api("things", Some("others"))
        .build();
    let faults = check_all(&[&first, &second]).expect_err("a faulty schema passed");
    assert_eq!(
        faults.0,
        [
            "others: admin_api names a nested path, and two fields refer to things: which one it follows cannot \
             be told",
            "others: the admin path /things is that of things already",
            "others: the admin path /things/{..}/others is that of others already",
        ]
    );
}

#[test]
fn every_fault_of_every_schema_is_found_at_once() {
    let first = sound()
        .cache_key(&["group"])
        .endpoint_key("nowhere")
        .build();
    let second = Schema::builder("others").build();
    let third = KeyAuthCredential::schema();
    let faults = check_all(&[&first, &second, third, &second]).expect_err("faulty schemas passed");
    let expected = [
        "things: the endpoint key nowhere is not a field",
        "things: the cache key's only part group must be unique",
        "others: a primary key is missing: mark one field as primary_key",
        "keyauth_credentials: field consumer refers to consumers, which is not among the node's entities",
        "others: declared twice",
        "others: a primary key is missing: mark one field as primary_key",
    ];
    assert_eq!(faults.0, expected);
    for fault in expected {
        assert!(faults.to_string().contains(fault));
    }
    check_all(&[third, Consumer::schema()])
        .expect("no fault: the order of entities does not matter");
}

fn to(entity: &str) -> Foreign {
    Foreign {
        entity: entity.to_owned(),
        key: "id".to_owned(),
        on_delete: OnDelete::Restrict,
        on_update: OnUpdate::Keep,
    }
}

#[test]
fn a_version_is_one_number_on_every_row() {
    let version = |field: Field| sound().field(field.auto(Auto::Version));
    assert_faults(
        version(Field::of::<u32>("count")),
        &["field count: a version is an i64"],
    );
    assert_faults(
        version(Field::of::<Option<i64>>("count")),
        &["field count counts versions: it is on every row, changes, and is not unique"],
    );
    assert_faults(
        version(Field::of::<i64>("count")).field(Field::of::<i64>("other").auto(Auto::Version)),
        &["a row has one version, and 2 fields count it"],
    );
}
