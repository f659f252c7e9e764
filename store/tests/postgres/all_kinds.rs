//! Every kind of field in a table that the store created, written by other programs and by the
//! store: the log reports the same values as a read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_core::{Entity, FieldValue, Json, Row, TimestampMicros};
use tidings_store::{
    PageQuery, Store,
    postgres::log::{InstallOptions, install},
};
use tidings_testkit::Server;

use crate::{kinds::HOSTILE, reader::Reader, support::log_of};

#[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    InReview,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "everything", cache_key("number", "state"))]
struct Everything {
    #[entity(primary_key)]
    id: u64,
    number: Option<u64>,
    ratio: Option<f32>,
    data: Option<BytesOf>,
    names: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    state: Option<State>,
    limits: Option<Json<(u32, String)>>,
    moment: Option<TimestampMicros>,
}

/// Bytes in a custom type.
#[derive(FieldValue, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BytesOf(Vec<u8>);

#[tokio::test]
async fn the_log_tells_every_kind_as_a_read_shows_it() {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    let sink = std::sync::Arc::new(Deaf);
    let attachment = tidings_store::Attachment {
        schemas: vec![Everything::schema()],
        sink,
        clock: std::sync::Arc::new(tidings_core::clock::ManualClock::new()),
        runtime: tokio::runtime::Handle::current(),
    };
    store.attach(attachment).await.expect("a table");
    let mut connection = database.connect().await;
    let options = InstallOptions::default();
    let installed = install(&mut connection, &[Everything::schema()], options).await;
    let _ = installed.expect("captured");
    let mut reader = Reader::of(log_of(&database, vec![Everything::schema()])).await;

    let rows = store.dao::<Everything>().expect("declared");
    let text = "it's \\ \"q\" {,} \u{1F980}".to_owned();
    let full = |id| Everything {
        id,
        number: Some(u64::MAX),
        ratio: Some(0.1),
        data: Some(BytesOf((0..=255).collect())),
        names: Some(vec![text.clone(), "b".to_owned(), "b".to_owned()]),
        labels: Some([(text.clone(), String::new())].into()),
        state: Some(State::InReview),
        limits: Some(Json((7, text.clone()))),
        moment: Some(TimestampMicros::from_micros(i64::MIN)),
    };
    rows.insert(full(u64::MAX)).await.expect("stored");
    rows.insert(full(2)).await.expect("stored");
    let absent = Everything {
        number: None,
        ratio: None,
        data: None,
        names: None,
        labels: None,
        state: None,
        limits: None,
        moment: None,
        ..full(3)
    };
    rows.insert(absent).await.expect("stored");
    database.psql(&format!(
        "{HOSTILE} update public.everything set ratio = 1.17549435e-38, data = E'\\\\x00ff27'::pg_catalog.bytea, \
         names = '[]'::pg_catalog.json, number = 7 where id = 2; \
         insert into public.everything (id, ratio, moment) values (18446744073709551614, '3.4028235e38', 5);"
    ));

    let stored = rows.page(PageQuery::new()).await.expect("a page").data;
    let mut received: Vec<Row> = Vec::new();
    for change in reader.changes(Everything::schema()).await {
        let row = change.new.expect("nothing was deleted");
        received.retain(|earlier| earlier.0[0] != row.0[0]);
        received.push(row);
    }
    let received = received
        .into_iter()
        .map(|row| Everything::from_row(row).expect("it fits"));
    let mut received: Vec<_> = received.collect();
    received.sort_by_key(|row| row.id);
    assert_eq!(received, stored);
    assert_eq!(received.len(), 4);
    assert_eq!(received[0].ratio, Some(f32::MIN_POSITIVE));
    store.close().await.expect("closed");
}

/// Ignores commits.
struct Deaf;

impl tidings_store::ChangeSink for Deaf {
    fn committed(
        &self,
        _: tidings_store::ChangeSet,
    ) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &tidings_store::ChangeSet) {}
}
