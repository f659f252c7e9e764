//! The log in PostgreSQL does what every log has to.

use std::{sync::Arc, time::Duration};

use tidings_cluster::kit::conformance::{Subject, check};
use tidings_core::log::Log;
use tidings_store::postgres::log::{PgLog, prune};
use tidings_testkit::{Database, Server};

use crate::support::{captured, settings_of};

struct OnPostgres(Database);

impl Subject for OnPostgres {
    fn open(&self) -> Arc<dyn Log> {
        Arc::new(PgLog::new(settings_of(&self.0)))
    }

    async fn trim(&self) {
        let mut connection = self.0.connect().await;
        let pruned = prune(&mut connection, Duration::ZERO).await;
        let _ = pruned.expect("pruned");
    }

    /// Empties the table that a crash empties.
    async fn end_epoch(&self) {
        self.0.psql("truncate tidings.epoch_volatile");
    }

    fn records(&self) -> usize {
        1_000
    }
}

// CE4 to CE6 and CE10, for PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_what_every_log_has_to() {
    // Transactions of other tests would hold back the horizon that pruning uses.
    let server = Server::start();
    let make = async || OnPostgres(captured(&server).await);
    let checked = tokio::time::timeout(Duration::from_secs(120), check(make)).await;
    checked.expect("it ends").assert_none();
}
