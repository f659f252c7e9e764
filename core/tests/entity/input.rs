//! What schemas do with what people send.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};
use tidings_core::{Auto, Entity, Field, Patch, Row, Schema, Timestamp, Value, Violations};
use uuid::Uuid;

use crate::entities::{Acl, Consumer, KeyAuthCredential};

const NOW: i64 = 1_700_000_000;

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// What a create over HTTP does: read the body, make and check the rest.
fn insert(schema: &Schema, body: Json) -> Result<Row, Violations> {
    let patch = schema.patch_from_json(&object(body))?;
    let row = Row::empty(schema).patched(schema, &patch)?;
    schema.complete_insert(row, Timestamp::from_unix(NOW))
}

/// Field and message of each violation, by field.
#[track_caller]
fn violations<T: std::fmt::Debug>(result: Result<T, Violations>) -> Vec<(String, String)> {
    let violations = result.expect_err("a faulty input passed").0;
    let mut pairs: Vec<_> = violations
        .into_iter()
        .map(|v| (v.field, v.message))
        .collect();
    pairs.sort();
    pairs
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(field, message): &(&str, &str)| (field.to_owned(), message.to_owned());
    expected.iter().map(owned).collect()
}

// SC11
#[test]
fn uuid_text_and_times_are_made_on_insert() {
    let consumer = Uuid::from_u128(7);
    let row = insert(
        KeyAuthCredential::schema(),
        json!({"consumer": {"id": consumer}}),
    );
    let credential = KeyAuthCredential::from_row(row.expect("a row")).expect("a credential");
    assert!(!credential.id.is_nil());
    assert_eq!(credential.created_at.as_unix(), NOW);
    assert_eq!(credential.key.as_ref().map(String::len), Some(32));
    let row = insert(Consumer::schema(), json!({"username": "bob"}));
    let bob = Consumer::from_row(row.expect("a row")).expect("a consumer");
    assert_eq!(
        (bob.created_at.as_unix(), bob.updated_at.as_unix()),
        (NOW, NOW)
    );
}

// SC11
#[test]
fn values_that_were_given_are_kept_and_two_made_ones_differ() {
    let schema = KeyAuthCredential::schema();
    let consumer = json!({"id": Uuid::from_u128(7)});
    let id = Uuid::from_u128(8);
    let given = json!({"id": id, "key": "abcd", "created_at": 5, "consumer": consumer});
    let row = insert(schema, given).expect("a row");
    let credential = KeyAuthCredential::from_row(row).expect("a credential");
    assert_eq!((credential.id, credential.created_at.as_unix()), (id, 5));
    assert_eq!(credential.key.as_deref(), Some("abcd"));
    let made = || insert(schema, json!({"consumer": consumer})).expect("a row");
    let (one, other) = (made(), made());
    assert_ne!(one.0[0], other.0[0]);
    assert_ne!(one.0[3], other.0[3]);
}

// SC11
#[test]
fn an_update_notes_its_time_alone() {
    let schema = Consumer::schema();
    let row = insert(schema, json!({"username": "bob"})).expect("a row");
    let later = Timestamp::from_unix(NOW + 9);
    let updated = schema.complete_update(row.clone(), later).expect("a row");
    let (before, after) = (
        Consumer::from_row(row).expect("a consumer"),
        Consumer::from_row(updated).expect("a consumer"),
    );
    assert_eq!(after.updated_at, later);
    assert_eq!(
        Consumer {
            updated_at: before.updated_at,
            ..after
        },
        before
    );
}

// SC12
#[test]
fn a_required_field_is_demanded_on_insert_and_may_not_be_cleared_later() {
    let schema = KeyAuthCredential::schema();
    let missing = pairs(&[("consumer", "required field missing")]);
    assert_eq!(violations(insert(schema, json!({}))), missing);
    schema
        .patch_from_json(&object(json!({"tags": ["a"]})))
        .expect("a partial update without it");
    let row = insert(schema, json!({"consumer": {"id": Uuid::from_u128(7)}})).expect("a row");
    let clear = schema
        .patch_from_json(&object(json!({"consumer": null})))
        .expect("a patch");
    let cleared = row.patched(schema, &clear).expect("known fields");
    let cleared = schema.complete_update(cleared, Timestamp::from_unix(NOW));
    assert_eq!(violations(cleared), missing);
}

