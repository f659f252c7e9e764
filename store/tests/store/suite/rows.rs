//! Reading and writing rows.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tidings_core::{Entity, Field, Patch, Ref, Timestamp, Value};
use tidings_store::{Error, PageQuery, Selector, Upserted, WriteOptions};
use uuid::Uuid;

use super::support::Fixture;
use crate::entities::{Acl, Consumer, Credential, acl, consumer, credential};

/// DA8
#[tokio::test]
async fn a_row_is_selected_updated_upserted_and_deleted_by_a_unique_field() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    assert_eq!(
        consumers.select_by("username", "bob").await.unwrap(),
        Some(bob.clone())
    );
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob.clone()));
    assert_eq!(
        consumers.select_by("id", bob.id.to_string()).await.unwrap(),
        Some(bob.clone())
    );
    assert_eq!(consumers.select_by("username", "eve").await.unwrap(), None);

    let renamed = consumers
        .update_by("username", "bob", |row| {
            row.username = Some("rob".to_owned())
        })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(renamed.id, bob.id);
    assert_eq!(consumers.select_by("username", "bob").await.unwrap(), None);

    let (replaced, upserted) = consumers
        .upsert_by("username", "rob", Consumer::default())
        .await
        .unwrap();
    assert_eq!((replaced.id, upserted), (bob.id, Upserted::Replaced));

    let deleted = consumers.delete_by("username", "rob").await.unwrap();
    assert_eq!(deleted, Some(replaced));
    assert_eq!(consumers.delete_by("username", "rob").await.unwrap(), None);
    assert_eq!(consumers.delete(bob.id).await.unwrap(), None);
}

/// DA8
#[tokio::test]
async fn a_unique_conflict_names_the_fields_and_the_values() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let eve = consumers.insert(consumer("eve")).await.unwrap();
    let assert_clash = |error: Error, field: &str, value: Value| match error {
        Error::Unique {
            entity,
            fields,
            values,
        } => {
            assert_eq!(
                (entity.as_str(), fields),
                ("consumers", vec![field.to_owned()])
            );
            assert_eq!(values, [value]);
        }
        error => panic!("{error:?}"),
    };
    let error = consumers.insert(consumer("bob")).await.unwrap_err();
    assert_clash(error, "username", "bob".into());
    let same_id = Consumer {
        id: bob.id,
        ..consumer("new")
    };
    let error = consumers.insert(same_id).await.unwrap_err();
    assert_clash(error, "id", Value::Uuid(bob.id));
    let error = consumers
        .update(eve.id, |row| row.username = Some("bob".to_owned()))
        .await
        .unwrap_err();
    assert_clash(error, "username", "bob".into());
    let second = Consumer {
        custom_id: Some("x".to_owned()),
        ..consumer("eve")
    };
    consumers
        .upsert_by("username", "eve", second)
        .await
        .unwrap();
    let third = Consumer {
        custom_id: Some("x".to_owned()),
        ..Consumer::default()
    };
    let upsert = consumers.upsert_by("username", "mallory", third);
    assert_clash(upsert.await.unwrap_err(), "custom_id", "x".into());

    let acls = fixture.dao::<Acl>();
    acls.insert(acl(&bob, "a")).await.unwrap();
    acls.insert(acl(&eve, "a")).await.unwrap();
    match acls.insert(acl(&bob, "a")).await.unwrap_err() {
        Error::Unique { fields, values, .. } => {
            assert_eq!(fields, ["consumer", "group"]);
            assert_eq!(values, [Value::Uuid(bob.id), "a".into()]);
        }
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn absent_values_of_a_unique_field_do_not_clash() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    consumers.insert(consumer("bob")).await.unwrap();
    consumers.insert(consumer("eve")).await.unwrap();
    // Both lack a custom_id.
    assert!(matches!(
        consumers.select_by("custom_id", Value::Null).await,
        Ok(None)
    ));
}

