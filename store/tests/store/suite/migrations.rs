//! Migrations: existing tables are changed to fit the schemas.

#[path = "migrations/steps.rs"]
mod steps;

#[path = "migrations/relations.rs"]
mod relations;

#[path = "migrations/keys.rs"]
mod keys;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tidings_core::{Field, Foreign, OnDelete, OnUpdate, Row, Schema, SchemaBuilder, Value};
use tidings_store::{Error, Migrations, PageQuery, Selector, Store, WriteOptions};

use super::support::{Fixture, Place, schemas, stored_place};
use crate::entities::{Consumer, Credential};

fn leak(builder: SchemaBuilder) -> &'static Schema {
    Box::leak(Box::new(builder.build()))
}

fn tenants() -> SchemaBuilder {
    Schema::builder("tenants").field(Field::of::<i64>("id").primary_key())
}

fn optional(name: &str) -> Field {
    Field::of::<Option<String>>(name)
}

fn row(values: impl IntoIterator<Item = Value>) -> Row {
    Row(values.into_iter().collect())
}

fn migrations(place: &Place, schema: &'static Schema) -> Migrations {
    Migrations::of(&place.url).schema(schema)
}

/// Creates the table of a schema as a node does, and fills it.
async fn filled(place: &Place, schema: &'static Schema, rows: &[Row]) {
    let fixture = attached(place, schema).await.unwrap();
    let table = fixture.store.table(schema.name()).unwrap();
    for row in rows {
        let inserted = table.insert(row.clone(), WriteOptions::default()).await;
        inserted.unwrap();
    }
    fixture.store.close().await.unwrap();
}

async fn attached(place: &Place, schema: &'static Schema) -> Result<Fixture, Error> {
    let store = Store::open(&place.url).await?;
    let attached = Fixture::attach(store.clone(), &[schema]).await;
    if attached.is_err() {
        store.close().await?;
    }
    attached
}

/// All rows, as a node reads them.
async fn rows(place: &Place, schema: &'static Schema) -> Vec<Row> {
    let fixture = attached(place, schema).await.unwrap();
    let table = fixture.store.table(schema.name()).unwrap();
    let page = table.page(PageQuery::default()).await.unwrap();
    fixture.store.close().await.unwrap();
    page.data
}

/// The result of a query, through a step that is not recorded because it fails at its end.
async fn asked(place: &Place, sql: &'static str) -> Vec<Vec<Option<String>>> {
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
    std::mem::take(&mut *found.lock().unwrap())
}

#[tokio::test]
async fn an_empty_database_is_planned_as_sql_and_made_as_a_node_would() {
    let place = stored_place().await;
    let migrations = || {
        schemas()
            .into_iter()
            .fold(Migrations::of(&place.url), Migrations::schema)
    };

    let plan = migrations().plan().await.unwrap();
    let sql = plan.to_string();
    for expected in [
        "-- creates the table consumers\nCREATE TABLE \"consumers\" (\"id\" ",
        "CREATE UNIQUE INDEX \"unique:consumers(username)\" ON \"consumers\" (\"username\");",
    ] {
        assert!(sql.contains(expected), "{sql}");
    }
    assert_eq!(migrations().plan().await.unwrap(), plan, "nothing was made");

    let made = migrations().apply().await.unwrap();
    assert_eq!(made.plan, plan);
    let again = migrations().apply().await.unwrap();
    assert!(again.plan.is_empty(), "{}", again.plan);
    let fixture = Fixture::at(&place.url).await.unwrap();
    fixture.store.close().await.unwrap();
    let after = migrations().plan().await.unwrap();
    assert!(after.is_empty(), "{after}");
    assert!(after.to_string().contains("nothing to do"), "{after}");
}

#[tokio::test]
async fn columns_are_added_filled_released_required_and_widened_with_their_rows() {
    let place = stored_place().await;
    let first = leak(
        tenants()
            .field(optional("plan"))
            .field(Field::of::<String>("host"))
            .field(Field::of::<i64>("size"))
            .field(Field::of::<i64>("quota").default(1)),
    );
    let (gold, none) = (Value::from("gold"), Value::Null);
    filled(
        &place,
        first,
        &[
            row([1.into(), gold.clone(), "a".into(), 7.into(), 1.into()]),
            row([2.into(), none, "b".into(), 8.into(), 2.into()]),
        ],
    )
    .await;

    let second = leak(
        tenants()
            .field(Field::of::<String>("plan").default("free"))
            .field(optional("host").unique())
            .field(Field::of::<f64>("size"))
            .field(Field::of::<i64>("quota").default(5))
            .field(Field::of::<bool>("enabled").default(true))
            .field(optional("note")),
    );
    let refused = attached(&place, second).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Incompatible { .. })
            && refused.to_string().contains("tidings migrate apply"),
        "{refused}"
    );

    let plan = migrations(&place, second).plan().await.unwrap();
    assert_eq!((plan.losses.len(), plan.obstacles.len()), (0, 0), "{plan}");
    let done = migrations(&place, second).apply().await.unwrap();
    assert_eq!(done.plan, plan);
    let left = migrations(&place, second).plan().await.unwrap();
    assert!(left.is_empty(), "{left}");
    assert_eq!(
        rows(&place, second).await,
        [
            row([
                1.into(),
                gold,
                "a".into(),
                7.0.into(),
                1.into(),
                true.into(),
                Value::Null
            ]),
            row([
                2.into(),
                "free".into(),
                "b".into(),
                8.0.into(),
                2.into(),
                true.into(),
                Value::Null
            ]),
        ]
    );
    // The defaults of the columns are those of the schema now, for other programs too.
    place
        .run("INSERT INTO tenants (id, size) VALUES (3, 0)")
        .await;
    let third = &rows(&place, second).await[2];
    assert_eq!((&third.0[1], &third.0[4]), (&"free".into(), &5.into()));
}

