//! Standbys, and promotions, which end the epoch.

use tidings_core::log::{Gap, GapReason, Log as _, LogError, Members as _, Read};
use tidings_store::{Error, Store, postgres::log::PgMembers};
use tidings_testkit::Server;

use crate::support::{Reader, captured_on, log_of, schemas, settings_of};

// CL12
#[tokio::test]
async fn a_standby_is_refused_and_its_promotion_is_a_gap() {
    let primary = Server::start();
    let database = captured_on(&primary).await;
    let reader = Reader::at_head(&database).await;
    database.psql("insert into numbers values (1)");
    let standby = primary.standby();
    let copy = standby.existing(database.name());
    let log = log_of(&copy, schemas());

    let head = log.head(None).await.err();
    let read = log.read(&reader.cursor, 10, None).await.err();
    let listed = PgMembers::new(&settings_of(&copy, schemas())).list().await;
    for refused in [head, read, listed.err()] {
        let received =
            matches!(&refused, Some(LogError::Unfit { reason }) if reason.contains("standby"));
        assert!(received, "{refused:?}");
    }
    let opened = Store::open(&copy.url()).await.unwrap_err();
    assert!(matches!(opened, Error::Unfit { .. }), "{opened:?}");
    assert!(opened.to_string().contains("the primary"), "{opened}");

    drop(primary);
    standby.promote();
    let read = log.read(&reader.cursor, 10, None).await.expect("a read");
    assert_eq!(read, Read::Gap(Gap::of_all(GapReason::Epoch)));
    let mut later = Reader::at_head(&copy).await;
    assert!(later.cursor.epoch().number > reader.cursor.epoch().number);
    copy.psql("insert into numbers values (2)");
    assert_eq!(later.operations().await, ["create numbers 2"]);
    let store = Store::open(&copy.url()).await.unwrap();
    store.close().await.unwrap();
}