#[test]
fn a_struct_whose_fields_are_no_options_leaves_them_to_be_made() {
    let schema = Schema::builder("tokens")
        .field(Field::of::<Uuid>("id").primary_key().auto(Auto::Random))
        .field(Field::of::<String>("token").unique().auto(Auto::Random))
        .field(Field::of::<Timestamp>("created_at").auto(Auto::CreateTime))
        .build();
    let row = Row(vec![
        Uuid::nil().into(),
        "".into(),
        Timestamp::default().into(),
    ]);
    let made = schema
        .complete_insert(schema.leave_unset(row.clone()), Timestamp::from_unix(NOW))
        .expect("a row");
    assert!(
        row.0.iter().zip(&made.0).all(|(unset, made)| unset != made),
        "{made:?}"
    );
}

/// D3
#[test]
fn a_value_that_was_given_is_never_taken_for_an_absent_one() {
    let schema = KeyAuthCredential::schema();
    let consumer = json!({"id": Uuid::from_u128(7)});
    let given = json!({"id": Uuid::nil(), "key": "k", "created_at": 0, "consumer": consumer});
    let row = insert(schema, given).expect("a row");
    let credential = KeyAuthCredential::from_row(row).expect("a credential");
    assert!(credential.id.is_nil());
    assert_eq!(credential.created_at.as_unix(), 0);
    let empty = insert(schema, json!({"key": "", "consumer": consumer}));
    assert_eq!(
        violations(empty),
        pairs(&[("key", "length must be at least 1")])
    );
}

/// P23
#[test]
fn text_that_is_part_of_a_key_is_one_line_of_bounded_length() {
    let schema = Schema::builder("things")
        .field(Field::of::<String>("id").primary_key())
        .field(Field::of::<Option<String>>("name").unique())
        .field(Field::of::<Option<String>>("group"))
        .field(Field::of::<Option<String>>("place"))
        .field(Field::of::<Option<String>>("header").one_line(5))
        .field(Field::of::<Option<String>>("text"))
        .field(Field::of::<i64>("number").unique())
        .cache_key(&["place", "number"])
        .unique_together(&["number", "group"])
        .build();
    let limits: Vec<_> = schema.fields().iter().map(Field::max_length).collect();
    let key = Some(Field::KEY_LENGTH);
    assert_eq!(limits, [key, key, key, key, Some(5), None, None]);
    let described = schema.to_json();
    assert_eq!(described["fields"][1]["max_length"], 512);
    assert_eq!(described["fields"][5].get("max_length"), None);

    let name = |text: &str| {
        let checked = schema.fields()[1].check(&text.into());
        checked.map_err(|breach| breach.message)
    };
    let longest = "\u{e9}".repeat(Field::KEY_LENGTH / 2);
    for fine in ["a", "a b", "\u{1F980}", &longest] {
        assert_eq!(name(fine), Ok(()), "{fine:?}");
    }
    assert_eq!(
        name(&format!("{longest}x")),
        Err("length must be at most 512 bytes".to_owned())
    );
    for blank in [" a", "a ", "\u{a0}a", "a\u{3000}"] {
        assert!(name(blank).unwrap_err().contains("blank"), "{blank:?}");
    }
    for control in ["a\nb", "\r", "a\t", "\u{7f}", "\u{85}"] {
        assert!(
            name(control).unwrap_err().contains("control"),
            "{control:?}"
        );
    }
    assert_eq!(schema.fields()[5].check(&" any\ntext ".into()), Ok(()));
}

/// D4
#[test]
fn a_tag_holds_neither_of_the_characters_that_part_tags() {
    for tag in ["a,b", "a/b", ",", "/"] {
        let patch = limited().patch_from_json(&object(json!({ "tags": ["x", tag] })));
        assert_eq!(
            violations(patch),
            pairs(&[("tags", "each member: must not hold ',' or '/'")]),
            "{tag}"
        );
    }
}

