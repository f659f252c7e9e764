//! Primary keys of several fields: what the derive macro makes of them, and what is wrong with one.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_core::{
    Auto, CacheKey, Entity, EntityId, Field, Foreign, Lookup, OnDelete, OnUpdate, PrimaryKey, Ref,
    Row, Schema, SchemaBuilder, Value, check_all,
};
use uuid::Uuid;

use crate::{entities::Consumer, faults::assert_faults};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "stocks", cache_key("shelf", "label"))]
struct Stock {
    #[entity(primary_key, foreign, on_delete = "cascade")]
    consumer: Ref<Consumer>,
    label: Option<String>,
    #[entity(primary_key)]
    shelf: String,
    #[entity(primary_key, auto)]
    batch: Uuid,
}

const ID: Uuid = Uuid::from_u128(7);

fn stock(shelf: &str) -> Stock {
    Stock {
        consumer: Ref::new(ID),
        label: None,
        shelf: shelf.to_owned(),
        batch: Uuid::from_u128(8),
    }
}

fn parts(shelf: &str) -> Vec<Value> {
    vec![ID.into(), shelf.into(), Uuid::from_u128(8).into()]
}

#[test]
fn the_id_of_a_row_is_the_tuple_of_its_fields() {
    check_all(&[Consumer::schema(), Stock::schema()]).expect("no fault");
    assert_eq!(Stock::PRIMARY_KEY, ["consumer", "shelf", "batch"]);
    assert_eq!(Stock::schema().primary_key(), [0, 2, 3]);
    assert_eq!(Stock::schema().single_key(), None);

    let row = stock("a");
    let (consumer, shelf, batch) = row.id();
    assert_eq!((consumer.id, &*shelf, batch), (ID, "a", row.batch));
    assert_eq!(row.id().to_key(), PrimaryKey::of(parts("a")));
    assert_eq!(
        Stock::schema().key_of(&row.to_row()),
        PrimaryKey::of(parts("a"))
    );
}

#[test]
fn a_part_does_not_identify_a_row() {
    for field in Stock::schema().primary_key_fields() {
        assert!(field.is_primary_key() && field.is_immutable() && !field.is_unique());
    }
    // The text of a part is still one line, because it is part of a key.
    let (_, shelf) = Stock::schema().field("shelf").expect("a field");
    assert_eq!(shelf.max_length(), Some(Field::KEY_LENGTH));
    assert!(
        Consumer::schema()
            .primary_key_fields()
            .all(Field::is_unique)
    );
}

#[test]
fn rows_are_cached_and_looked_up_by_the_whole_key() {
    let schema = Stock::schema();
    let lookups = [
        Lookup::CacheKey(vec!["shelf", "label"]),
        Lookup::PrimaryParts(vec!["consumer", "shelf", "batch"]),
    ];
    assert_eq!(schema.lookups(), lookups);

    let key = format!("stocks@:{ID}:a%3Ab:{}", Uuid::from_u128(8));
    let row = stock("a:b").to_row();
    assert_eq!(schema.primary_cache_key(&row).as_str(), key);
    let keys = schema.cache_keys_of(&row);
    assert_eq!(
        keys,
        [
            CacheKey::from_text("stocks:a%3Ab:~"),
            CacheKey::from_text(&key)
        ]
    );

    let names = ["consumer", "shelf", "batch"];
    let made = schema.lookup_key(&names, &parts("a:b"));
    assert_eq!(made.as_ref().map(CacheKey::as_str), Some(&*key));
    assert_eq!(
        schema.lookup_of_key(&key),
        Some((names.to_vec(), parts("a:b")))
    );
    assert_eq!(schema.lookup_key(&names, &parts("a:b")[..2]), None);
    assert_eq!(schema.lookup_key(&names[..2], &parts("a:b")[..2]), None);
    for other in [
        "stocks@:a",
        "stocks@a:b:c",
        "stocks@",
        "stocks@:::",
        "stocks@shelf:a",
    ] {
        assert_eq!(schema.lookup_of_key(other), None, "{other}");
    }
}

#[test]
fn a_cache_key_is_made_of_the_whole_primary_key_or_refused() {
    let schema = Schema::builder("stocks")
        .field(Field::of::<String>("shelf").primary_key())
        .field(Field::of::<i64>("place").primary_key())
        .build();
    let key = |values: &[(&str, Value)]| schema.cache_key_from(values).map(|key| key.to_string());
    let both = [("place", 7_i64.into()), ("shelf", "a".into())];
    assert_eq!(key(&both), Ok("stocks@:a:7".to_owned()));

    let refused = key(&both[..1]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "@entity: a value is needed for all of: shelf, place"
    );
}

#[test]
fn a_secret_part_is_masked_where_keys_are_shown() {
    let schema = Schema::builder("stocks")
        .field(Field::of::<String>("shelf").primary_key().secret())
        .field(Field::of::<i64>("place").primary_key())
        .build();
    assert_eq!(schema.shown_cache_key("stocks@:a:7"), "stocks@:***:7");
}

