//! No statement scans a table, and a name may be any word of SQL.

use sqlx::{AssertSqlSafe, Row as _};
use tidings_core::{Field, Foreign, OnDelete, OnUpdate};

use super::*;
use crate::{
    page::{After, Condition, Shape, TagMatch, TagShape},
    sqlite::{dialect::Sqlite, location::Location},
    write::catalog::Catalog,
};

/// Returns two entities with everything that a schema can declare.
fn schemas() -> [&'static Schema; 2] {
    let parents = Schema::builder("parents")
        .field(Field::of::<String>("id").primary_key())
        .field(Field::of::<Option<String>>("name").unique())
        .build();
    let children = Schema::builder("children")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<Option<String>>("parent").refers_to(Foreign {
            entity: "parents".to_owned(),
            key: "id".to_owned(),
            on_delete: OnDelete::Cascade,
            on_update: OnUpdate::Evict,
        }))
        .field(Field::of::<Option<String>>("select"))
        .field(Field::of::<Option<std::collections::BTreeSet<String>>>(
            "tags",
        ))
        .cache_key(&["parent", "select"])
        .unique_together(&["select", "id"])
        .build();
    [Box::leak(Box::new(parents)), Box::leak(Box::new(children))]
}

#[tokio::test]
async fn every_statement_but_a_filter_without_index_is_answered_from_one() {
    let schemas = schemas();
    let mut connection = Location::Memory.connect().await.unwrap();
    lay_out(&mut connection, &schemas).await.unwrap();
    let catalog = Catalog::of(&Sqlite, &schemas);
    let mut statements = Vec::new();
    // These find the rows of several parents by an index, and then sort them.
    let mut sorted = Vec::new();
    for entity in 0..schemas.len() {
        let stored = catalog.get(entity);
        let own = &stored.statements;
        statements.extend([&own.update, &own.delete].map(ToString::to_string));
        statements.extend(own.unique.iter().map(|unique| unique.plain.to_string()));
        for child in &stored.children {
            let pages = [&child.referring, &child.touched].map(|it| [&it.first, &it.next]);
            sorted.extend(pages.as_flattened().iter().map(ToString::to_string));
            statements.extend([&child.restricting, &child.delete].map(ToString::to_string));
        }
    }
    let nested = |after: After| Shape {
        filter: vec![(1, Condition::Value), (2, Condition::Absent)],
        tags: None,
        order: None,
        after,
    };
    statements.extend(
        [After::Nothing, After::Value].map(|after| catalog.get(1).page(&nested(after)).to_string()),
    );
    for sql in statements.iter().chain(&sorted) {
        let plan = plan(&mut connection, sql).await;
        let works = |step: &String| {
            !step.contains("SCAN parents")
                && !step.contains("SCAN children")
                && !step.contains("(id>?)")
                && (sorted.contains(sql) || !step.contains("TEMP B-TREE FOR ORDER BY"))
        };
        assert!(
            !plan.is_empty() && plan.iter().all(works),
            "{sql}\n{plan:#?}"
        );
    }
    // The test detects a scan.
    let tagged = Shape {
        filter: vec![],
        tags: Some(TagShape {
            field: 3,
            matching: TagMatch::All,
        }),
        order: None,
        after: After::Nothing,
    };
    let scan = plan(&mut connection, &catalog.get(1).page(&tagged)).await;
    assert!(scan[0].contains("SCAN children"), "{scan:#?}");
}

async fn plan(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let steps = sqlx::query(sql).fetch_all(connection).await.unwrap();
    steps.iter().map(|step| step.get(3)).collect()
}

#[tokio::test]
async fn names_that_are_words_of_sql_are_only_names() {
    let schemas = schemas();
    let mut connection = Location::Memory.connect().await.unwrap();
    lay_out(&mut connection, &schemas).await.unwrap();
    lay_out(&mut connection, &schemas).await.unwrap();
    let made = sqlx::query("SELECT name FROM sqlite_schema WHERE name LIKE '%:%' ORDER BY name")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let made: Vec<String> = made.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        made,
        [
            "foreign:children(parent,id)",
            "key:children(parent,select)",
            "unique:children(select,id)",
            "unique:parents(name)",
        ]
    );
}