#[tokio::test]
async fn what_would_lose_values_is_refused_with_columns_and_rows_until_it_is_allowed() {
    let place = stored_place().await;
    let first = leak(
        tenants()
            .field(optional("nick"))
            .field(optional("never_set"))
            .field(optional("since")),
    );
    let nick = |id: i64| row([id.into(), "n".into(), Value::Null, "x".into()]);
    let bare = row([3.into(), Value::Null, Value::Null, Value::Null]);
    filled(&place, first, &[nick(1), nick(2), bare]).await;

    let second = leak(tenants().field(Field::of::<Option<i64>>("since")));
    let refused = migrations(&place, second).apply().await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("tenants.since in 2 rows"), "{said}");
    assert!(said.contains("tenants.nick in 2 rows"), "{said}");
    assert!(said.contains("--allow-loss"), "{said}");
    assert!(!said.contains("never_set"), "{said}");
    let Error::WouldLose { losses } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(losses.len(), 2);
    assert_eq!(rows(&place, first).await.len(), 3, "nothing was done");

    let allowed = migrations(&place, second).allow_loss();
    assert_eq!(allowed.apply().await.unwrap().plan.losses, losses);
    let without = |id: i64| row([id.into(), Value::Null]);
    assert_eq!(
        rows(&place, second).await,
        [without(1), without(2), without(3)]
    );
    let left = migrations(&place, second).plan().await.unwrap();
    assert!(left.is_empty(), "{left}");
}

