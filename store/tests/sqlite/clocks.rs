//! Nodes whose clocks are wrong, or jump.

use std::{sync::Arc, time::Duration};

use tidings_core::log::{GapReason, Read};
use tidings_store::{LogNeeds, Sharing, Store};

use crate::{
    clock::OffClock,
    member::last_report,
    support::{Database, Reader, TABLES, changes, needs, schemas},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn needs_by(clock: &OffClock) -> LogNeeds {
    LogNeeds {
        clock: Arc::new(clock.clone()),
        ..needs(schemas())
    }
}

// CL14
#[tokio::test]
async fn a_node_whose_clock_is_hours_off_reads_reports_and_prunes_like_any_other() {
    let database = Database::captured(TABLES, &schemas()).await;
    let options = Store::options(database.url()).sharing(Sharing::Cluster);
    let store = options.open().await.unwrap();
    for hours in [-5, 5] {
        let needs = needs_by(&OffClock::by_hours(hours));
        let members = store.members(&needs).unwrap();
        let mut reader = Reader::over(store.log(needs).unwrap()).await;
        database.sqlite3(&format!(
            "INSERT INTO consumers VALUES ('{hours}', 'a{hours}', NULL);"
        ));
        assert_eq!(
            changes(&mut reader, 0, 1).await,
            [format!("create - -> a{hours}")]
        );

        let last = last_report(&*members, &reader.cursor).await;
        let off = last
            .clock
            .expect("it is compared")
            .millis
            .div_euclid(60_000);
        assert!(
            (hours * 60 - 30..hours * 60 + 30).contains(&off),
            "{last:?}"
        );
        assert!(last.ago < HOUR, "by the host's time: {last:?}");
    }
}

/// The retention is counted by the host's clock. If the clock is set back, records are kept for
/// longer. If it is set forward, they are removed early, and a reader that is behind gets a gap.
// CL14
#[tokio::test]
async fn a_clock_that_jumps_makes_no_reader_miss_a_record_unsaid() {
    let database = Database::captured(TABLES, &schemas()).await;
    let store = database.store(tidings_store::Logging::On).await;
    let clock = OffClock::by_hours(0);
    let mut reader = Reader::over(store.log(needs_by(&clock)).unwrap()).await;
    let behind = Reader::over(Arc::clone(&reader.log)).await;

    clock.set_hours(-5);
    database.sqlite3("INSERT INTO consumers VALUES ('1', 'ann', NULL);");
    assert_eq!(reader.log.prune(HOUR).await.unwrap(), 0);
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> ann"]);

    clock.set_hours(5);
    database.sqlite3("INSERT INTO consumers VALUES ('2', 'bob', NULL);");
    assert!(reader.log.prune(HOUR).await.unwrap() >= 1);
    assert_eq!(changes(&mut reader, 0, 1).await, ["create - -> bob"]);
    match behind.log.read(&behind.cursor, 10, None).await.unwrap() {
        Read::Gap(gap) => assert_eq!(gap.reason, GapReason::Trimmed),
        Read::Batch(batch) => panic!("it misses ann: {batch:?}"),
    }
}