/// P22
#[test]
fn a_number_that_would_come_back_as_another_is_refused() {
    let weight = |json: Json| limited().patch_from_json(&object(json!({ "weight": json })));
    for kept in [
        json!(9_007_199_254_740_992_i64),
        json!(-9_007_199_254_740_994_i64),
        json!(0.1),
    ] {
        assert!(weight(kept.clone()).is_ok(), "{kept}");
    }
    for lost in [json!(9_007_199_254_740_993_i64), json!(u64::MAX)] {
        assert_eq!(violations(weight(lost))[0].0, "weight");
    }
}

/// P4
#[test]
fn a_key_counts_only_in_its_canonical_spelling() {
    let read = |field: Field, text: &str| field.from_key_text(text).is_ok();
    for (text, is_key) in [("7", true), ("-7", true), ("0", true), ("007", false)] {
        assert_eq!(read(Field::of::<i64>("n"), text), is_key, "{text}");
        assert_eq!(read(Field::of::<Timestamp>("n"), text), is_key, "{text}");
    }
    for text in ["+7", "-0", " 7", "7 ", "7.0", "\u{ff17}"] {
        assert!(!read(Field::of::<i64>("n"), text), "{text}");
    }
    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    assert!(read(Field::of::<Uuid>("n"), uuid));
    for text in [
        uuid.to_uppercase(),
        uuid.replace('-', ""),
        format!("{{{uuid}}}"),
        format!("urn:uuid:{uuid}"),
    ] {
        assert!(!read(Field::of::<Uuid>("n"), &text), "{text}");
    }
    assert!(read(Field::of::<bool>("n"), "true") && !read(Field::of::<bool>("n"), "True"));
    assert!(read(Field::of::<String>("n"), "007"));
}

#[test]
fn a_row_of_too_few_values_lacks_the_last_ones() {
    let schema = Acl::schema();
    for complete in [Schema::complete_insert, Schema::complete_update] {
        let short = Row(vec![Uuid::from_u128(1).into()]);
        let found = violations(complete(schema, short, Timestamp::from_unix(NOW)));
        assert!(found.contains(&("group".to_owned(), "required field missing".to_owned())));
    }
    let short = Consumer::schema().complete_update(Row(Vec::new()), Timestamp::from_unix(NOW));
    assert!(
        violations(short)
            .iter()
            .any(|(field, _)| field == "@entity")
    );
}

#[test]
fn one_of_several_fields_is_demanded() {
    let message = "at least one of these fields must be non-empty: 'username', 'custom_id'";
    let expected = pairs(&[("@entity", message)]);
    assert_eq!(
        violations(insert(Consumer::schema(), json!({"tags": []}))),
        expected
    );
    insert(Consumer::schema(), json!({"custom_id": "7"})).expect("a row");
}

// AD5
#[test]
fn every_unknown_field_and_wrong_value_is_named_at_once() {
    let patch = KeyAuthCredential::schema().patch_from_json(&object(json!({
        "id": "no uuid",
        "created_at": "today",
        "consumer": "bob",
        "key": 7,
        "tags": [1],
        "colour": "red",
    })));
    assert_eq!(
        violations(patch),
        pairs(&[
            ("colour", "unknown field"),
            (
                "consumer",
                "expected a reference to consumers as {\"id\": ..}"
            ),
            ("created_at", "expected a timestamp in Unix seconds"),
            ("id", "expected a valid UUID"),
            ("key", "expected a string"),
            ("tags", "expected a set of strings"),
        ])
    );
}

