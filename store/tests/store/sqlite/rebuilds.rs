//! What a rebuilt table on SQLite takes over from the old one, and what prevents the rebuild.

use std::sync::{Arc, Mutex};

use tidings_core::{Field, Schema, SchemaBuilder};
use tidings_store::{Error, Migrations, Store};

use super::support::{Place, stored_place};

fn leak(builder: SchemaBuilder) -> &'static Schema {
    Box::leak(Box::new(builder.build()))
}

fn words() -> SchemaBuilder {
    Schema::builder("words")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<Option<String>>("word"))
}

/// Returns the place of a database in which another program has run this.
async fn made(sql: &str) -> Place {
    let place = stored_place().await;
    let store = Store::open(&place.url).await.unwrap();
    store.close().await.unwrap();
    place.run(sql).await;
    place
}

fn migrations(place: &Place, schema: &'static Schema) -> Migrations {
    Migrations::of(&place.url).schema(schema)
}

/// Returns the one value that a query selects, through a step that fails at its end.
async fn one(place: &Place, sql: &'static str) -> Option<String> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&found);
    let asking = Migrations::of(&place.url).step_before("ask", move |statements| {
        let into = Arc::clone(&into);
        async move {
            *into.lock().unwrap() = statements.rows(sql).await?;
            Err("asked".into())
        }
    });
    let error = asking.apply().await.unwrap_err();
    assert!(matches!(error, Error::Step { .. }), "{error:?}");
    let rows = std::mem::take(&mut *found.lock().unwrap());
    rows.into_iter().flatten().next().flatten()
}

/// The table is rebuilt because of the column `gone`.
#[tokio::test]
async fn what_a_table_made_again_could_not_have_is_in_the_way() {
    let cases = [
        (
            "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT, low TEXT AS (lower(word)))",
            "the generated column low",
        ),
        (
            "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT, low TEXT AS (lower(word)) STORED)",
            "the generated column low",
        ),
        (
            "CREATE TABLE words (id INTEGER PRIMARY KEY, -- the word's key\n\
             word TEXT CHECK (word <> ''), gone TEXT)",
            "a rule of its own (CHECK)",
        ),
        (
            "CREATE TABLE words (id INTEGER PRIMARY KEY, /* the word's \"key */\
             word TEXT CHECK (word <> ''), gone TEXT)",
            "a rule of its own (CHECK)",
        ),
        (
            "CREATE TABLE pairs (a, b, UNIQUE (a, b)); CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, \
             gone TEXT, FOREIGN KEY (id, word) REFERENCES pairs (a, b))",
            "FOREIGN KEY (id, word) REFERENCES pairs",
        ),
        (
            "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NULL ON CONFLICT REPLACE, gone TEXT)",
            "a rule of its own (ON CONFLICT)",
        ),
        (
            "CREATE TABLE words (id INTEGER PRIMARY KEY, gone TEXT, \
             word TEXT REFERENCES words (word) DEFERRABLE INITIALLY DEFERRED)",
            "a rule of its own (DEFERRABLE)",
        ),
        (
            "CREATE TABLE words (tenant TEXT, word TEXT, id INTEGER, gone TEXT, PRIMARY KEY (id, tenant))",
            "PRIMARY KEY (id, tenant)",
        ),
    ];
    let schema = leak(words());
    let mut wrong = Vec::new();
    for (sql, rule) in cases {
        let place = made(sql).await;
        let plan = migrations(&place, schema).plan().await.unwrap();
        let expected = [format!(
            "words has {rule}, which it would lose when it is rebuilt"
        )];
        if plan.obstacles != expected {
            wrong.push((sql, plan.obstacles));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn words_of_rules_in_comments_and_harmless_ones_are_no_rules() {
    let place = made(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, -- no CHECK\n\
         word TEXT DEFAULT '--' REFERENCES words (id) NOT DEFERRABLE, /* nor COLLATE */ gone TEXT)",
    )
    .await;
    let plan = migrations(&place, leak(words())).apply().await.unwrap();
    assert_eq!(plan.plan.obstacles, [""; 0]);
}

#[tokio::test]
async fn indexes_and_triggers_outlive_it_however_they_spell_its_name() {
    let place = made(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT);
         CREATE TABLE heard (word TEXT);
         CREATE INDEX theirs ON WORDS (word);
         CREATE TRIGGER tell AFTER INSERT ON Words BEGIN INSERT INTO heard VALUES (NEW.word); END;",
    )
    .await;
    migrations(&place, leak(words())).apply().await.unwrap();
    let left = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema \
                WHERE name IN ('theirs', 'tell') ORDER BY name)";
    assert_eq!(one(&place, left).await.as_deref(), Some("tell,theirs"));
}

