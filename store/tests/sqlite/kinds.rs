//! The log reports extreme values of every kind exactly, even if they were written under hostile
//! settings.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use sqlx::{ConnectOptions as _, Row as _, sqlite::SqliteConnectOptions, sqlite::SqliteRow};
use tidings_core::{Field, Row, Schema, Timestamp, Value, clock::SystemClock};
use tidings_store::{Attachment, ChangeSet, ChangeSink, Logging, WriteOptions};
use uuid::Uuid;

use crate::{
    reader::Reader,
    support::{Database, log_of},
};

/// Settings that programs may have: which triggers fire, what is checked, and the order in which
/// rows are visited.
const HOSTILE: [&str; 3] = [
    "PRAGMA recursive_triggers = ON;",
    "PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = ON; PRAGMA reverse_unordered_selects = ON;",
    "PRAGMA trusted_schema = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA automatic_index = OFF; \
     PRAGMA case_sensitive_like = ON; PRAGMA cell_size_check = ON; PRAGMA legacy_alter_table = ON; \
     PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = 1;",
];

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        Schema::builder("kinds")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<bool>>("flag"))
            .field(Field::of::<Option<i64>>("whole"))
            .field(Field::of::<Option<f64>>("number"))
            .field(Field::of::<Option<String>>("text"))
            .field(Field::of::<Option<Uuid>>("uuid"))
            .field(Field::of::<Option<Timestamp>>("moment"))
            .field(Field::of::<Option<BTreeSet<String>>>("members"))
            .field(Field::of::<Option<serde_json::Value>>("json"))
            .build()
    })
}

struct Deaf;

impl ChangeSink for Deaf {
    fn committed(&self, _: ChangeSet) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("NULL".to_owned()),
        Just("it's \\ \"q\" {,} \u{1F980} \u{301}\r\n\t\u{1}".to_owned()),
        Just("'; DROP TABLE kinds; --".to_owned()),
        Just("12".to_owned()),
        "\\PC{1,20}",
    ]
    .prop_map(|text| text.replace('\0', ""))
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(-0.0),
        Just(1.0),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(0.1 + 0.2),
        Just(1e22),
        Just(9_007_199_254_740_993.0),
        any::<f64>().prop_filter("finite", |it| it.is_finite()),
    ]
}

/// A row without its key.
fn row() -> impl Strategy<Value = Vec<Value>> {
    let whole = || prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), any::<i64>()];
    let member = text().prop_filter("a member says something", |text| !text.is_empty());
    let json = prop_oneof![
        Just("{}"),
        Just("[1, 2.5e-300, {\"a\": null}]"),
        Just("\"\\u00e9\\\"\\\\\""),
        Just("9007199254740993"),
        Just("1.7976931348623157e308"),
    ];
    let json = json.prop_map(|text| Value::Json(serde_json::from_str(text).expect("JSON")));
    (
        or_null(any::<bool>().prop_map(Value::Boolean)),
        or_null(whole().prop_map(Value::Integer)),
        or_null(number().prop_map(Value::Number)),
        or_null(text().prop_map(Value::Text)),
        or_null(any::<u128>().prop_map(|it| Value::Uuid(Uuid::from_u128(it)))),
        or_null(whole().prop_map(Value::Integer)),
        or_null(proptest::collection::btree_set(member, 0..4).prop_map(Value::Set)),
        or_null(json),
    )
        .prop_map(|(a, b, c, d, e, f, g, h)| vec![a, b, c, d, e, f, g, h])
}

fn or_null(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::option::of(value).prop_map(Option::unwrap_or_default)
}

/// The row for Python: numbers by their bits, texts by their bytes.
fn python(id: i64, row: &[Value]) -> String {
    let bytes = |text: &str| {
        let mut hex = String::new();
        for byte in text.bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
        format!("bytes.fromhex('{hex}').decode()")
    };
    let literal = |value: &Value| match value {
        Value::Null => "None".to_owned(),
        Value::Boolean(value) => i64::from(*value).to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => format!(
            "struct.unpack('>d', bytes.fromhex('{:016x}'))[0]",
            value.to_bits()
        ),
        Value::Text(text) => bytes(text),
        Value::Uuid(uuid) => format!("'{uuid}'"),
        Value::Set(_) | Value::Json(_) => bytes(&value.to_json().to_string()),
        Value::Unsigned(_) | Value::Bytes(_) => panic!("{value:?} is in no row here"),
    };
    let values: Vec<_> = row.iter().map(literal).collect();
    format!("({id}, {})", values.join(", "))
}

/// The row for `sqlite3`.
fn sql(id: i64, row: &[Value]) -> String {
    let quoted = |text: &str| {
        let mut hex = String::new();
        for byte in text.bytes() {
            let _ = write!(hex, "{byte:02x}");
        }
        format!("CAST(x'{hex}' AS TEXT)")
    };
    let literal = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Boolean(value) => i64::from(*value).to_string(),
        // The lowest integer has no literal: it would be the negative of a number that is too
        // large.
        Value::Integer(i64::MIN) => "-9223372036854775807 - 1".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => format!("{value:e}"),
        Value::Text(text) => quoted(text),
        Value::Uuid(uuid) => format!("'{uuid}'"),
        Value::Set(_) | Value::Json(_) => quoted(&value.to_json().to_string()),
        Value::Unsigned(_) | Value::Bytes(_) => panic!("{value:?} is in no row here"),
    };
    let values: Vec<_> = row.iter().map(literal).collect();
    format!("({id}, {})", values.join(", "))
}

