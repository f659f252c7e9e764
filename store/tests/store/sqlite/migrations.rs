//! Migrations on SQLite: rebuilt tables, and what belongs to them.

use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tidings_core::{Field, Foreign, OnDelete, OnUpdate, Row, Schema, SchemaBuilder, Value};
use tidings_store::{Error, Logging, Migrations, PageQuery, Store, WriteOptions};

use super::support::{Fixture, Place, stored_place};

fn leak(builder: SchemaBuilder) -> &'static Schema {
    Box::leak(Box::new(builder.build()))
}

fn words() -> SchemaBuilder {
    Schema::builder("words").field(Field::of::<i64>("id").primary_key())
}

fn migrations(place: &Place, schema: &'static Schema) -> Migrations {
    Migrations::of(&place.url).schema(schema)
}

#[tokio::test]
async fn indexes_and_triggers_of_others_outlive_a_table_that_is_made_again() {
    let place = stored_place().await;
    let first = leak(words().field(Field::of::<Option<String>>("word")));
    migrations(&place, first).apply().await.unwrap();
    place
        .run(
            "CREATE TABLE heard (word TEXT);
             CREATE INDEX theirs ON words (word COLLATE NOCASE);
             CREATE TRIGGER tell AFTER INSERT ON words BEGIN INSERT INTO heard VALUES (NEW.word); END;
             CREATE TRIGGER refers AFTER INSERT ON heard BEGIN SELECT count(*) FROM words; END;
             CREATE VIEW shown AS SELECT word FROM words;
             INSERT INTO words VALUES (1, 'a');",
        )
        .await;

    let second = leak(words().field(Field::of::<String>("word").default("none")));
    let plan = migrations(&place, second).apply().await.unwrap().plan;
    assert!(plan.to_string().contains("CREATE INDEX theirs"), "{plan}");
    place.run("INSERT INTO words (id) VALUES (2)").await;
    place
        .run("CREATE TABLE seen AS SELECT * FROM heard, shown, pragma_index_info('theirs')")
        .await;
    let told = migrations(&place, second).step_after("look", |sql| async move {
        let received = sql.rows("SELECT group_concat(word) FROM heard").await?;
        assert_eq!(received[0][0].as_deref(), Some("a,none"));
        let shown = sql.rows("SELECT count(*) FROM seen").await?;
        assert_eq!(shown[0][0].as_deref(), Some("4"));
        Ok(())
    });
    told.apply().await.unwrap();
}

#[tokio::test]
async fn rules_of_a_table_that_making_it_again_would_lose_are_in_the_way() {
    let place = stored_place().await;
    Store::open(&place.url)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    place
        .run(
            "CREATE TABLE words (id INTEGER NOT NULL PRIMARY KEY, word varchar(9) CHECK (word <> ''), \
             other text UNIQUE, third text UNIQUE, length int);
             INSERT INTO words VALUES (1, 'a', 'b', 'c', 'long');",
        )
        .await;
    let schema = leak(
        words()
            .field(Field::of::<String>("word"))
            .field(Field::of::<Option<String>>("other").unique())
            .field(Field::of::<Option<String>>("third"))
            .field(Field::of::<Option<i64>>("length")),
    );
    let plan = migrations(&place, schema).plan().await.unwrap();
    assert_eq!(
        plan.obstacles,
        [
            "words has a rule of its own (CHECK), which it would lose when it is rebuilt",
            "words has UNIQUE (third), which it would lose when it is rebuilt",
            "words.length holds values in 1 row that are not INTEGER",
        ]
    );
    let refused = migrations(&place, schema).allow_loss().apply().await;
    assert!(
        matches!(refused, Err(Error::Unmendable { .. })),
        "{refused:?}"
    );
    // A node can work with the table as it is.
    let store = Store::open(&place.url).await.unwrap();
    Fixture::attach(store, &[schema]).await.unwrap();
}

#[tokio::test]
async fn to_plan_makes_no_file() {
    let place = stored_place().await;
    let plan = migrations(&place, leak(words())).plan().await.unwrap();
    assert_eq!(plan.changes.len(), 1);
    let path = place.url.strip_prefix("sqlite://").unwrap();
    assert!(!std::path::Path::new(path).exists());
}

/// Writes are recorded before and after, with the columns that exist.
#[tokio::test]
async fn triggers_of_the_log_follow_the_table() {
    let place = stored_place().await;
    let first = leak(
        words()
            .field(Field::of::<Option<String>>("word"))
            .field(Field::of::<Option<i64>>("old")),
    );
    let second = leak(
        words()
            .field(Field::of::<Option<String>>("word"))
            .field(Field::of::<i64>("new").default(7)),
    );
    for (id, schema) in [(1, first), (2, second)] {
        let migrated = migrations(&place, schema).allow_loss().apply().await;
        migrated.unwrap();
        let opening = Store::options(&place.url).logging(Logging::On).open();
        let fixture = Fixture::attach(opening.await.unwrap(), &[schema]).await;
        let fixture = fixture.unwrap();
        let table = fixture.store.table("words").unwrap();
        let row = Row(vec![Value::Integer(id), "w".into(), Value::Integer(id)]);
        let inserted = table.insert(row, WriteOptions::default()).await;
        inserted.unwrap();
        fixture.store.close().await.unwrap();
        place.run("UPDATE words SET word = 'x'").await;
    }

    let told = migrations(&place, second).step_after("look", |sql| async move {
        let layouts = "SELECT l.fields FROM tidings_captures AS c JOIN tidings_layouts AS l ON l.id = c.layout";
        let fields = sql.rows(layouts).await?;
        let fields = fields[0][0].as_deref().unwrap_or_default();
        assert!(fields.contains("new") && !fields.contains("old"), "{fields}");
        let recorded = "SELECT count(*), max(new_new) FROM \"tidings_log:words\" WHERE new_word = 'x'";
        let recorded = sql.rows(recorded).await?;
        assert_eq!(recorded[0], [Some("3".to_owned()), Some("7".to_owned())]);
        Ok(())
    });
    told.apply().await.unwrap();
}

