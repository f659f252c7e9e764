//! Nodes whose clocks are wrong.

use std::{sync::Arc, time::Duration};

use tidings_store::postgres::log::{PgLog, PgLogSettings, PgMembers};

use crate::{
    clock::OffClock,
    member::last_report,
    support::{Reader, captured, schemas, settings_of},
};

const HOUR: Duration = Duration::from_secs(3_600);

// CL14
#[tokio::test]
async fn a_node_whose_clock_is_hours_off_reads_reports_and_prunes_like_any_other() {
    let database = captured().await;
    for hours in [-5, 5] {
        let settings = PgLogSettings {
            clock: Arc::new(OffClock::by_hours(hours)),
            ..settings_of(&database, schemas())
        };
        let members = PgMembers::new(&settings);
        let mut reader = Reader::of(PgLog::new(settings)).await;
        database.psql(&format!("insert into numbers values ({hours})"));

        // By the database's clock no note is older than the retention.
        for _ in 0..2 {
            assert_eq!(reader.log.prune(HOUR).await.expect("pruned"), 0);
        }
        let created = format!("create numbers {hours}");
        assert_eq!(reader.operations().await, [created]);

        let last = last_report(&members, &reader.cursor).await;
        let off = last
            .clock
            .expect("it is compared")
            .millis
            .div_euclid(60_000);
        assert!(
            (hours * 60 - 30..hours * 60 + 30).contains(&off),
            "{last:?}"
        );
        assert!(last.ago < HOUR, "by the database's time: {last:?}");
        let head = reader.log.head(None).await.expect("a head");
        assert_eq!(head.cursor.epoch(), reader.cursor.epoch());
    }
}
