//! A store with a sink that records what it receives.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::BoxFuture;
use tidings_core::{Entity, Operation, Schema, clock::ManualClock};
use tidings_store::{Attachment, ChangeSet, ChangeSink, Dao, Error, RowChange, Store};
use tokio::runtime::Handle;

pub(crate) use super::database::{Place, place, places, stored_place};
use crate::entities::{Acl, Consumer, Credential, Grant, Invoice, Note};

/// Records what it receives.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    committed: Mutex<Vec<ChangeSet>>,
    in_doubt: Mutex<Vec<ChangeSet>>,
    /// Panic instead, once.
    pub(crate) panic: AtomicBool,
}

impl Recorder {
    pub(crate) fn committed(&self) -> MutexGuard<'_, Vec<ChangeSet>> {
        self.committed.lock().unwrap()
    }

    /// The change sets that were received since the last call.
    pub(crate) fn take(&self) -> Vec<ChangeSet> {
        std::mem::take(&mut self.committed())
    }

    /// The only change set that was received since the last call.
    pub(crate) fn take_one(&self) -> ChangeSet {
        let mut received = self.take();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.remove(0)
    }

    pub(crate) fn take_in_doubt(&self) -> Vec<ChangeSet> {
        std::mem::take(&mut self.in_doubt.lock().unwrap())
    }
}

impl ChangeSink for Recorder {
    fn committed(&self, changes: ChangeSet) -> BoxFuture<'static, ()> {
        assert!(!self.panic.swap(false, Ordering::SeqCst), "the sink panics");
        self.committed().push(changes);
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, changes: &ChangeSet) {
        self.in_doubt.lock().unwrap().push(changes.clone());
    }
}

/// A store with the tests' entities.
#[derive(Debug)]
pub(crate) struct Fixture {
    /// The place of its database, if it has one of its own.
    _place: Option<Place>,
    pub(crate) store: Store,
    pub(crate) sink: Arc<Recorder>,
    pub(crate) clock: ManualClock,
}

impl Fixture {
    /// On a database of its own.
    pub(crate) async fn new() -> Self {
        Self::with(&schemas()).await
    }

    pub(crate) async fn at(url: &str) -> Result<Self, Error> {
        let store = Store::open(url).await?;
        Self::attach(store, &schemas()).await
    }

    pub(crate) async fn with(schemas: &[&'static Schema]) -> Self {
        let place = place().await;
        let store = Store::open(&place.url).await.unwrap();
        let mut fixture = Self::attach(store, schemas).await.unwrap();
        fixture._place = Some(place);
        fixture
    }

    pub(crate) async fn attach(store: Store, schemas: &[&'static Schema]) -> Result<Self, Error> {
        let sink = Arc::new(Recorder::default());
        let clock = ManualClock::new();
        let attachment = attachment(schemas, &sink, &clock);
        store.attach(attachment).await?;
        Ok(Self {
            _place: None,
            store,
            sink,
            clock,
        })
    }

    pub(crate) fn dao<E: Entity>(&self) -> Dao<E> {
        self.store.dao().unwrap()
    }
}

pub(crate) fn attachment(
    schemas: &[&'static Schema],
    sink: &Arc<Recorder>,
    clock: &ManualClock,
) -> Attachment {
    Attachment {
        schemas: schemas.to_vec(),
        sink: Arc::clone(sink) as Arc<dyn ChangeSink>,
        clock: Arc::new(clock.clone()),
        runtime: Handle::current(),
    }
}

pub(crate) fn schemas() -> Vec<&'static Schema> {
    vec![
        Consumer::schema(),
        Credential::schema(),
        Acl::schema(),
        Grant::schema(),
        Invoice::schema(),
        Note::schema(),
    ]
}

/// A change in short form: `create consumers`.
pub(crate) fn in_short(change: &RowChange) -> String {
    format!("{} {}", change.operation, change.schema.name())
}

/// The typed rows of a change.
pub(crate) fn typed<E: Entity>(change: &RowChange) -> (Operation, E, Option<E>) {
    assert_eq!(change.schema.name(), E::NAME);
    let row = E::from_row(change.row.clone()).unwrap();
    let old_row = change.old_row.clone().map(|row| E::from_row(row).unwrap());
    (change.operation, row, old_row)
}

/// The evicted keys as text, in order.
pub(crate) fn evicted(changes: &ChangeSet) -> Vec<String> {
    let mut keys: Vec<_> = changes.evict.iter().map(ToString::to_string).collect();
    keys.sort();
    keys
}
