//! A transaction that is larger than a page.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_cache::Cache;
use tidings_core::{
    Field, Row, Schema,
    clock::SystemClock,
    entropy::SystemEntropy,
    log::{Batch, Extent, Log, Read},
    spawn::CurrentRuntime,
};

use super::*;
use crate::{
    announce::{Announce, Handling, Quiet},
    intake::Intake,
    kit::{Durability, Form, MemoryLog, ModelStore, Writing},
    node::{parts::Parts, protocol::Protocol},
    settings::ClusterSettings,
};

const ROWS: i64 = 400;
const PAGE: usize = 10;

pub(in crate::node) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        Schema::builder("flags")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<i64>("version"))
            .build()
    })
}

/// Counts the changes and gaps that it receives.
#[derive(Debug, Default)]
pub(in crate::node) struct Counting {
    changes: AtomicUsize,
    gaps: AtomicUsize,
}

impl Announce for Arc<Counting> {
    fn announce(&self, change: Change) -> Handling {
        assert_eq!(change.operation, tidings_core::Operation::Create);
        assert_eq!(change.row.0[1], 2_i64.into(), "the last of its versions");
        self.changes.fetch_add(1, Ordering::SeqCst);
        std::future::ready(()).boxed()
    }

    fn event(&self, _: &Posted, _: Cause) -> Handling {
        std::future::ready(()).boxed()
    }

    fn gap(&self, _: &Gap) {
        self.gaps.fetch_add(1, Ordering::SeqCst);
    }

    fn listens(&self, _: &str) -> bool {
        true
    }
}

/// Makes a node whose own tasks find nothing to do, because its log is another one.
pub(in crate::node) fn idle(log: MemoryLog, told: &Arc<Counting>) -> Protocol {
    let settings = ClusterSettings::new().poll(Duration::from_secs(60));
    let clock = Arc::new(SystemClock::new());
    Protocol::assemble(Parts {
        node: "a".into(),
        intake: Intake::new(Arc::new(log), clock.clone(), &settings),
        members: None,
        facts: None,
        carrier: None,
        cache: Cache::builder().build().expect("a cache"),
        schemas: vec![schema()],
        announce: Arc::new(Arc::clone(told)),
        observe: Arc::new(Quiet),
        clock,
        spawn: Arc::new(CurrentRuntime),
        entropy: Arc::new(SystemEntropy),
        settings,
    })
    .expect("a node")
}

/// Dispatches all records beyond a cursor, page by page. Returns the most groups that were
/// remembered from one page to the next.
async fn page_through(dispatcher: &mut Dispatcher, log: &MemoryLog, mut cursor: Cursor) -> usize {
    let mut most = 0;
    loop {
        let read = log.read(&cursor, PAGE, None).await.expect("an answer");
        let Read::Batch(Batch {
            records,
            cursor: next,
            extent,
            ..
        }) = read
        else {
            panic!("a gap");
        };
        let records: Vec<_> = records.into_iter().map(|record| (record, 1)).collect();
        dispatcher.dispatch(&records, Pages::Cut).await;
        most = most.max(dispatcher.dispatched.len());
        cursor = next;
        if extent == Extent::All {
            return most;
        }
    }
}

#[tokio::test]
async fn a_transaction_of_many_pages_is_one_event_a_row_and_nothing_is_kept_after_it() {
    for form in [Form::Counted, Form::Snapshot] {
        let store = ModelStore::new(form, 1);
        let log = MemoryLog::new(store.clone());
        let told = Arc::new(Counting::default());
        let protocol = idle(log.clone(), &told);
        let head = log.head(None).await.expect("an answer").cursor;

        // Each row is written twice, the second time many pages later.
        let transaction = store.begin();
        for version in [1_i64, 2] {
            for id in 0..ROWS {
                let row = Row(vec![id.into(), version.into()]);
                let put = store.put(transaction, schema(), row, &Writing::default());
                put.expect("no one else writes");
            }
        }
        let committed = store.commit(transaction, Durability::Synchronous);
        committed.expect("a commit");

        let mut dispatcher = Dispatcher {
            shared: Arc::clone(protocol.shared()),
            dispatched: BTreeSet::new(),
            met: Met::default(),
        };
        let most = page_through(&mut dispatcher, &log, head).await;
        assert_eq!(
            told.changes.load(Ordering::SeqCst),
            ROWS as usize,
            "{form:?}"
        );
        assert_eq!(told.gaps.load(Ordering::SeqCst), 0, "{form:?}");
        assert!(most <= PAGE, "{form:?}: {most} groups are remembered");
        assert!(dispatcher.met.is_empty(), "{form:?}: {:?}", dispatcher.met);
    }
}