#[tokio::test]
async fn a_reference_to_nothing_names_the_field_and_the_value() {
    let fixture = Fixture::new().await;
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let nobody = Consumer {
        id: Uuid::from_u128(7),
        ..consumer("nobody")
    };
    let assert_missing = |error: Error| match error {
        Error::ForeignKey {
            entity,
            field,
            references,
            value,
        } => {
            assert_eq!(entity, "keyauth_credentials");
            assert_eq!(
                (field.as_str(), references.as_str()),
                ("consumer", "consumers")
            );
            assert_eq!(value, Value::Uuid(nobody.id));
        }
        error => panic!("{error:?}"),
    };
    let credentials = fixture.dao::<Credential>();
    assert_missing(
        credentials
            .insert(credential(&nobody, "k"))
            .await
            .unwrap_err(),
    );
    let stored = credentials.insert(credential(&bob, "k")).await.unwrap();
    let id = nobody.id;
    let moved = credentials.update(stored.id, move |row| row.consumer = Some(Ref::new(id)));
    assert_missing(moved.await.unwrap_err());
    assert_eq!(credentials.select(stored.id).await.unwrap(), Some(stored));
}

/// SC11
#[tokio::test]
async fn ids_texts_and_times_are_made() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    assert!(!bob.id.is_nil());
    assert_eq!(bob.created_at, Timestamp::from_unix(1_700_000_000));
    assert_eq!(bob.updated_at, bob.created_at);
    let without_key = Credential {
        key: None,
        ..credential(&bob, "")
    };
    let made: Credential = fixture.dao().insert(without_key).await.unwrap();
    assert_eq!(made.key.map(|key| key.len()), Some(32));

    fixture.clock.advance(Duration::from_secs(9));
    let consumers = fixture.dao::<Consumer>();
    let later = consumers
        .update(bob.id, |row| row.custom_id = Some("b".to_owned()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(later.created_at, bob.created_at);
    assert_eq!(later.updated_at.as_unix(), bob.updated_at.as_unix() + 9);
}

/// SC12
#[tokio::test]
async fn required_is_checked_on_insert_and_not_on_a_partial_update() {
    let fixture = Fixture::new().await;
    let credentials = fixture.dao::<Credential>();
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let lost = Credential {
        consumer: None,
        ..credential(&bob, "k")
    };
    let error = credentials.insert(lost).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "schema violation in keyauth_credentials: consumer: required field missing"
    );
    let row = credentials.insert(credential(&bob, "k")).await.unwrap();
    let table = credentials.table();
    let patch = Patch::new().with("tags", Value::Set(["a".to_owned()].into()));
    let selector = Selector::primary(row.id);
    let updated = table.update(selector, patch, WriteOptions::default());
    assert!(updated.await.unwrap().is_some());
    let cleared = credentials.update(row.id, |row| row.consumer = None).await;
    assert!(matches!(cleared, Err(Error::Violations { .. })));
}

#[tokio::test]
async fn a_primary_key_cannot_be_changed() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let moved = consumers
        .update(bob.id, |row| row.id = Uuid::from_u128(1))
        .await;
    assert!(matches!(moved, Err(Error::Violations { .. })), "{moved:?}");
    let other = Consumer {
        id: Uuid::from_u128(1),
        ..Consumer::default()
    };
    let replaced = consumers.upsert_by("username", "bob", other).await;
    assert!(
        matches!(replaced, Err(Error::Violations { .. })),
        "{replaced:?}"
    );
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
}

/// DA7
#[tokio::test]
async fn a_row_is_selected_by_a_composite_cache_key_with_a_foreign_part() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let acls = fixture.dao::<Acl>();
    let row = acls.insert(acl(&bob, "admins")).await.unwrap();
    acls.insert(acl(&bob, "users")).await.unwrap();
    let id = bob.id.to_string();
    let found = acls.select_by_cache_key(&[id.as_str(), "admins"]).await;
    assert_eq!(found.unwrap(), Some(row.clone()));
    let found = acls.select_by_cache_key(&[id.as_str(), "nobody"]).await;
    assert_eq!(found.unwrap(), None);
    let key = acls.cache_key(&[id.as_str(), "admins"]).unwrap();
    assert_eq!(key, acls.cache_key_of(&row));
    assert_eq!(key.as_str(), format!("acls:{id}:admins"));
    let none = acls.select_by_cache_key(&[Value::Null, Value::Null]).await;
    assert_eq!(none.unwrap(), None);
    let too_few = acls.cache_key(&["admins"]).unwrap_err();
    assert!(matches!(
        too_few,
        Error::KeyParts {
            expected: 2,
            given: 1,
            ..
        }
    ));
    let too_few = acls.select_by_cache_key(&["admins"]).await.unwrap_err();
    assert!(matches!(too_few, Error::KeyParts { .. }));
}