/// The stored row: the type of each value, and its bits.
fn stored(row: &SqliteRow) -> Vec<String> {
    let number: Option<f64> = row.get(3);
    let whole = |index: usize| format!("{:?}", row.get::<Option<i64>, _>(index));
    let text = |index: usize| format!("{:?}", row.get::<Option<String>, _>(index));
    let json = |index: usize| {
        let text: Option<String> = row.get(index);
        let json = text.map(|text| serde_json::from_str::<serde_json::Value>(&text).expect("JSON"));
        format!("{json:?}")
    };
    vec![
        whole(0),
        whole(1),
        whole(2),
        format!("{:?}", number.map(f64::to_bits)),
        text(4),
        text(5),
        whole(6),
        json(7),
        json(8),
    ]
}

/// The same for a reported row.
fn received(row: &Row) -> Vec<String> {
    let whole = |value: &Value| match value {
        Value::Boolean(value) => format!("{:?}", Some(i64::from(*value))),
        Value::Integer(value) => format!("{:?}", Some(value)),
        Value::Null => "None".to_owned(),
        other => panic!("{other:?}"),
    };
    let text = |value: &Value| match value {
        Value::Text(text) => format!("{:?}", Some(text)),
        Value::Uuid(uuid) => format!("{:?}", Some(uuid.to_string())),
        Value::Null => "None".to_owned(),
        other => panic!("{other:?}"),
    };
    let number = match &row.0[3] {
        Value::Number(number) => Some(number.to_bits()),
        Value::Null => None,
        other => panic!("{other:?}"),
    };
    let json = |value: &Value| match value {
        Value::Null => "None".to_owned(),
        value => format!("{:?}", Some(value.to_json())),
    };
    vec![
        whole(&row.0[0]),
        whole(&row.0[1]),
        whole(&row.0[2]),
        format!("{number:?}"),
        text(&row.0[4]),
        text(&row.0[5]),
        whole(&row.0[6]),
        json(&row.0[7]),
        json(&row.0[8]),
    ]
}

// CL18 on SQLite.
#[tokio::test]
async fn extremes_of_every_kind_are_told_as_a_select_shows_them() {
    let database = Database::with("");
    let store = database.store(Logging::On).await;
    let attached = store.attach(Attachment {
        schemas: vec![schema()],
        sink: Arc::new(Deaf),
        clock: Arc::new(SystemClock::new()),
        runtime: tokio::runtime::Handle::current(),
    });
    attached.await.expect("attached");
    let mut reader = Reader::over(log_of(&store, vec![schema()])).await;
    let mut runner = TestRunner::deterministic();
    let rows: Vec<Vec<Value>> = (0..240)
        .map(|_| row().new_tree(&mut runner).expect("a row").current())
        .collect();

    // Written by the store, by Python and by sqlite3; each inserted, updated from another value, or
    // in place of another row.
    let table = store.table("kinds").expect("attached");
    let (mut scripts, mut shell) = (
        vec![String::new(); HOSTILE.len()],
        HOSTILE.map(str::to_owned),
    );
    for (id, row) in (0_i64..).zip(&rows) {
        let setting = usize::try_from(id).expect("a small number") / 3 % HOSTILE.len();
        let other = "(id, number, text) VALUES";
        match id % 3 {
            0 => {
                let mut values = vec![Value::Integer(id)];
                // The store refuses empty text; other programs write it.
                let empty = Value::Text(String::new());
                let taken = row.iter().filter(|value| **value != empty);
                values.extend(taken.cloned());
                if values.len() <= row.len() {
                    values.insert(4, Value::Null);
                }
                table
                    .insert(Row(values), WriteOptions::default())
                    .await
                    .expect("inserted");
            }
            1 => {
                let _ = write!(
                    scripts[setting],
                    "db.execute(\"INSERT INTO kinds {other} ({id}, 0.5, 'x')\")\n\
                     db.execute('REPLACE INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', {})\n",
                    python(id, row)
                );
            }
            _ => {
                let _ = writeln!(
                    shell[setting],
                    "INSERT INTO kinds {other} ({id}, 0.5, 'x'); UPDATE OR REPLACE kinds SET \
                     (id, flag, whole, number, text, uuid, moment, members, json) = {} WHERE id = {id};",
                    sql(id, row)
                );
            }
        }
    }
    for (script, settings) in scripts.iter().zip(HOSTILE) {
        let settings: String = settings
            .split_terminator(';')
            .map(|pragma| format!("db.execute('{}')\n", pragma.trim()))
            .collect();
        database.python(&format!("{settings}{script}"));
    }
    for script in &shell {
        database.sqlite3(script);
    }

    let options = SqliteConnectOptions::new().filename(database.path());
    let mut connection = options.connect().await.expect("a connection");
    let found = sqlx::query("SELECT * FROM kinds ORDER BY id")
        .fetch_all(&mut connection)
        .await
        .expect("rows");
    let mut last = std::collections::BTreeMap::new();
    for change in reader.changes(schema()).await {
        let (Some(row), Value::Integer(id)) = (&change.new, told_key(&change)) else {
            continue;
        };
        last.insert(id, received(row));
    }
    assert_eq!((last.len(), found.len()), (rows.len(), rows.len()));
    for (received, row) in last.values().zip(&found) {
        assert_eq!(*received, stored(row));
    }
}

fn told_key(change: &crate::reader::Change) -> Value {
    let row = change.new.as_ref().or(change.old.as_ref());
    row.map(|row| row.0[0].clone()).unwrap_or_default()
}
