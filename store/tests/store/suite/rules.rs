//! The rules of a schema, when rows are stored.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Patch, Rule, Schema, Violations};
use tidings_store::{Error, Selector, Store, WriteOptions};

use super::support::{Fixture, attachment, place, places};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "plans", endpoint_key = "code", check = "is_fair")]
struct Plan {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique, immutable, secret)]
    code: String,
    #[entity(default = "it's \\ open", length(max = 20))]
    state: String,
    #[entity(default = -3)]
    level: Option<i64>,
    #[entity(default = 0.5)]
    weight: f64,
    #[entity(default = true)]
    enabled: bool,
}

/// The schema before its last fields were added.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "plans")]
struct OldPlan {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    code: String,
}

fn is_fair(plan: &Plan) -> Result<(), Violations> {
    assert_ne!(plan.id, 666, "a check function may panic");
    if plan.level == Some(13) {
        Err(Violations::check("level", "brings bad luck"))
    } else {
        Ok(())
    }
}

fn plan(id: i64, code: &str) -> Plan {
    Plan {
        id,
        code: code.to_owned(),
        state: "open".to_owned(),
        level: None,
        weight: 1.0,
        enabled: false,
    }
}

fn rules(error: Error) -> Vec<(String, Rule)> {
    match error {
        Error::Violations { violations, .. } => {
            let violations = violations.0.into_iter();
            violations.map(|it| (it.field, it.rule)).collect()
        }
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_broken_rule_is_named_and_nothing_is_stored() {
    let fixture = Fixture::with(&[Plan::schema()]).await;
    let plans = fixture.dao::<Plan>();
    plans.insert(plan(1, "a")).await.unwrap();
    fixture.sink.take();

    let long = Plan {
        state: "x".repeat(21),
        ..plan(2, "b")
    };
    let error = plans.insert(long).await.unwrap_err();
    assert_eq!(rules(error), [("state".to_owned(), Rule::Length)]);
    let error = plans
        .update(1, |row| row.level = Some(13))
        .await
        .unwrap_err();
    assert_eq!(rules(error), [("level".to_owned(), Rule::Check)]);
    let error = plans
        .update(1, |row| row.code = "z".to_owned())
        .await
        .unwrap_err();
    assert_eq!(rules(error), [("code".to_owned(), Rule::Immutable)]);
    let error = plans.insert(plan(666, "c")).await.unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error:?}");

    assert!(fixture.sink.take().is_empty());
    assert_eq!(plans.select(1).await.unwrap().unwrap().code, "a");
    plans
        .insert(plan(2, "b"))
        .await
        .expect("the writer goes on");
}

#[tokio::test]
async fn a_replaced_row_keeps_what_is_immutable_and_gets_the_defaults() {
    let fixture = Fixture::with(&[Plan::schema()]).await;
    let plans = fixture.dao::<Plan>();
    plans.insert(plan(1, "a")).await.unwrap();
    let given = Patch::new().with("weight", 2.0);
    let table = plans.table();
    let replaced = table.upsert(Selector::primary(1_i64), given, WriteOptions::default());
    let row = Plan::from_row(replaced.await.unwrap().0).unwrap();
    let expected = Plan {
        id: 1,
        code: "a".to_owned(),
        state: "it's \\ open".to_owned(),
        level: Some(-3),
        weight: 2.0,
        enabled: true,
    };
    assert_eq!(row, expected);
    assert_eq!(plans.select(1).await.unwrap(), Some(expected));
}

#[tokio::test]
async fn a_secret_is_in_no_error_and_in_no_debug_form_of_a_change() {
    let fixture = Fixture::with(&[Plan::schema()]).await;
    let plans = fixture.dao::<Plan>();
    plans.insert(plan(1, "hush-hush")).await.unwrap();
    let changes = format!("{:?}", fixture.sink.take());
    let error = plans.insert(plan(2, "hush-hush")).await.unwrap_err();
    for shown in [changes, format!("{error:?}"), error.to_string()] {
        let row = shown
            .replace("plans:hush-hush", "")
            .replace("plans@code:hush-hush", "");
        assert!(row.contains("***") && !row.contains("hush"), "{row}");
    }
}

#[tokio::test]
async fn a_table_that_lacks_a_column_with_a_default_is_given_it() {
    let places = places().await;
    let url = &places[0].url;
    let store = Store::open(url).await.unwrap();
    let old = Fixture::attach(store, &[OldPlan::schema()]).await.unwrap();
    let row = OldPlan {
        id: 1,
        code: "a".to_owned(),
    };
    old.dao::<OldPlan>().insert(row).await.unwrap();
    old.store.close().await.unwrap();

    let store = Store::open(url).await.unwrap();
    let new = Fixture::attach(store, &[Plan::schema()]).await.unwrap();
    let expected = Plan {
        id: 1,
        code: "a".to_owned(),
        state: "it's \\ open".to_owned(),
        level: Some(-3),
        weight: 0.5,
        enabled: true,
    };
    let plans = new.dao::<Plan>();
    assert_eq!(plans.select(1).await.unwrap(), Some(expected));
    new.store.close().await.unwrap();
    // A second start changes nothing.
    let store = Store::open(url).await.unwrap();
    let again = Fixture::attach(store, &[Plan::schema()]).await.unwrap();
    assert!(again.dao::<Plan>().select(1).await.unwrap().is_some());
    again.store.close().await.unwrap();
}

#[tokio::test]
async fn a_reserved_name_is_refused_before_a_table_is_made() {
    let schema: &'static Schema = Box::leak(Box::new(
        Schema::builder("things")
            .field(tidings_core::Field::of::<i64>("id").primary_key())
            .field(tidings_core::Field::of::<String>("xmin"))
            .field(tidings_core::Field::of::<String>("rowid"))
            .build(),
    ));
    let place = place().await;
    let store = Store::open(&place.url).await.unwrap();
    let sink = Default::default();
    let clock = tidings_core::clock::ManualClock::new();
    let refused = store.attach(attachment(&[schema], &sink, &clock)).await;
    match refused.unwrap_err() {
        Error::Schemas(faults) => assert_eq!(faults.0.len(), 2, "{faults}"),
        error => panic!("{error:?}"),
    }
}
