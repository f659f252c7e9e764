//! The cache keys of rows.

use tidings_core::{CacheKey, Entity, Field, Ref, Row, Schema, Timestamp, Value};
use uuid::Uuid;

use crate::entities::{Acl, Consumer, KeyAuthCredential, credential};

const ID: Uuid = Uuid::from_u128(1);

fn acl() -> Acl {
    Acl {
        id: ID,
        group: "admins".to_owned(),
        consumer: Ref::new(Uuid::from_u128(2)),
        created_at: Timestamp::default(),
        tags: None,
    }
}

/// Its cache key has two parts that may both be absent.
fn sparse() -> Schema {
    Schema::builder("acls")
        .field(Field::of::<Uuid>("id").primary_key())
        .field(Field::of::<Option<String>>("group"))
        .field(Field::of::<Option<String>>("tenant"))
        .cache_key(&["tenant", "group"])
        .build()
}

#[test]
fn the_key_of_a_row_is_that_of_its_parts() {
    let schema = KeyAuthCredential::schema();
    let key = credential().cache_key();
    assert_eq!(key, CacheKey::new(schema.name(), &["abcd"]));
    assert_eq!(
        key.hash_value(),
        CacheKey::from_text(key.as_str()).hash_value()
    );
    let parts = acl();
    let by_hand = CacheKey::builder("acls")
        .part(&parts.consumer)
        .part(&parts.group);
    assert_eq!(parts.cache_key(), by_hand.finish());
}

// DA1
#[test]
fn an_absent_part_is_part_of_the_key() {
    let absent = Row(vec![ID.into(), "admins".into(), Value::Null]);
    let key = sparse().cache_key_of(&absent);
    assert_eq!(key.as_str(), "acls:~:admins");
    let marked = Row(vec![ID.into(), "admins".into(), "~".into()]);
    assert_ne!(key, sparse().cache_key_of(&marked));
}

// DA3
#[test]
fn with_no_part_of_the_cache_key_set_the_primary_key_is_used() {
    let row = Row(vec![ID.into(), Value::Null, Value::Null]);
    let key = sparse().cache_key_of(&row);
    assert_eq!(key, CacheKey::primary("acls", ID));
    assert_eq!(sparse().cache_keys_of(&row), [key]);
    let consumer = CacheKey::primary("consumers", ID);
    let row = Row(vec![ID.into(), "bob".into()]);
    assert_eq!(Consumer::schema().cache_key_of(&row), consumer);
}

#[test]
fn a_change_evicts_the_row_under_both_its_keys() {
    let row = acl().to_row();
    let expected = [acl().cache_key(), CacheKey::primary("acls", ID)];
    assert_eq!(Acl::schema().cache_keys_of(&row), expected);
}

#[test]
fn a_key_is_made_from_the_values_of_fields() {
    let schema = sparse();
    let key = |values: &[(&str, Value)]| schema.cache_key_from(values).map(|key| key.to_string());
    let (group, tenant, id) = ("group", "tenant", "id");
    let primary = Ok(format!("acls@{ID}"));
    assert_eq!(
        key(&[(group, "a".into()), (tenant, "b".into())]),
        Ok("acls:b:a".to_owned())
    );
    assert_eq!(key(&[(group, "a".into())]), Ok("acls:~:a".to_owned()));
    assert_eq!(
        key(&[(id, ID.into()), (group, "a".into())]),
        Ok("acls:~:a".to_owned())
    );
    assert_eq!(key(&[(id, ID.into())]), primary);
    assert_eq!(key(&[(id, ID.into()), (group, Value::Null)]), primary);
}

#[test]
fn a_key_from_values_that_make_none_is_refused_with_each_reason() {
    let schema = KeyAuthCredential::schema();
    let key = |values: &[(&str, Value)]| {
        schema
            .cache_key_from(values)
            .map_err(|violations| violations.to_string())
    };
    assert_eq!(
        key(&[
            ("kye", "abcd".into()),
            ("created_at", 5_i64.into()),
            ("key", 7_i64.into()),
            ("key", "abcd".into()),
        ]),
        Err(
            "kye: unknown field; created_at: not part of a cache key; the parts are: key, id; \
             key: expected a string; key: given twice"
                .to_owned()
        )
    );
    let nothing = Err("@entity: a value is needed for at least one of: key, id".to_owned());
    assert_eq!(key(&[]), nothing);
    assert_eq!(key(&[("key", Value::Null)]), nothing);
    assert_eq!(
        key(&[("key", "".into())]),
        Err("key: length must be at least 1".to_owned())
    );
}

#[test]
fn whole_numbers_of_each_width_are_the_same_part() {
    let expected = CacheKey::new("k", &["7"]);
    assert_eq!(CacheKey::new("k", &[7_i64]), expected);
    assert_eq!(CacheKey::new("k", &[7_i32]), expected);
    assert_eq!(CacheKey::new("k", &[7_u64]), expected);
    assert_eq!(CacheKey::new("k", &[7_u32]), expected);
    assert_eq!(CacheKey::new("k", &[7_usize]), expected);
    assert_eq!(CacheKey::new("k", &[Timestamp::from_unix(7)]), expected);
    assert_eq!(CacheKey::new("k", &[Value::Integer(7)]), expected);
}
