//! The kinds of fields: each type survives its value, its JSON, its text and its key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_core::{
    CacheKey, Entity, Field, FieldKind, FieldValue, Json, Row, Rule, Timestamp, TimestampMicros,
    Value, check_all,
};

#[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    InReview,
    #[serde(rename = "shut")]
    Closed,
}

/// A variant whose name is a keyword.
#[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(non_camel_case_types, reason = "keywords are lower case")]
enum Call {
    r#async,
    r#await,
}

#[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Number(u64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Limits {
    per_minute: u32,
    burst: Option<u32>,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "everything", cache_key("number", "state"))]
struct Everything {
    #[entity(primary_key)]
    id: Number,
    number: u64,
    ratio: f32,
    #[serde(with = "tidings_core::base64")]
    data: Vec<u8>,
    #[serde(with = "tidings_core::base64")]
    more: Option<Vec<u8>>,
    names: Vec<String>,
    labels: BTreeMap<String, String>,
    counts: Option<HashMap<String, u32>>,
    #[entity(default = "open")]
    state: State,
    limits: Json<Limits>,
    #[entity(auto_create_time)]
    made_at: TimestampMicros,
}

fn everything() -> Everything {
    Everything {
        id: Number(u64::MAX),
        number: u64::MAX - 1,
        ratio: 0.1,
        data: vec![0, 255, 7],
        more: Some(Vec::new()),
        names: ["b", "a", "b"].map(str::to_owned).to_vec(),
        labels: [("a".to_owned(), "1".to_owned())].into(),
        counts: Some([("x".to_owned(), 7)].into()),
        state: State::InReview,
        limits: Json(Limits {
            per_minute: 60,
            burst: None,
        }),
        made_at: TimestampMicros::from_micros(1_700_000_000_123_456),
    }
}

#[test]
fn a_row_of_every_kind_survives_json_and_agrees_with_its_struct() {
    check_all(&[Everything::schema()]).expect("no fault");
    let schema = Everything::schema();
    let row = everything().to_row();
    let json = row.to_json(schema);
    // As text: serde's own tree of values shows a float of single precision as one of double.
    let written = serde_json::to_string(&everything()).unwrap();
    assert_eq!(
        json,
        serde_json::from_str::<serde_json::Value>(&written).unwrap()
    );
    assert_eq!(json["id"], u64::MAX);
    assert_eq!(json["ratio"], json!(0.1));
    assert_eq!(json["data"], "AP8H");
    assert_eq!(json["names"], json!(["b", "a", "b"]));
    assert_eq!(json["state"], "in_review");
    let patch = schema.patch_from_json(json.as_object().unwrap()).unwrap();
    let read = Row::empty(schema).patched(schema, &patch).unwrap();
    assert_eq!(read, row);
    assert_eq!(Everything::from_row(read).unwrap(), everything());
}

#[test]
fn a_value_that_is_none_of_its_type_is_refused() {
    let schema = Everything::schema();
    let body = json!({
        "id": -1, "number": 1.5, "ratio": 0.123_456_789, "data": "not base64!", "names": ["a", 7],
        "labels": {"a": 1}, "counts": [], "state": "Open", "limits": {"per_hour": 1}, "made_at": "now",
    });
    let refused = schema
        .patch_from_json(body.as_object().unwrap())
        .unwrap_err();
    let rules: BTreeMap<_, _> = refused.0.iter().map(|it| (&*it.field, it.rule)).collect();
    let mut expected: BTreeMap<_, _> = body
        .as_object()
        .unwrap()
        .keys()
        .map(|name| (&**name, Rule::Kind))
        .collect();
    expected.insert("ratio", Rule::Range);
    expected.insert("state", Rule::OneOf);
    assert_eq!(rules, expected, "{refused}");
}

#[test]
fn members_of_lists_are_checked_like_those_of_sets() {
    let field = Field::of::<Vec<String>>("names")
        .length(..=2)
        .pattern("[a-z]+");
    let check = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        field.check(&names.to_value()).map_err(|breach| breach.rule)
    };
    assert_eq!(check(&["a", "a"]), Ok(()));
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&["a", "b", "c"]), Err(Rule::Length));
    assert_eq!(check(&["A"]), Err(Rule::Pattern));
    assert_eq!(check(&[""]), Err(Rule::Length));
    let bytes = Field::of::<Vec<u8>>("data").length(2..=2);
    assert!(bytes.check(&vec![1_u8, 2].into()).is_ok());
    assert!(bytes.check(&vec![1_u8].into()).is_err());
}

