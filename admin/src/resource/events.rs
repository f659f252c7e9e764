//! `/events`: the changes as server-sent events.
//!
//! The stream ends when the node stops, or before that when the program drains, so that no drain
//! waits for watchers. A client that goes away ends it too; one that does not read is cut by the
//! program ([`Unending`]).

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{
    future::{Either, select},
    stream,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tidings::{
    ChangeFeed, ChangeFeedOptions, Fed, FeedStart, Node, Token,
    core::{clock::Tick, log::Place},
};

use crate::{
    Readiness, Unready,
    answer::Unending,
    problem::{Kind, Problem},
    request::query::Query,
};

/// The id of the last event that a returning client has received.
const LAST: HeaderName = HeaderName::from_static("last-event-id");
/// How often the connection is given a sign of life.
const BEAT: Duration = Duration::from_secs(15);

/// Streams the changes from now on, or after a place or a write.
pub(crate) fn of(
    node: &Node,
    query: &Query,
    headers: &HeaderMap,
    readiness: &Readiness,
) -> Result<Response, Problem> {
    let (source, event) = query.channels()?;
    let mut options = ChangeFeedOptions::new().source(source).event(event);
    if let Some(start) = last(node, headers)? {
        options = options.after(start);
    }
    let feed = node.change_feed(options);
    let feed = feed.map_err(|error| Problem::new(Kind::Busy, error.to_string()))?;

    let listener = Listener {
        feed,
        node: node.clone(),
        beat: node.clock().now().plus(BEAT),
        readiness: readiness.clone(),
    };
    let events = stream::unfold(listener, async |mut listener| {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), listener))
    });
    let mut response = Response::new(Body::from_stream(events));
    *response.status_mut() = StatusCode::OK;

    let headers = response.headers_mut();
    let value = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, value("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, value("no-store"));
    response.extensions_mut().insert(Unending);
    Ok(response)
}

/// Reads where a client resumes: after an event, whose id is a place, or after a write, whose
/// position is a token. A place has dots and a token has none.
fn last(node: &Node, headers: &HeaderMap) -> Result<Option<FeedStart>, Problem> {
    let refused = |message: &str| {
        let message = format!("Last-Event-ID: {message}");
        Problem::new(Kind::InvalidOptions, message)
    };
    let mut values = headers.get_all(LAST).iter();
    let (Some(value), second) = (values.next(), values.next()) else {
        return Ok(None);
    };
    if second.is_some() {
        return Err(refused("is given twice"));
    }

    let text = value.to_str().unwrap_or_default();
    if let Ok(place) = text.parse::<Place>() {
        return Ok(Some(place.into()));
    }

    let token = text.parse::<Token>().map_err(|_| {
        refused("expected the id of an event of this stream, or the position of a write")
    })?;
    let start = node.feed_start(&token);
    start.map(Some).map_err(|error| refused(&error.to_string()))
}

/// One client of the stream.
struct Listener {
    feed: ChangeFeed,
    node: Node,
    /// When the next sign of life is due.
    beat: Tick,
    readiness: Readiness,
}

impl Listener {
    /// Returns the next part of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        let beat = self.node.clock().sleep_until(self.beat);
        let drains = std::pin::pin!(self.readiness.begun(Unready::Draining));
        let fed = std::pin::pin!(self.feed.next());
        match select(select(drains, beat), fed).await {
            Either::Left((Either::Left(_), _)) => None,
            Either::Left((Either::Right(_), _)) => {
                self.beat = self.node.clock().now().plus(BEAT);
                Some(": the stream goes on\n\n".to_owned())
            }
            Either::Right((fed, _)) => match fed? {
                Fed::Change(change) => Some(format!(
                    "id: {}\nevent: change\ndata: {}\n\n",
                    change.place(),
                    change.data()
                )),
                Fed::Gap(gap) => Some(format!("event: gap\ndata: {}\n\n", gap.data())),
            },
        }
    }
}