#[test]
fn a_reference_is_an_object_with_the_key() {
    let schema = Acl::schema();
    let id = Uuid::from_u128(7);
    for wrong in [
        json!({}),
        json!({"id": null}),
        json!({"username": "bob"}),
        json!([id]),
        json!(id),
    ] {
        let patch = schema.patch_from_json(&object(json!({ "consumer": wrong })));
        assert_eq!(violations(patch)[0].0, "consumer");
    }
    let bad_key = schema.patch_from_json(&object(json!({"consumer": {"id": "bob"}})));
    assert_eq!(
        violations(bad_key),
        pairs(&[("consumer", "expected a valid UUID")])
    );
    for right in [json!({"id": id}), json!({"id": id, "username": "bob"})] {
        let patch = schema
            .patch_from_json(&object(json!({ "consumer": right })))
            .expect("a patch");
        assert_eq!(patch, Patch::new().with("consumer", Value::Uuid(id)));
    }
}

/// A schema with a field of each kind that has limits.
fn limited() -> Schema {
    Schema::builder("limits")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<u32>("port"))
        .field(Field::of::<Option<i32>>("offset"))
        .field(Field::of::<f64>("weight"))
        .field(Field::of::<String>("name"))
        .field(Field::of::<Option<std::collections::BTreeSet<String>>>(
            "tags",
        ))
        .build()
}

#[test]
fn a_value_that_its_rust_type_cannot_hold_is_a_violation_at_input() {
    let patch = limited().patch_from_json(&object(json!({
        "id": 9_223_372_036_854_775_808_u64,
        "port": -1,
        "offset": 3_000_000_000_u32,
        "name": "",
        "tags": ["a", ""],
        "weight": 1,
    })));
    assert_eq!(
        violations(patch),
        pairs(&[
            (
                "id",
                "must be between -9223372036854775808 and 9223372036854775807"
            ),
            ("name", "length must be at least 1"),
            ("offset", "must be between -2147483648 and 2147483647"),
            ("port", "must be between 0 and 4294967295"),
            ("tags", "each member: length must be at least 1"),
        ])
    );
    for port in ["4294967296", "-1"] {
        assert!(limited().fields()[1].from_text(port).is_err());
    }
    assert_eq!(
        limited().fields()[1].from_text("4294967295"),
        Ok(Value::Integer(4_294_967_295))
    );
    for weight in ["NaN", "inf", "-inf", "1e999"] {
        assert!(
            limited().fields()[3].from_text(weight).is_err(),
            "{weight} passed"
        );
    }
}

#[test]
fn a_row_from_code_is_checked_as_one_from_outside_is() {
    let row = Row(vec![
        1_i64.into(),
        Value::Integer(-1),
        Value::Text("7".to_owned()),
        f64::NAN.into(),
        "a\0b".into(),
        Value::Null,
    ]);
    let expected = pairs(&[
        ("name", "must not hold a NUL"),
        ("offset", "expected an integer"),
        ("port", "must be between 0 and 4294967295"),
        ("weight", "must be a finite number"),
    ]);
    let schema = limited();
    let now = Timestamp::from_unix(NOW);
    assert_eq!(
        violations(schema.complete_insert(row.clone(), now)),
        expected
    );
    assert_eq!(violations(schema.complete_update(row, now)), expected);
}

#[test]
fn a_made_text_is_32_letters_and_digits_each_equally_likely() {
    const TEXTS: usize = 2_000;
    let schema = KeyAuthCredential::schema();
    let consumer = json!({"id": Uuid::from_u128(7)});
    let mut counts = HashMap::new();
    for _ in 0..TEXTS {
        let row = insert(schema, json!({"consumer": consumer})).expect("a row");
        let Value::Text(key) = &row.0[3] else {
            panic!("no key was made")
        };
        assert_eq!(key.len(), 32);
        for letter in key.chars() {
            assert!(letter.is_ascii_alphanumeric(), "{letter:?} in a key");
            *counts.entry(letter).or_insert(0_usize) += 1;
        }
    }
    assert_eq!(counts.len(), 62);
    // 64,000 letters, so about 1,032 of each, with a standard deviation of 32: a fair letter strays
    // by 180 once in some ten million runs.
    for (letter, count) in counts {
        assert!(
            (852..1_212).contains(&count),
            "{letter} occurs {count} times"
        );
    }
}
