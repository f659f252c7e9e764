//! Optimistic locking: writes that expect a version.

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Schema};
use tidings_store::{Error, ErrorKind, Migrations, Selector, Upserted, WriteOptions};

use super::support::{Fixture, stored_place};
use crate::entities::{Consumer, Note, consumer};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "pages")]
struct Page {
    #[entity(primary_key)]
    id: i64,
    text: String,
    #[entity(foreign, on_delete = "set_null")]
    author: Option<Ref<Consumer>>,
    #[entity(version)]
    version: i64,
}

fn page(id: i64, text: &str) -> Page {
    Page {
        id,
        text: text.to_owned(),
        author: None,
        version: 0,
    }
}

fn schemas() -> [&'static Schema; 2] {
    [Consumer::schema(), Page::schema()]
}

#[tokio::test]
async fn each_write_counts_the_version_up() {
    let fixture = Fixture::with(&schemas()).await;
    let pages = fixture.dao::<Page>();
    let bob = fixture.dao().insert(consumer("bob")).await.unwrap();

    let made = pages
        .insert(Page {
            version: 9,
            ..page(1, "a")
        })
        .await
        .unwrap();
    assert_eq!(
        made.version, 1,
        "a new row is at its first version, whatever is given"
    );
    let many = pages
        .insert_many(vec![page(2, "a"), page(3, "a")])
        .await
        .unwrap();
    assert_eq!(many[1].version, 1);
    let changed = pages.update(1, move |page| {
        page.author = Some(Ref::to(&bob));
        page.version = 70;
    });
    assert_eq!(changed.await.unwrap().unwrap().version, 2);
    let (replaced, how) = pages
        .upsert(Page {
            version: 1,
            author: changed_author(&fixture).await,
            ..page(1, "b")
        })
        .await
        .unwrap();
    assert_eq!((replaced.version, how), (3, Upserted::Replaced));

    // A write of a cascade counts too.
    fixture
        .dao::<Consumer>()
        .delete(bob_id(&fixture).await)
        .await
        .unwrap();
    let cleared = pages.select(1).await.unwrap().unwrap();
    assert_eq!((cleared.version, cleared.author), (4, None));
    assert_eq!(pages.select(2).await.unwrap().unwrap().version, 1);
}

async fn bob_id(fixture: &Fixture) -> uuid::Uuid {
    let bob = fixture.dao::<Consumer>().select_by("username", "bob").await;
    bob.unwrap().unwrap().id
}

async fn changed_author(fixture: &Fixture) -> Option<Ref<Consumer>> {
    Some(Ref::new(bob_id(fixture).await))
}

#[tokio::test]
async fn a_write_that_expects_another_version_is_refused_and_changes_nothing() {
    let fixture = Fixture::with(&schemas()).await;
    let pages = fixture.dao::<Page>();
    let first = pages.insert(page(1, "a")).await.unwrap();
    let second = pages.update_at(1, first.version, |page| page.text = "b".to_owned());
    let second = second.await.unwrap().unwrap();
    fixture.sink.take();

    let refused = [
        pages
            .update_at(1, first.version, |page| page.text = "c".to_owned())
            .await,
        pages.replace_at(first.version, page(1, "c")).await,
        pages.delete_at(1, first.version).await,
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, Error::Changed { entity } if entity == "pages"),
            "{error:?}"
        );
        assert_eq!(
            (error.kind(), error.kind().status()),
            (ErrorKind::Changed, 412)
        );
    }
    let stale = || Selector::primary(1_i64).version(first.version);
    let upserted = pages
        .upsert_with(stale(), page(1, "c"), WriteOptions::default())
        .await;
    assert!(
        matches!(upserted, Err(Error::Changed { .. })),
        "{upserted:?}"
    );
    let read = pages.select_where(stale()).await;
    assert!(matches!(read, Err(Error::Changed { .. })), "{read:?}");
    assert_eq!(pages.select(1).await.unwrap(), Some(second.clone()));
    assert_eq!(fixture.sink.take().len(), 0, "nothing was told");

    // For a deleted row there is nothing to change, and a write with a version creates nothing.
    assert_eq!(pages.update_at(2, 1, |_| ()).await.unwrap(), None);
    let gone = Selector::primary(2_i64).version(1);
    let upserted = pages
        .upsert_with(gone, page(2, "c"), WriteOptions::default())
        .await;
    assert!(
        matches!(upserted, Err(Error::Changed { .. })),
        "{upserted:?}"
    );

    let third = pages
        .replace_at(second.version, page(1, "c"))
        .await
        .unwrap();
    let third = third.unwrap();
    assert_eq!((third.version, third.text.as_str()), (3, "c"));
    assert_eq!(pages.delete_at(1, 3).await.unwrap(), Some(third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_expect_one_version_one_succeeds() {
    let place = stored_place().await;
    let store = tidings_store::Store::open(&place.url).await.unwrap();
    let fixture = Fixture::attach(store, &schemas()).await.unwrap();
    let pages = fixture.dao::<Page>();
    pages.insert(page(1, "a")).await.unwrap();
    for version in 1..=10 {
        let writers = (0..8).map(|writer| {
            let write = pages.update_at(1, version, move |page| page.text = format!("w{writer}"));
            tokio::spawn(write)
        });
        let mut written = 0;
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(Some(page)) => {
                    assert_eq!(page.version, version + 1);
                    written += 1;
                }
                Err(Error::Changed { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(written, 1);
    }
    fixture.store.close().await.unwrap();
}

#[tokio::test]
async fn entities_without_a_version_say_so() {
    let fixture = Fixture::new().await;
    let notes = fixture.dao::<Note>();
    let error = notes.update_at(1, 1, |_| ()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unversioned { entity } if entity == "notes"),
        "{error:?}"
    );
    assert!(error.to_string().contains("#[entity(version)]"), "{error}");
    let error = notes.delete_at(1, 1).await.unwrap_err();
    assert!(matches!(error, Error::Unversioned { .. }), "{error:?}");
}

/// Older rows have the first version; other programs need not set it.
#[tokio::test]
async fn a_table_of_before_is_given_the_column() {
    let place = stored_place().await;
    tidings_store::Store::open(&place.url)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    place
        .run("CREATE TABLE counted (id bigint PRIMARY KEY, text text)")
        .await;
    place
        .run("INSERT INTO counted (id, text) VALUES (1, 'a')")
        .await;
    let schema = Schema::builder("counted")
        .field(tidings_core::Field::of::<i64>("id").primary_key())
        .field(tidings_core::Field::of::<Option<String>>("text"))
        .field(tidings_core::Field::of::<i64>("version").auto(tidings_core::Auto::Version))
        .build();
    let schema: &'static Schema = Box::leak(Box::new(schema));
    let store = tidings_store::Store::open(&place.url).await.unwrap();
    let fixture = Fixture::attach(store, &[schema]).await.unwrap();
    place
        .run("INSERT INTO counted (id, text) VALUES (2, 'b')")
        .await;
    let table = fixture.store.table("counted").unwrap();
    for id in [1_i64, 2] {
        let patch = tidings_core::Patch::default();
        let at = Selector::primary(id).version(1);
        let updated = table
            .update(at, patch, WriteOptions::default())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(updated.0[2], 2.into());
    }
    fixture.store.close().await.unwrap();
    let left = Migrations::of(&place.url)
        .schema(schema)
        .plan()
        .await
        .unwrap();
    assert!(
        left.changes.is_empty() && left.obstacles.is_empty(),
        "{left}"
    );
}
