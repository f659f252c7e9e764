//! The log reports extreme values of every kind exactly, even if they were written under hostile
//! settings.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sqlx::{Row as _, postgres::PgRow};
use tidings_core::{Field, Row, Schema, Timestamp, Value};
use tidings_store::postgres::log::{InstallOptions, install};
use tidings_testkit::{Database, Server};
use uuid::Uuid;

use crate::support::{Reader, log_of};

const TABLE: &str = "
    create table kinds (
        id bigint primary key, flag boolean, whole bigint, number double precision, text text,
        uuid uuid, moment bigint, members text[], json jsonb
    )";

/// Settings that sessions of other programs may have.
pub(crate) const HOSTILE: &str = "
    set extra_float_digits = -15; set bytea_output = escape; set timezone = 'Pacific/Chatham';
    set datestyle = 'German, DMY'; set intervalstyle = sql_standard; set search_path = '';
    set standard_conforming_strings = off; set escape_string_warning = off; set backslash_quote = on;
    set array_nulls = off; set transform_null_equals = on; set xmlbinary = hex; set lc_messages = 'C';
    set client_encoding = 'UTF8'; set enable_hashjoin = off; set enable_mergejoin = off; set enable_nestloop = off;
    set work_mem = '64kB'; set plan_cache_mode = force_custom_plan; set quote_all_identifiers = on;
    set default_transaction_isolation = serializable; set check_function_bodies = off;
";

fn schema() -> &'static Schema {
    static SCHEMA: std::sync::OnceLock<Schema> = std::sync::OnceLock::new();
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

async fn captured() -> Database {
    let database = Server::shared().database().await;
    database.psql(TABLE);
    let mut connection = database.connect().await;
    let installed = install(&mut connection, &[schema()], InstallOptions::default()).await;
    let _ = installed.expect("captured");
    database
}

#[derive(Clone, Debug)]
struct Kinds {
    flag: Option<bool>,
    whole: Option<i64>,
    number: Option<f64>,
    text: Option<String>,
    uuid: Option<u128>,
    moment: Option<i64>,
    members: Option<BTreeSet<String>>,
    json: Option<String>,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("NULL".to_owned()),
        Just("it's \\ \"q\" {,} \u{1F980} \u{301}\r\n\t\u{1}".to_owned()),
        Just("\\'; drop table kinds; --".to_owned()),
        "\\PC{1,20}",
    ]
    .prop_map(|text| text.replace('\0', ""))
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(-0.0),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(0.1 + 0.2),
        Just(1e22),
        Just(123_456_789.123_456_78),
        any::<f64>().prop_filter("finite", |it| it.is_finite()),
    ]
}

fn kinds() -> impl Strategy<Value = Kinds> {
    use proptest::option::of;
    let whole = prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), any::<i64>()];
    let json = prop_oneof![
        Just("{}".to_owned()),
        Just("[1, 2.5e-300, {\"a\": null}]".to_owned()),
        Just("\"\\u00e9\\\"\\\\\"".to_owned()),
        Just("9007199254740993".to_owned()),
        Just("1.7976931348623157e308".to_owned()),
    ];
    (
        of(any::<bool>()),
        of(whole.clone()),
        of(number()),
        of(text()),
        of(any::<u128>()),
        of(whole),
        of(proptest::collection::btree_set(text(), 0..4)),
        of(json),
    )
        .prop_map(
            |(flag, whole, number, text, uuid, moment, members, json)| Kinds {
                flag,
                whole,
                number,
                text,
                uuid,
                moment,
                members,
                json,
            },
        )
}

/// The row as SQL that `psql` sends under its own settings.
fn literals(id: i64, row: &Kinds) -> String {
    // Doubled backslashes in an E string do not depend on `standard_conforming_strings`.
    let quoted = |text: &str| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let members = row.members.as_ref().map(|members| {
        let members: Vec<_> = members.iter().map(|member| quoted(member)).collect();
        format!("array[{}]::pg_catalog.text[]", members.join(", "))
    });
    let values = [
        (id.to_string(), "int8"),
        (or_null(row.flag.map(|it| it.to_string())), "bool"),
        (or_null(row.whole.map(|it| format!("'{it}'"))), "int8"),
        (or_null(row.number.map(|it| format!("'{it:e}'"))), "float8"),
        (or_null(row.text.as_deref().map(quoted)), "text"),
        (
            or_null(row.uuid.map(|it| format!("'{}'", Uuid::from_u128(it)))),
            "uuid",
        ),
        (or_null(row.moment.map(|it| format!("'{it}'"))), "int8"),
        (or_null(members), "_text"),
        (or_null(row.json.as_deref().map(quoted)), "jsonb"),
    ];
    let cast = values.map(|(value, kind)| format!("{value}::pg_catalog.{kind}"));
    cast.join(", ")
}