#[test]
fn a_secret_primary_key_of_one_field_is_masked_where_keys_are_shown() {
    let schema = Schema::builder("sessions")
        .field(Field::of::<String>("token").primary_key().secret())
        .build();
    let key = schema.primary_cache_key(&Row(vec!["abcd".into()]));
    assert_eq!(schema.shown_cache_key(key.as_str()), "sessions@***");
    assert_eq!(schema.shown_cache_key("sessions"), "sessions");
    assert_eq!(
        schema.shown_cache_key("sessions_old@abcd"),
        "sessions_old@abcd"
    );
}

#[test]
fn a_key_is_read_from_its_canonical_text_alone() {
    let schema = Stock::schema();
    for shelf in ["a", "a:b", "~", "100%", "@", "\u{e9}"] {
        let key = PrimaryKey::of(parts(shelf));
        assert_eq!(schema.key_from_text(&key.to_text()), Ok(key));
    }

    let refused = |text: String| schema.key_from_text(&text).unwrap_err().to_string();
    let form = "expected consumer:shelf:batch";
    let batch = Uuid::from_u128(8);
    assert_eq!(refused(String::new()), form);
    assert_eq!(refused(format!("{ID}:a")), form);
    assert_eq!(refused(format!("{ID}:a:{batch}:b")), form);
    assert_eq!(refused(format!("{ID}:%G1:{batch}")), form);
    assert_eq!(
        refused(format!("{ID}:%61:{batch}")),
        format!("{form}, written as {ID}:a:{batch}")
    );
    assert_eq!(
        refused(format!("{ID}:a%3ab:{batch}")),
        format!("{form}, written as {ID}:a%3Ab:{batch}")
    );
    assert_eq!(
        refused(format!("{}:a:{batch}", ID.simple())),
        format!("consumer: expected a valid UUID, written as {ID}")
    );
    assert!(refused(format!("{ID}::{batch}")).starts_with("shelf: "));
}

#[test]
fn an_update_keeps_each_part_of_the_key() {
    let schema = Stock::schema();
    let (old, new) = (stock("a").to_row(), stock("b").to_row());
    let refused = schema.check_kept(&old, &new).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "shelf: the primary key cannot be changed"
    );
    assert!(!schema.is_same_row(&old, &new));
    assert!(schema.is_same_row(&old, &Row(stock("a").to_row().0)));
}

#[test]
fn the_schema_names_the_fields_of_the_key() {
    let json = Stock::schema().to_json();
    assert_eq!(json["primary_key"], json!(["consumer", "shelf", "batch"]));
    assert_eq!(json["fields"][0]["unique"], json!(false));
    assert_eq!(json["cache_key"], json!(["shelf", "label"]));
}

fn pair() -> SchemaBuilder {
    Schema::builder("things")
        .field(Field::of::<String>("tenant").primary_key())
        .field(Field::of::<i64>("number").primary_key())
}

#[test]
fn faults_of_a_key_of_several_fields_are_found() {
    check_all(&[&pair().build()]).expect("no fault");
    let many = ["c", "d", "e"];
    let many = many.iter().fold(pair(), |schema, name| {
        schema.field(Field::of::<i64>(name).primary_key())
    });
    assert_faults(
        many,
        &["a primary key has at most 4 fields, and 5 are marked"],
    );
    assert_faults(
        pair().field(Field::of::<Option<i64>>("place").primary_key()),
        &["the primary key place cannot be optional"],
    );
    assert_faults(
        pair().field(Field::of::<f64>("weight").primary_key()),
        &["field weight is of kind number and cannot be part of the primary key"],
    );
    assert_faults(
        pair().field(Field::of::<Vec<u8>>("digest").primary_key()),
        &["the primary key digest cannot be bytes"],
    );
    assert_faults(
        pair().field(Field::of::<i64>("number").primary_key()),
        &["field number is declared twice"],
    );
    assert_faults(
        pair().field(Field::of::<i64>("place").primary_key().default(1_i64)),
        &["field place cannot have a default: every row brings its own primary key"],
    );
    assert_faults(
        pair().endpoint_key("tenant"),
        &["the endpoint key tenant must be unique"],
    );
    assert_faults(
        pair().cache_key(&["tenant"]),
        &["the cache key's only part tenant must be unique"],
    );
    assert_faults(
        pair().unique_together(&["number", "tenant"]),
        &["unique names number, tenant, which is the primary key"],
    );
    assert_faults(
        pair().field(
            Field::of::<i64>("version")
                .primary_key()
                .auto(Auto::Version),
        ),
        &["field version counts versions: it is on every row, changes, and is not unique"],
    );
}

#[test]
fn a_reference_to_a_key_of_several_fields_is_refused() {
    let parent = Schema::builder("parents")
        .field(Field::of::<String>("tenant").primary_key())
        .field(Field::of::<i64>("number").primary_key())
        .build();
    let child = Schema::builder("children")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<i64>("parent").refers_to(Foreign {
            entity: "parents".to_owned(),
            key: "number".to_owned(),
            on_delete: OnDelete::Cascade,
            on_update: OnUpdate::Keep,
        }))
        .build();
    let faults = check_all(&[&parent, &child]).expect_err("a faulty schema passed");
    assert_eq!(
        faults.0,
        [
            "children: field parent refers to parents, whose primary key is several fields (tenant, number): a \
          reference is one field, so refer to an entity whose key is one, or keep the parts as fields of their own"
        ]
    );
}