#[test]
fn an_enum_is_its_texts_and_a_newtype_what_is_in_it() {
    let field = Field::of::<Option<State>>("state");
    let allowed: Vec<_> = field.allowed().iter().map(Value::to_text).collect();
    assert_eq!(allowed, ["open", "in_review", "shut"]);
    assert_eq!(field.kind(), FieldKind::Text);
    for state in [State::Open, State::InReview, State::Closed] {
        assert_eq!(State::from_value(state.to_value()), Some(state));
        let json = serde_json::to_value(state).unwrap();
        assert_eq!(state.to_value().to_json(), json);
    }
    assert_eq!(State::from_value("Closed".into()), None);
    for call in [Call::r#async, Call::r#await] {
        assert_eq!(Call::from_value(call.to_value()), Some(call));
        let json = serde_json::to_value(call).unwrap();
        assert_eq!(call.to_value().to_json(), json);
    }
    assert_eq!(Number::KIND, FieldKind::Unsigned);
    assert_eq!(Number(7).to_value(), Value::Unsigned(7));
    let key = CacheKey::builder("k").part(&State::Closed).part(&Number(7));
    assert_eq!(key.finish().as_str(), "k:shut:7");
}

#[test]
fn times_are_made_as_finely_as_their_field_has_them() {
    let schema = Everything::schema();
    let now = TimestampMicros::from_micros(5_000_001);
    let mut row = everything();
    row.made_at = TimestampMicros::default();
    let row = schema.leave_unset(row.to_row());
    let made = schema.complete_insert(row.clone(), now).unwrap();
    assert_eq!(Everything::from_row(made).unwrap().made_at, now);
    let made = schema
        .complete_insert(row, Timestamp::from_unix(5))
        .unwrap();
    let at = Everything::from_row(made).unwrap().made_at;
    assert_eq!(at.as_micros(), 5_000_000);
    assert_eq!(TimestampMicros::from_micros(-1).seconds().as_unix(), -1);
}

#[test]
fn keys_are_spelled_in_one_way() {
    for (kind, canonical, others) in [
        (
            FieldKind::Unsigned,
            "18446744073709551615",
            &["007", "+7", "-0", "18446744073709551616", "1.0"][..],
        ),
        (FieldKind::TimestampMicros, "-7", &["-07", "+7"]),
        (FieldKind::Bytes, "AP8H", &["AP8", "AP8H=", "AP9=", "ap 8"]),
    ] {
        let value = Value::from_key_text(kind, canonical).unwrap();
        assert_eq!(value.to_text(), canonical);
        for other in others {
            assert!(Value::from_key_text(kind, other).is_err(), "{other}");
        }
    }
    let schema = Everything::schema();
    let values = [Value::Unsigned(u64::MAX), "shut".into()];
    let key = schema.lookup_key(&["number", "state"], &values).unwrap();
    assert_eq!(key.as_str(), "everything:18446744073709551615:shut");
    let typed = CacheKey::builder("everything")
        .part(&u64::MAX)
        .part(&State::Closed);
    assert_eq!(typed.finish(), key);
    let bytes = [
        vec![0_u8, 255],
        vec![0, 255, 58],
        b"a:b".to_vec(),
        Vec::new(),
    ];
    let keys: BTreeSet<_> = bytes
        .iter()
        .map(|bytes| {
            let value = CacheKey::builder("k")
                .part(&Value::from(bytes.clone()))
                .finish();
            assert_eq!(value, CacheKey::builder("k").part(bytes).finish());
            value.to_string()
        })
        .collect();
    assert_eq!(keys.len(), 4);
}

proptest! {
    #[test]
    fn every_number_survives(bits in any::<u32>(), whole in any::<u64>(), bytes in any::<Vec<u8>>()) {
        let narrow = f32::from_bits(bits);
        prop_assume!(narrow.is_finite());
        let value = narrow.to_value();
        prop_assert_eq!(f32::from_value(value.clone()).map(f32::to_bits), Some(bits));
        let field = Field::of::<f32>("ratio");
        prop_assert_eq!(field.check(&value), Ok(()));
        prop_assert_eq!(field.from_json(&value.to_json()), Ok(value.clone()));
        prop_assert_eq!(field.from_text(&value.to_text()), Ok(value));

        for value in [Value::Unsigned(whole), Value::Bytes(bytes)] {
            let kind = if matches!(value, Value::Bytes(_)) { FieldKind::Bytes } else { FieldKind::Unsigned };
            prop_assert_eq!(Value::from_json(kind, &value.to_json()), Ok(value.clone()));
            prop_assert_eq!(Value::from_key_text(kind, &value.to_text()), Ok(value.clone()));
        }
    }
}