#[tokio::test]
async fn an_upsert_makes_anew_or_clears_what_it_is_not_given() {
    let fixture = Fixture::new().await;
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let credentials = fixture.dao::<Credential>();
    let tagged = Credential {
        tags: Some(["a".to_owned()].into()),
        ..credential(&bob, "first")
    };
    let row = credentials.insert(tagged).await.unwrap();
    fixture.clock.advance(Duration::from_secs(5));
    let given = Credential {
        id: row.id,
        key: None,
        ..credential(&bob, "")
    };
    let (replaced, upserted) = credentials.upsert(given).await.unwrap();
    assert_eq!(upserted, Upserted::Replaced);
    assert_eq!((replaced.id, replaced.created_at), (row.id, row.created_at));
    assert_eq!(replaced.tags, None);
    let key = replaced.key.unwrap();
    assert_eq!(key.len(), 32);
}

#[tokio::test]
async fn a_selectors_further_conditions_are_met_or_the_row_is_as_good_as_absent() {
    let fixture = Fixture::new().await;
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();
    let eve: Consumer = fixture.dao().insert(consumer("eve")).await.unwrap();
    let credentials = fixture.dao::<Credential>();
    let row = credentials.insert(credential(&bob, "k")).await.unwrap();
    let of = |consumer: &Consumer| Selector::by("key", "k").and("consumer", consumer.id);
    let table = credentials.table();
    assert!(table.select_where(of(&bob)).await.unwrap().is_some());
    assert!(table.select_where(of(&eve)).await.unwrap().is_none());
    let options = WriteOptions::default();
    let deleted = credentials.delete_with(of(&eve), options).await;
    assert_eq!(deleted.unwrap(), None);
    let updated = credentials
        .update_with(of(&eve), |_| panic!(), options)
        .await;
    assert_eq!(updated.unwrap(), None);
    let given = Credential {
        consumer: None,
        ..credential(&eve, "k")
    };
    let upserted = credentials
        .upsert_with(of(&eve), given.clone(), options)
        .await;
    assert!(matches!(upserted, Err(Error::Condition { ref field, .. }) if field == "consumer"));
    // The created row meets the conditions, regardless of the given values.
    let selector = Selector::by("key", "new").and("consumer", eve.id);
    let (created, _) = credentials
        .upsert_with(selector, given, options)
        .await
        .unwrap();
    assert_eq!(created.consumer, Some(Ref::to(&eve)));
    assert_eq!(created.key.as_deref(), Some("new"));
    assert_eq!(credentials.select(row.id).await.unwrap(), Some(row));
}

#[tokio::test]
async fn a_faulty_selector_says_what_is_wrong() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let error = consumers.select_by("nmae", "bob").await.unwrap_err();
    assert_eq!(error.to_string(), "consumers has no field nmae");
    let error = consumers.select_by("created_at", 7_i64).await.unwrap_err();
    assert!(matches!(error, Error::NotUnique { .. }), "{error:?}");
    let error = consumers.select_by("id", "bob").await.unwrap_err();
    assert_eq!(error.to_string(), "id of consumers: expected a valid UUID");
    let error = consumers.delete_by("username", 7_i64).await.unwrap_err();
    assert!(matches!(error, Error::WrongKind { .. }), "{error:?}");

    let table = consumers.table();
    let named = |patch: Patch| {
        let selector = Selector::by("username", "bob");
        table.update(selector, patch, WriteOptions::default())
    };
    let error = named(Patch::new().with("usrname", "eve"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "consumers has no field usrname");
    let unmet = Selector::by("username", "bob").and("usrname", "bob");
    let error = table.select_where(unmet).await.unwrap_err();
    assert_eq!(error.to_string(), "consumers has no field usrname");
    let filtered = PageQuery::new().filter("usrname", "bob");
    let error = consumers.page(filtered).await.unwrap_err();
    assert_eq!(error.to_string(), "consumers has no field usrname");
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "memos")]
struct Memo {
    #[entity(primary_key)]
    id: String,
    text: String,
}

