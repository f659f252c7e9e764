//! Commits that are interrupted.

use std::{
    future::Future as _,
    sync::{Mutex, mpsc},
    task::{Context, Waker},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tidings_core::{Field, Schema, Value, clock::ManualClock};

use super::*;
use crate::{
    Attachment, ChangeSink, Store, Table, settings::Settings, sqlite::engine::SqliteEngine,
    write::operation::Insert,
};

#[derive(Debug, Default)]
struct Recorder {
    committed: Mutex<usize>,
    in_doubt: Mutex<Vec<String>>,
}

impl ChangeSink for Recorder {
    fn committed(&self, _: ChangeSet) -> BoxFuture<'static, ()> {
        *self.committed.lock().unwrap() += 1;
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, changes: &ChangeSet) {
        let keys = changes.evict.iter().map(ToString::to_string);
        self.in_doubt.lock().unwrap().extend(keys);
    }
}

async fn store(
    url: &str,
    sink: &Arc<Recorder>,
    runtime: tokio::runtime::Handle,
) -> (Arc<SqliteEngine>, Table) {
    let schema = Schema::builder("rows")
        .field(Field::of::<i64>("id").primary_key())
        .build();
    let engine = Arc::new(SqliteEngine::open(url, Settings::default()).await.unwrap());
    let store = Store::over(Arc::clone(&engine) as Arc<dyn Engine>);
    let attachment = Attachment {
        schemas: vec![Box::leak(Box::new(schema))],
        sink: Arc::clone(sink) as Arc<dyn ChangeSink>,
        clock: Arc::new(ManualClock::new()),
        runtime,
    };
    store.attach(attachment).await.unwrap();
    let table = store.table("rows").unwrap();
    (engine, table)
}

/// G2: the commit is in progress when its task is dropped with its runtime.
#[tokio::test]
async fn a_commit_whose_runtime_goes_away_ends_in_doubt_and_evicts() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time() // the turn of a write has a deadline
        .build()
        .unwrap();
    let sink = Arc::new(Recorder::default());
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tidings.db", directory.path().display());
    let (engine, table) = store(&url, &sink, runtime.handle().clone()).await;

    // Blocks the commit, in the thread of the database.
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    {
        let mut writer = engine.writer().lock().await;
        let connection = writer.connection().await.unwrap();
        let mut handle = connection.lock_handle().await.unwrap();
        handle.set_commit_hook(move || {
            entered.send(()).unwrap();
            released.recv().is_ok()
        });
    }
    let mut write = Box::pin(table.insert(Row(vec![7_i64.into()]), WriteOptions::default()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(write.as_mut().poll(&mut context).is_pending());
    // Bounded: a write that failed before its commit would never enter it.
    has_entered.recv_timeout(Duration::from_secs(30)).unwrap();
    runtime.shutdown_background();
    let error = write.await.unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error:?}");
    assert_eq!(*sink.committed.lock().unwrap(), 0);
    assert_eq!(*sink.in_doubt.lock().unwrap(), ["rows@7"]);

    // It is committed in the end. The sink is notified before any other write can begin, and the
    // writer is usable.
    release.send(()).unwrap();
    let mut writer = engine.writer().lock().await;
    assert_eq!(*sink.in_doubt.lock().unwrap(), ["rows@7", "rows@7"]);
    let soon = tokio::time::Instant::now() + Duration::from_secs(30);
    writer.begin(soon).await.unwrap();
    writer.rollback().await;
    assert!(table.select(7_i64).await.unwrap().is_some());
}

#[tokio::test]
async fn a_transaction_that_was_abandoned_never_reaches_the_next_writer_or_reader() {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/tidings.db", directory.path().display());
    for url in ["sqlite::memory:", &file] {
        let sink = Arc::new(Recorder::default());
        let runtime = tokio::runtime::Handle::current();
        let (engine, table) = store(url, &sink, runtime).await;
        let abandon = async |id: i64| {
            let mut session = engine.begin().await.unwrap();
            let write = Insert(Row(vec![Value::Integer(id)]));
            let route = &table.route;
            let origin = Origin {
                no_event: false,
                cause: None,
            };
            let staged = route.stage(&mut *session, write, origin);
            let staged = staged.await;
            assert_eq!(staged.unwrap().1.map(|it| it.changes.len()), Some(1));
        };
        abandon(1).await;
        assert_eq!(table.select(1_i64).await.unwrap(), None);
        abandon(2).await;
        let row = table.insert(Row(vec![3_i64.into()]), WriteOptions::default());
        row.await.unwrap();
        assert_eq!(*sink.committed.lock().unwrap(), 1);
        let page = table.page(crate::PageQuery::default()).await.unwrap();
        assert_eq!(page.data, [Row(vec![3_i64.into()])]);
    }
}
