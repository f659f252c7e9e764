//! What the cases append, and how.

use futures_util::future::try_join_all;
use tidings_core::{
    entropy::{Entropy as _, SeededEntropy},
    log::{Appended, Body, Log, LogError, Mark, Posted},
};

use super::reader::failed;
use crate::kit::conformance::{Outcome, Subject};

/// How many appends run at once where many are made.
const AT_ONCE: usize = 8;

/// Makes the event of a number; what it holds follows from the number.
pub(super) fn event(number: u64, payload: &str) -> Appended {
    Appended::Event(posted(number, payload))
}

pub(super) fn posted(number: u64, payload: &str) -> Posted {
    Posted {
        id: SeededEntropy::new(number).uuid(),
        origin: Some("a".into()),
        source: "suite".into(),
        event: "happened".into(),
        payload: payload.into(),
    }
}

pub(super) fn id(body: &Body) -> Option<uuid::Uuid> {
    match body {
        Body::Event(posted) => Some(posted.id),
        _ => None,
    }
}

pub(super) async fn append(log: &dyn Log, entry: Appended) -> Result<Mark, String> {
    let appended = log.append(entry).await;
    appended.map_err(|error: LogError| failed(error))
}

/// Appends many, several at once over as many links.
pub(super) async fn append_many<S: Subject>(subject: &S, count: usize) -> Outcome {
    let count = count as u64;
    let links = (0..AT_ONCE as u64).map(|link| {
        let log = subject.open();
        async move {
            for number in (link..count).step_by(AT_ONCE) {
                append(&*log, event(number, "x")).await?;
            }
            Ok::<(), String>(())
        }
    });
    try_join_all(links).await?;

    Ok(())
}

/// Lets other tasks run for some turns.
pub(super) async fn turns(count: usize) {
    for _ in 0..count {
        crate::turn::turn().await;
    }
}