/// A migration that waits for another program gives up at its limit, and not before.
#[tokio::test]
async fn patience_is_that_of_the_caller() {
    let place = stored_place().await;
    let schema = leak(words());
    migrations(&place, schema).apply().await.unwrap();
    let path = place.url.strip_prefix("sqlite://").unwrap();
    let options = SqliteConnectOptions::new().filename(path);
    let mut holder = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut holder)
        .await
        .unwrap();

    let patience = std::time::Duration::from_millis(10);
    let hasty = migrations(&place, schema).patience(patience).apply().await;
    assert!(matches!(hasty, Err(Error::Busy(_))), "{hasty:?}");
    let patient = migrations(&place, schema);
    let patient = tokio::spawn(async move { patient.apply().await });
    sqlx::query("COMMIT").execute(&mut holder).await.unwrap();
    assert!(patient.await.unwrap().unwrap().plan.is_empty());
}

/// References are not checked while tables are rebuilt, so all are checked at the end.
#[tokio::test]
async fn a_step_that_leaves_a_reference_to_nothing_undoes_everything() {
    let place = stored_place().await;
    let root = Field::of::<Option<i64>>("root").refers_to(Foreign {
        entity: "words".to_owned(),
        key: "id".to_owned(),
        on_delete: OnDelete::Restrict,
        on_update: OnUpdate::Keep,
    });
    let schema = leak(words().field(root));
    migrations(&place, schema).apply().await.unwrap();
    place
        .run("INSERT INTO words VALUES (1, NULL), (2, 1)")
        .await;
    let step = |name, sql| {
        let stepped = migrations(&place, schema);
        stepped.step_after(name, move |run| async move {
            run.run(sql).await?;
            Ok(())
        })
    };
    let breaks = step("breaks", "DELETE FROM words WHERE id = 1");
    match breaks.apply().await.unwrap_err() {
        Error::Unmendable { differences } => assert_eq!(
            differences,
            ["words refers to words in 1 row(s) that are not there"]
        ),
        error => panic!("{error:?}"),
    }
    let mends = step("mends", "DELETE FROM words WHERE root = 1");
    mends.apply().await.unwrap();
    let left = migrations(&place, schema).step_before("look", |sql| async move {
        let left = sql.rows("SELECT group_concat(id) FROM words").await?;
        assert_eq!(left[0][0].as_deref(), Some("1"));
        Ok(())
    });
    left.apply().await.unwrap();
}

/// A node without a log does not see the writes of a step.
#[tokio::test]
async fn no_step_runs_beside_a_node_that_would_not_hear_of_it() {
    let place = stored_place().await;
    let schema = leak(words());
    let store = Store::open(&place.url).await.unwrap();
    let fixture = Fixture::attach(store, &[schema]).await.unwrap();
    let step = || {
        migrations(&place, schema).step_after("fill", |sql| async move {
            sql.run("INSERT INTO words VALUES (1)").await?;
            Ok(())
        })
    };
    match step().apply().await.unwrap_err() {
        Error::NodeRuns { changes } => assert_eq!(changes, ["runs the step fill"]),
        error => panic!("{error:?}"),
    }
    let table = fixture.store.table("words").unwrap();
    assert_eq!(table.page(PageQuery::new()).await.unwrap().data, []);
    fixture.store.close().await.unwrap();
    step().apply().await.unwrap();
}

/// An index that ignores case does not make a case-sensitive column unique; on a column that
/// ignores case too, it does.
#[tokio::test]
async fn an_index_that_compares_otherwise_than_its_column_is_made_again() {
    let schema = leak(words().field(Field::of::<Option<String>>("word").unique()));
    for (column, of_the_index, is_ours) in [
        ("TEXT", " COLLATE NOCASE", false),
        ("TEXT /* no COLLATE */", " COLLATE NOCASE", false),
        ("TEXT DEFAULT 'COLLATE'", " COLLATE NOCASE", false),
        ("TEXT", " COLLATE binary", true),
        ("TEXT COLLATE NOCASE", "", true),
    ] {
        let place = stored_place().await;
        migrations(&place, schema).apply().await.unwrap();
        let table = format!("CREATE TABLE words (id INTEGER PRIMARY KEY NOT NULL, word {column})");
        let index = format!("UNIQUE INDEX \"unique:words(word)\" ON words (word{of_the_index})");
        place
            .run(&format!("DROP TABLE words; {table}; CREATE {index}"))
            .await;
        let plan = migrations(&place, schema).plan().await.unwrap();
        let plan = plan.to_string();
        assert_eq!(plan.contains("DROP INDEX"), !is_ours, "{plan}");
    }
}
