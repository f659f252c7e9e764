//! Writes of the store itself, and of an application's own SQL beside it.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tidings_core::{
    CrudEvent, Entity, Operation, Ref, Schema,
    clock::SystemClock,
    log::{Announce, Extent},
};
use tidings_store::{
    Attachment, ChangeSet, ChangeSink, Logging, Selector, Store, WriteOptions,
    outbox::{self, OutboxError},
};

use crate::{
    reader::{ReadItem, Reader},
    support::{Database, log_of},
};

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "owners")]
pub(crate) struct Owner {
    #[entity(primary_key)]
    pub(crate) id: i64,
    #[entity(unique)]
    pub(crate) name: String,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "things", cache_key("name"))]
struct Thing {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    name: String,
    #[entity(foreign, on_delete = "cascade")]
    owner: Ref<Owner>,
}

/// Keeps the change sets that it receives.
#[derive(Default)]
struct Heard(Mutex<Vec<ChangeSet>>);

impl ChangeSink for Heard {
    fn committed(&self, changes: ChangeSet) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(changes);
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}

fn schemas() -> Vec<&'static Schema> {
    vec![Owner::schema(), Thing::schema()]
}

/// A store of a file with the tables of this module.
pub(crate) async fn store_at(url: &str, logging: Logging) -> Store {
    let store = Store::options(url).logging(logging).open().await;
    let store = store.expect("a store");
    attach(&store, Arc::default()).await;
    store
}

async fn attach(store: &Store, sink: Arc<Heard>) {
    let attached = store.attach(Attachment {
        schemas: schemas(),
        sink,
        clock: Arc::new(SystemClock::new()),
        runtime: tokio::runtime::Handle::current(),
    });
    attached.await.expect("attached");
}

async fn attached(database: &Database) -> (Store, Arc<Heard>, Reader) {
    let store = database.store(Logging::On).await;
    let heard = Arc::new(Heard::default());
    attach(&store, Arc::clone(&heard)).await;
    let reader = Reader::over(log_of(&store, schemas())).await;
    (store, heard, reader)
}

#[tokio::test]
async fn records_of_one_write_have_one_mark_which_the_store_names() {
    let database = Database::with("");
    let (store, heard, mut reader) = attached(&database).await;
    let (owners, things) = (store.dao::<Owner>().unwrap(), store.dao::<Thing>().unwrap());
    let owner = owners
        .insert(Owner {
            id: 1,
            name: "ann".to_owned(),
        })
        .await
        .unwrap();
    for id in 1..=3 {
        let thing = Thing {
            id,
            name: format!("t{id}"),
            owner: Ref::to(&owner),
        };
        things.insert(thing).await.unwrap();
    }
    let _ = reader.all().await;
    owners.delete(1).await.unwrap();

    let sets = std::mem::take(&mut *heard.0.lock().unwrap());
    let commit = sets.last().unwrap().commit.expect("a name");
    let mark = reader.log.mark(commit).expect("a mark");
    // Split into pages, it is covered once its last record is read.
    reader.limit = 2;
    assert!(!reader.cursor.covers(mark));
    let (first, extent) = reader.page().await;
    assert_eq!(extent, Extent::More);
    assert!(!reader.cursor.covers(mark));
    let rest = reader.all().await;
    assert!(reader.cursor.covers(mark));
    for received in first.iter().chain(&rest) {
        assert!(
            matches!(received, ReadItem::Row(of, _) if *of == mark),
            "{received:?}"
        );
    }
    assert_eq!(first.len() + rest.len(), 4);
    let key = tidings_core::PrimaryKey::from(2_i64);
    let group = reader.log.group(mark, "things", &key).await.unwrap();
    let group = group.expect("it is there").rows;
    assert_eq!(group.len(), 1);
    assert_eq!(group[0].operation, Operation::Delete);

    // A commit that the log has lost, because the file was restored.
    let lost = mark.with_id(uuid::Uuid::from_u128(7));
    let group = reader.log.group(lost, "things", &key).await.unwrap();
    assert!(group.is_none(), "it is another commit's");
}

#[tokio::test]
async fn the_node_and_silence_are_written_to_the_records_of_the_write() {
    let database = Database::with("");
    let (store, _, mut reader) = attached(&database).await;
    let owners = store.dao::<Owner>().unwrap();
    let made = Owner {
        id: 1,
        name: "ann".to_owned(),
    };
    owners.insert(made).await.unwrap();
    owners
        .delete_with(Selector::primary(1_i64), WriteOptions::silent())
        .await
        .unwrap();
    let announced: Vec<_> = reader
        .all()
        .await
        .iter()
        .map(|received| match received {
            ReadItem::Row(_, row) => row.announce,
            ReadItem::Entity(_) => panic!("{received:?}"),
        })
        .collect();
    assert_eq!(announced, [Announce::Event, Announce::Silent]);
    assert_eq!(
        database.sqlite3("SELECT DISTINCT origin FROM tidings_log WHERE kind IN ('c', 'd');"),
        "one\n"
    );
}

#[tokio::test]
async fn a_write_whose_trigger_is_missing_tells_of_the_whole_entity() {
    let database = Database::with("");
    let (store, _, mut reader) = attached(&database).await;
    database.sqlite3("DROP TRIGGER \"tidings:after_insert:owners\";");
    let owners = store.dao::<Owner>().unwrap();
    owners
        .insert(Owner {
            id: 1,
            name: "ann".to_owned(),
        })
        .await
        .unwrap();
    let received = reader.operations().await;
    assert!(
        received.contains(&"touched owners".to_owned()),
        "{received:?}"
    );
    assert!(!reader.log.capture().is_in_place());
}

#[tokio::test]
async fn changes_recorded_by_ones_own_sql_are_told_and_rolled_back_with_it() {
    let database = Database::with("CREATE TABLE parts (id INTEGER);");
    let options = SqliteConnectOptions::new().filename(database.path());
    let mut connection = options.connect().await.unwrap();
    let event = CrudEvent::created(Owner {
        id: 9,
        name: "eve".to_owned(),
    });
    let mut transaction = connection.begin().await.unwrap();
    let refused = outbox::record(&mut transaction, &event).await;
    assert!(matches!(refused, Err(OutboxError::NoLog)), "{refused:?}");
    transaction.rollback().await.unwrap();

    let (_store, _, mut reader) = attached(&database).await;
    for end in ["rollback", "commit"] {
        let mut transaction = connection.begin().await.unwrap();
        outbox::record(&mut transaction, &event).await.unwrap();
        let old = Owner {
            id: 9,
            name: "eve".to_owned(),
        };
        let new = Owner {
            id: 9,
            name: "eva".to_owned(),
        };
        outbox::record(&mut transaction, &CrudEvent::updated(old, new))
            .await
            .unwrap();
        match end {
            "commit" => transaction.commit().await.unwrap(),
            _ => transaction.rollback().await.unwrap(),
        }
    }
    let received = reader.changes(Owner::schema()).await;
    let names: Vec<_> = received
        .iter()
        .map(|change| {
            (
                change.operation,
                crate::reader::text(change.new.as_ref(), 1),
            )
        })
        .collect();
    assert_eq!(
        names,
        [(Operation::Create, Some("eva".to_owned()))],
        "one transaction"
    );
}