#[tokio::test]
async fn a_column_that_is_kept_keeps_its_reference() {
    let place = made(
        "CREATE TABLE theirs (id INTEGER PRIMARY KEY);
         CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT, \
         their INTEGER REFERENCES theirs (id) ON DELETE SET NULL, more INTEGER REFERENCES theirs);
         INSERT INTO theirs VALUES (7); INSERT INTO words VALUES (1, 'a', NULL, 7, 7);",
    )
    .await;
    let keeping = migrations(&place, leak(words()))
        .keep_column("words", "their")
        .keep_column("words", "more");
    keeping.apply().await.unwrap();
    let left = "SELECT group_concat(\"from\" || ' ' || \"table\" || ' ' || coalesce(\"to\", '-') || ' ' || on_delete) \
                FROM (SELECT * FROM pragma_foreign_key_list('words') ORDER BY \"from\" DESC)";
    let expected = "their theirs id SET NULL,more theirs - NO ACTION";
    assert_eq!(one(&place, left).await.as_deref(), Some(expected));
}

#[tokio::test]
async fn defaults_of_the_tables_own_stay_in_the_type_that_a_column_has_then() {
    let schema = leak(
        words()
            .field(Field::of::<Option<i64>>("made"))
            .field(Field::of::<Option<u64>>("count")),
    );
    let place = made(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT DEFAULT unnamed, gone TEXT, \
         made INTEGER DEFAULT (unixepoch()), count INTEGER DEFAULT 7);",
    )
    .await;
    migrations(&place, schema).apply().await.unwrap();
    place.run("INSERT INTO words (id) VALUES (1)").await;
    let filled = "SELECT word || ' ' || (made > 0) || ' ' || count FROM words";
    let expected = "unnamed 1 00000000000000000007";
    assert_eq!(one(&place, filled).await.as_deref(), Some(expected));
}

#[tokio::test]
async fn rows_keep_their_numbers() {
    let schema = leak(Schema::builder("words").field(Field::of::<String>("id").primary_key()));
    let place = made(
        "CREATE TABLE words (id TEXT PRIMARY KEY, rowid TEXT, gone TEXT);
         INSERT INTO words (_rowid_, id) VALUES (3, 'c'), (8, 'a'), (5, 'b');",
    )
    .await;
    let keeping = migrations(&place, schema).keep_column("words", "rowid");
    keeping.apply().await.unwrap();
    let numbers =
        "SELECT group_concat(id || _rowid_) FROM (SELECT id, _rowid_ FROM words ORDER BY id)";
    assert_eq!(one(&place, numbers).await.as_deref(), Some("a8,b5,c3"));
}

#[tokio::test]
async fn a_table_without_row_numbers_is_made_again_as_well() {
    let schema = leak(Schema::builder("words").field(Field::of::<String>("id").primary_key()));
    let place = made(
        "CREATE TABLE words (id TEXT PRIMARY KEY NOT NULL, gone TEXT) WITHOUT ROWID;
         INSERT INTO words VALUES ('a', NULL);",
    )
    .await;
    migrations(&place, schema).apply().await.unwrap();
    let count = one(&place, "SELECT count(*) FROM words").await;
    assert_eq!(count.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_kept_column_without_a_type_keeps_whatever_it_holds() {
    let place = made(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT, any_of_it, number INTEGER);
         INSERT INTO words VALUES (1, 'a', NULL, 'text', 1), (2, 'b', NULL, x'00', 2);",
    )
    .await;
    let keeping = migrations(&place, leak(words()))
        .keep_column("words", "any_of_it")
        .keep_column("words", "number");
    keeping.apply().await.unwrap();
    let types = "SELECT group_concat(typeof(any_of_it)) FROM words";
    assert_eq!(one(&place, types).await.as_deref(), Some("text,blob"));
}

#[tokio::test]
async fn values_of_a_kept_column_that_its_type_does_not_say_are_in_the_way() {
    let place = made(
        "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT, number INTEGER);
         INSERT INTO words VALUES (1, 'a', NULL, 'many');",
    )
    .await;
    let keeping = migrations(&place, leak(words())).keep_column("words", "number");
    let plan = keeping.plan().await.unwrap();
    let expected = ["words.number holds values in 1 row that are not INTEGER"];
    assert_eq!(plan.obstacles, expected);
}

#[tokio::test]
async fn references_of_other_programs_that_cannot_be_checked_are_theirs() {
    let place = made(
        "CREATE TABLE parents (name TEXT);
         CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, gone TEXT);
         CREATE TABLE children (parent TEXT REFERENCES parents (name));",
    )
    .await;
    migrations(&place, leak(words())).apply().await.unwrap();
}