#[tokio::test]
async fn a_column_without_values_goes_and_one_that_is_kept_stays() {
    let place = stored_place().await;
    let first = leak(
        tenants()
            .field(optional("empty"))
            .field(Field::of::<String>("theirs")),
    );
    filled(&place, first, &[row([1.into(), Value::Null, "t".into()])]).await;

    let second = leak(tenants());
    let kept = || migrations(&place, second).keep_column("tenants", "theirs");
    let plan = kept().apply().await.unwrap().plan;
    assert_eq!(plan.losses, []);
    assert!(
        plan.to_string().contains("drops the column empty"),
        "{plan}"
    );
    assert!(kept().plan().await.unwrap().is_empty());

    // A row of the schema does not need it.
    let fixture = attached(&place, second).await.unwrap();
    let table = fixture.store.table("tenants").unwrap();
    let inserted = table.insert(row([2.into()]), WriteOptions::default()).await;
    inserted.unwrap();
    fixture.store.close().await.unwrap();
    let theirs = asked(&place, "SELECT theirs FROM tenants ORDER BY id").await;
    assert_eq!(theirs, [[Some("t".to_owned())], [None]]);

    let wrong = migrations(&place, second).keep_column("tenants", "id");
    let refused = wrong.apply().await.unwrap_err().to_string();
    assert!(
        refused.contains("keep_column") && refused.contains("tenants.id"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_no_migration_can_mend_is_told_with_the_number_of_rows() {
    let place = stored_place().await;
    let first = leak(
        tenants()
            .field(optional("host"))
            .field(Field::of::<Option<i64>>("parent")),
    );
    let at = |id: i64, parent: i64| row([id.into(), "same".into(), parent.into()]);
    filled(&place, first, &[at(1, 1), at(2, 9), at(3, 9)]).await;

    let second = leak(
        tenants()
            .field(optional("host").unique())
            .field(Field::of::<Option<i64>>("parent").refers_to(Foreign {
                entity: "tenants".to_owned(),
                key: "id".to_owned(),
                on_delete: OnDelete::Cascade,
                on_update: OnUpdate::Keep,
            }))
            .field(Field::of::<String>("region")),
    );
    let expected = [
        "tenants lacks the column region, which is required, and there is no value for 3 rows",
        "tenants.parent does not refer to tenants (id), and 2 rows would refer to nothing",
        "3 rows of tenants violate unique:tenants(host)",
    ];
    let plan = migrations(&place, second).plan().await.unwrap();
    assert_eq!(plan.obstacles, expected);
    for migrations in [
        migrations(&place, second),
        migrations(&place, second).allow_loss(),
    ] {
        match migrations.apply().await.unwrap_err() {
            Error::Unmendable { differences } => assert_eq!(differences, expected),
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(rows(&place, first).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_that_migrate_at_once_do_it_once() {
    let place = stored_place().await;
    let first = leak(tenants().field(optional("plan")));
    filled(&place, first, &[row([1.into(), Value::Null])]).await;
    let second = leak(tenants().field(Field::of::<String>("plan").default("free")));

    let runs = Arc::new(AtomicUsize::new(0));
    let all = (0..10).map(|_| {
        let runs = Arc::clone(&runs);
        let migrations = migrations(&place, second).step_after("count", move |_| {
            runs.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(()))
        });
        tokio::spawn(async move { migrations.apply().await })
    });
    let all: Vec<_> = all.collect();
    let mut working = 0;
    for one in all {
        working += usize::from(!one.await.unwrap().unwrap().plan.is_empty());
    }
    assert_eq!((working, runs.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(rows(&place, second).await, [row([1.into(), "free".into()])]);
}

#[tokio::test]
async fn while_a_node_runs_nothing_but_additions_is_made() {
    let place = stored_place().await;
    let first = leak(tenants().field(optional("plan")));
    let fixture = attached(&place, first).await.unwrap();

    let added = leak(
        tenants()
            .field(optional("plan").unique())
            .field(optional("note")),
    );
    let done = migrations(&place, added).apply().await.unwrap();
    assert!(!done.plan.is_empty());

    let dropped = leak(tenants().field(optional("plan").unique()));
    match migrations(&place, dropped).apply().await.unwrap_err() {
        Error::NodeRuns { changes } => assert_eq!(changes, ["tenants: drops the column note"]),
        error => panic!("{error:?}"),
    }
    let table = fixture.store.table("tenants").unwrap();
    let inserted = table.insert(row([1.into(), "p".into()]), WriteOptions::default());
    inserted.await.unwrap();
    fixture.store.close().await.unwrap();
    migrations(&place, dropped).apply().await.unwrap();
    assert_eq!(rows(&place, dropped).await, [row([1.into(), "p".into()])]);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_before_anything_is_opened() {
    let schema = leak(tenants());
    let memory = Migrations::of("sqlite::memory:").schema(schema);
    assert!(matches!(memory.apply().await, Err(Error::Url { .. })));
    assert!(matches!(memory.plan().await, Err(Error::Url { .. })));
    let other = Migrations::of("mysql://host/db").schema(schema);
    assert!(matches!(other.plan().await, Err(Error::Unsupported { .. })));
    let faulty = leak(Schema::builder("tidings_x").field(optional("a")));
    let faulty = Migrations::of("sqlite::memory:").schema(faulty);
    assert!(matches!(faulty.plan().await, Err(Error::Schemas(_))));
    let hasty = Migrations::of("sqlite::memory:").patience(std::time::Duration::ZERO);
    assert!(matches!(hasty.plan().await, Err(Error::Setting { .. })));

    let nowhere = Migrations::of("sqlite:///no/such/folder/x.db").schema(schema);
    assert!(matches!(nowhere.apply().await, Err(Error::Open { .. })));
    let no_one = Migrations::of("postgres://kim@127.0.0.1:1/x").schema(schema);
    assert!(matches!(no_one.plan().await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn rows_that_were_there_can_be_written_after_a_migration() {
    let place = stored_place().await;
    let first = leak(
        tenants()
            .field(optional("plan"))
            .field(optional("host").unique()),
    );
    filled(&place, first, &[row([1.into(), "gold".into(), "a".into()])]).await;
    let second = leak(
        tenants()
            .field(optional("host").unique())
            .field(Field::of::<i64>("quota").default(3)),
    );
    migrations(&place, second)
        .allow_loss()
        .apply()
        .await
        .unwrap();

    let fixture = attached(&place, second).await.unwrap();
    let table = fixture.store.table("tenants").unwrap();
    let clash = table
        .insert(
            row([2.into(), "a".into(), 1.into()]),
            WriteOptions::default(),
        )
        .await;
    assert!(matches!(clash, Err(Error::Unique { .. })), "{clash:?}");
    let selector = Selector::primary(Value::Integer(1));
    let gone = table
        .delete(selector, WriteOptions::default())
        .await
        .unwrap();
    assert_eq!(gone, Some(row([1.into(), "a".into(), 3.into()])));
    fixture.store.close().await.unwrap();
}