/// The stored row, read in the binary protocol, which no setting affects.
fn selected(row: &PgRow) -> Row {
    let members = row.get::<Option<Vec<String>>, _>(7);
    let json = row.get::<Option<String>, _>(8);
    Row(vec![
        row.get::<i64, _>(0).into(),
        row.get::<Option<bool>, _>(1)
            .map_or(Value::Null, Value::Boolean),
        row.get::<Option<i64>, _>(2)
            .map_or(Value::Null, Value::Integer),
        row.get::<Option<f64>, _>(3)
            .map_or(Value::Null, Value::Number),
        row.get::<Option<String>, _>(4)
            .map_or(Value::Null, Value::Text),
        row.get::<Option<Uuid>, _>(5)
            .map_or(Value::Null, Value::Uuid),
        row.get::<Option<i64>, _>(6)
            .map_or(Value::Null, Value::Integer),
        members.map_or(Value::Null, |members| {
            Value::Set(members.into_iter().collect())
        }),
        json.map_or(Value::Null, |json| {
            Value::Json(serde_json::from_str(&json).expect("JSON"))
        }),
    ])
}

/// Numbers by their bits, because `PartialEq` takes both zeros as equal.
fn bits(row: &Row) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Number(number) => format!("{:016x}", number.to_bits()),
        other => format!("{other:?}"),
    };
    row.0.iter().map(text).collect()
}

#[tokio::test]
async fn extremes_of_every_kind_are_told_as_a_select_shows_them() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let database = captured().await;
    let mut reader = Reader::of(log_of(&database, vec![schema()])).await;
    let mut runner = TestRunner::deterministic();
    let rows: Vec<Kinds> = (0..300)
        .map(|_| kinds().new_tree(&mut runner).expect("a row").current())
        .collect();

    // A third each: inserted by psql, updated by psql from another value, inserted in the binary
    // protocol.
    let mut script = HOSTILE.to_owned();
    let mut connection = database.connect().await;
    for (id, row) in (0_i64..).zip(&rows) {
        match id % 3 {
            0 => script += &format!("insert into public.kinds values ({});\n", literals(id, row)),
            1 => {
                script += &format!(
                    "insert into public.kinds (id, number) values ({id}, 'NaN'); update public.kinds set \
                     (id, flag, whole, number, text, uuid, moment, members, json) = (select {}) where id = {id};\n",
                    literals(id, row)
                );
            }
            _ => {
                let members = row
                    .members
                    .clone()
                    .map(|it| it.into_iter().collect::<Vec<_>>());
                let inserted = sqlx::query(
                    "insert into kinds values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)",
                )
                .bind(id)
                .bind(row.flag)
                .bind(row.whole)
                .bind(row.number)
                .bind(row.text.clone())
                .bind(row.uuid.map(Uuid::from_u128))
                .bind(row.moment)
                .bind(members)
                .bind(row.json.clone());
                let _ = inserted.execute(&mut connection).await.expect("inserted");
            }
        }
    }
    database.psql(&script);

    let stored = sqlx::query(
        "select id, flag, whole, number, text, uuid, moment, members, json::text from kinds order by id",
    )
    .fetch_all(&mut connection)
    .await
    .expect("rows");
    let mut received: Vec<Row> = Vec::new();
    for change in reader.changes(schema()).await {
        let row = change.new.expect("nothing was deleted");
        received.retain(|earlier| earlier.0[0] != row.0[0]);
        received.push(row);
    }
    received.sort_by_key(|row| match row.0[0] {
        Value::Integer(id) => id,
        _ => panic!("{row:?}"),
    });
    assert_eq!(received.len(), stored.len());
    for (received, stored) in received.iter().zip(&stored) {
        assert_eq!(bits(received), bits(&selected(stored)));
    }
}