#[tokio::test]
async fn text_of_any_content_comes_back_as_it_was() {
    let fixture = Fixture::with(&[Memo::schema()]).await;
    let memos = fixture.dao::<Memo>();
    let longest = "\u{1F980}".repeat(Field::KEY_LENGTH / 4);
    let long = "\u{1F980}".repeat(1 << 18);
    let keys = [
        "'; DROP TABLE memos; --",
        "\"quoted\" and \\ back",
        "?1 $1 :a @b %_",
        "\u{202E}right to left \u{FFFF}",
        &longest,
    ];
    let texts = ["'\"?", " line\nbreak\ttab\u{1} ", "%", "\u{FFFF}", &long];
    for (key, text) in keys.into_iter().zip(texts) {
        let memo = Memo {
            id: key.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(memos.insert(memo.clone()).await.unwrap(), memo);
        assert_eq!(memos.select(key.to_owned()).await.unwrap(), Some(memo));
    }
    for key in keys {
        assert!(memos.delete(key.to_owned()).await.unwrap().is_some());
        assert!(memos.select(key.to_owned()).await.unwrap().is_none());
    }
    for key in [" a", "a\n", &long] {
        let memo = Memo {
            id: key.to_owned(),
            text: "t".to_owned(),
        };
        let refused = memos.insert(memo).await;
        assert!(matches!(refused, Err(Error::Violations { .. })), "{key:?}");
    }
}

/// D3: a value that the typed handle leaves to be generated is stored as given through the untyped
/// one.
#[tokio::test]
async fn a_nil_key_that_was_given_is_stored() {
    let fixture = Fixture::new().await;
    let table = fixture.dao::<Consumer>().table().clone();
    let nil = Value::Uuid(Uuid::nil());
    let row = |name: &str| Patch::new().with("username", name);
    for name in ["a", "b"] {
        let selector = Selector::primary(nil.clone());
        let written = table.upsert(selector, row(name), WriteOptions::default());
        let (stored, _) = written.await.unwrap();
        assert_eq!((&stored.0[0], &stored.0[1]), (&nil, &name.into()));
    }
    let made = fixture.dao().insert(consumer("c")).await.unwrap();
    assert!(!made.id.is_nil());
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "kinds")]
struct Kinds {
    #[entity(primary_key)]
    id: i64,
    boolean: bool,
    narrow: i32,
    wide: Option<i64>,
    number: f64,
    uuid: Option<Uuid>,
    time: Timestamp,
    set: BTreeSet<String>,
    json: Option<Json>,
}

#[tokio::test]
async fn values_of_every_kind_come_back_as_they_were() {
    let fixture = Fixture::with(&[Kinds::schema()]).await;
    let kinds = fixture.dao::<Kinds>();
    let bare = Kinds {
        id: i64::MIN,
        boolean: false,
        narrow: i32::MIN,
        wide: None,
        number: 5.0,
        uuid: None,
        time: Timestamp::from_unix(i64::MAX),
        set: BTreeSet::new(),
        json: None,
    };
    let full = Kinds {
        id: i64::MAX,
        boolean: true,
        narrow: i32::MAX,
        wide: Some(i64::MIN),
        number: 0.1 + 0.2,
        uuid: Some(Uuid::max()),
        time: Timestamp::from_unix(-1),
        set: ["a".to_owned(), "[\"b\", ".to_owned()].into(),
        json: Some(json!({"a": [1, 0.1, -3.402_823_466e38, null, true], "": "\u{1F980}\""})),
    };
    for row in [bare, full] {
        assert_eq!(kinds.insert(row.clone()).await.unwrap(), row);
        assert_eq!(kinds.select(row.id).await.unwrap(), Some(row.clone()));
        let page = kinds.page(Default::default()).await.unwrap();
        assert_eq!(page.data.last(), Some(&row));
    }
    let infinite = kinds.update(i64::MAX, |row| row.number = f64::NAN).await;
    assert!(
        matches!(infinite, Err(Error::Violations { .. })),
        "{infinite:?}"
    );
}
