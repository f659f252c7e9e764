//! Ours: a store with its tables, and a sink that does nothing.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{TryStreamExt as _, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tidings_core::{Entity, Ref, Timestamp, clock::SystemClock};
use tidings_store::{Attachment, ChangeSet, ChangeSink, Dao, Error, PageQuery, Store};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{Work, name};

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "owners")]
pub(super) struct Owner {
    #[entity(primary_key, auto)]
    pub(super) id: Uuid,
    #[entity(unique)]
    pub(super) name: String,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "keys", cache_key("key"))]
pub(super) struct Key {
    #[entity(primary_key, auto)]
    pub(super) id: Uuid,
    #[entity(foreign, on_delete = "cascade")]
    pub(super) owner: Option<Ref<Owner>>,
    #[entity(unique)]
    pub(super) key: String,
    #[entity(auto_create_time)]
    pub(super) created_at: Timestamp,
}

struct Deaf;

impl ChangeSink for Deaf {
    fn committed(&self, _: ChangeSet) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &ChangeSet) {}
}

pub(super) struct Ours {
    store: Store,
    owners: Dao<Owner>,
    keys: Dao<Key>,
    next: AtomicUsize,
}

impl Ours {
    pub(super) async fn open(url: &str) -> Self {
        let store = Store::open(url).await.expect("the database opens");
        let attachment = Attachment {
            schemas: vec![Owner::schema(), Key::schema()],
            sink: Arc::new(Deaf),
            clock: Arc::new(SystemClock::new()),
            runtime: Handle::current(),
        };
        store.attach(attachment).await.expect("tables are made");
        let (owners, keys) = (store.dao(), store.dao());
        Self {
            owners: owners.expect("attached"),
            keys: keys.expect("attached"),
            store,
            next: AtomicUsize::new(0),
        }
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        self.store.close().await
    }

    fn key(&self, owner: Option<Ref<Owner>>) -> Key {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Key {
            id: Uuid::nil(),
            owner,
            key: name(number),
            created_at: Timestamp::default(),
        }
    }
}

impl Work for Ours {
    async fn select(&self, number: usize) -> u64 {
        let found = self.keys.select_by("key", name(number));
        u64::from(found.await.expect("a select").is_some())
    }

    async fn insert(&self) -> u64 {
        let made = self.keys.insert(self.key(None)).await.expect("an insert");
        made.key.len() as u64
    }

    async fn transaction(&self, rows: usize) -> u64 {
        let done = self.store.transaction(async |transaction| {
            let keys = transaction.dao::<Key>()?;
            for _ in 0..rows {
                keys.insert(self.key(None)).await?;
            }
            Ok::<_, Error>(rows as u64)
        });
        done.await.expect("a transaction")
    }

    async fn insert_many(&self, rows: usize) -> u64 {
        let rows = (0..rows).map(|_| self.key(None)).collect();
        let made = self.keys.insert_many(rows).await.expect("many rows");
        made.len() as u64
    }

    async fn stream(&self) -> u64 {
        let mut stream = pin!(self.keys.stream(PageQuery::new()));
        let mut rows = 0;
        while let Some(row) = stream.try_next().await.expect("a page") {
            rows += u64::from(!row.key.is_empty());
        }
        rows
    }

    async fn plant(&self, rows: usize) {
        let owner = Owner {
            id: Uuid::nil(),
            name: "owner".to_owned(),
        };
        let owner = self.owners.insert(owner).await.expect("an owner");
        let keys = (0..rows).map(|_| self.key(Some(Ref::to(&owner))));
        let planted = self.keys.insert_many(keys.collect()).await;
        planted.expect("keys");
    }

    async fn fell(&self) -> u64 {
        let deleted = self.owners.delete_by("name", "owner").await;
        u64::from(deleted.expect("a delete").is_none())
    }
}
