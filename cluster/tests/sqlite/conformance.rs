//! The log in a database file does what every log has to.

use std::{sync::Arc, time::Duration};

use tidings_cluster::kit::conformance::{Subject, check};
use tidings_core::{clock::ManualClock, log::Log};
use tidings_store::{Attachment, KeptLog, LogNeeds, Store};

use crate::support::{File, Last, needs, schemas};

struct OnSqlite {
    file: File,
    store: Store,
    clock: ManualClock,
}

impl OnSqlite {
    async fn new() -> Self {
        let (file, clock) = (File::new(), ManualClock::new());
        let store = file.store().await;
        let attached = store.attach(Attachment {
            schemas: schemas(),
            sink: Arc::new(Last::default()),
            clock: Arc::new(clock.clone()),
            runtime: tokio::runtime::Handle::current(),
        });
        attached.await.expect("attached");
        Self { file, store, clock }
    }

    /// A log that prunes by the clock of the test.
    fn pruner(&self) -> Arc<dyn KeptLog> {
        let needs = LogNeeds {
            clock: Arc::new(self.clock.clone()),
            ..needs("a")
        };
        self.store.log(needs).expect("a log")
    }
}

impl Subject for OnSqlite {
    fn open(&self) -> Arc<dyn Log> {
        self.store.log(needs("a")).expect("a log")
    }

    async fn trim(&self) {
        let hour = Duration::from_secs(3_600);
        let log = self.pruner();
        for _ in 0..2 {
            // The first notes what is there, and the second finds it older than that.
            log.prune(hour).await.expect("pruned");
            self.clock.advance(hour);
        }
    }

    /// As after a start of the machine.
    async fn end_epoch(&self) {
        self.file
            .sqlite3("UPDATE tidings_epoch SET facts = 'another'");
        let begun = self.open().head(None).await;
        begun.expect("the next epoch begins");
    }

    fn records(&self) -> usize {
        1_000
    }
}

// CE4 to CE6 and CE10, for SQLite.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_does_what_every_log_has_to() {
    let checked = tokio::time::timeout(Duration::from_secs(120), check(OnSqlite::new)).await;
    checked.expect("it ends").assert_none();
}
