//! Logs in streams of real servers. One binary, so that it links once.

mod nats;
mod nodes;
mod redis;

use std::{sync::Arc, time::Duration};

use tidings_core::{
    clock::{Clock, SystemClock},
    entropy::{Entropy as _, SeededEntropy},
    log::{ApartNeeds, Appended, Body, Cursor, GapReason, KeptLog, LogApart, Posted, Read},
    spawn::CurrentRuntime,
};

/// Returns the settings of a log as a node with this name.
fn needs(node: &str) -> ApartNeeds {
    ApartNeeds {
        node: node.into(),
        schemas: Vec::new(),
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(CurrentRuntime),
    }
}

fn open(stream: &dyn LogApart, node: &str) -> Arc<dyn KeptLog> {
    stream.open(&needs(node)).expect("no secrets")
}

fn event(number: u64) -> Appended {
    Appended::Event(Posted {
        id: SeededEntropy::new(number).uuid(),
        origin: Some("a".into()),
        source: "test".into(),
        event: "happened".into(),
        payload: number.to_string().into(),
    })
}

async fn head(log: &dyn KeptLog) -> Cursor {
    log.head(None).await.expect("it answers").cursor
}

/// Returns the payloads of the records beyond a cursor, and the cursor after them; or the gap.
/// Retries while the link is down.
async fn read(log: &dyn KeptLog, from: &Cursor) -> Result<(Vec<String>, Cursor), GapReason> {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(Duration::from_secs(30));
    let read = loop {
        match log.read(from, 1_000, None).await {
            Ok(read) => break read,
            Err(error) => assert!(clock.now() < deadline, "{error}"),
        }
        clock.sleep(Duration::from_millis(10)).await;
    };
    match read {
        Read::Gap(gap) => Err(gap.reason),
        Read::Batch(batch) => {
            let text = |body: &Body| match body {
                Body::Event(posted) => posted.payload.to_string(),
                other => format!("{other:?}"),
            };
            let read = batch.records.iter().map(|record| text(&record.body));
            Ok((read.collect(), batch.cursor))
        }
    }
}

/// Appends, and retries while the link is down.
async fn append(log: &dyn KeptLog, number: u64) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(Duration::from_secs(30));
    while let Err(error) = log.append(event(number)).await {
        assert!(clock.now() < deadline, "{error}");
        clock.sleep(Duration::from_millis(10)).await;
    }
}
