//! `/events`: the changes as a stream.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value as Json, json};
use tidings::{Node, Store, clock::ManualClock};
use tidings_admin::{AdminOptions, Readiness, Unready};
use tower::ServiceExt as _;

use super::{
    database::url,
    node::{Admin, Answer, request},
};
use crate::entities::{Shop, ShopKey};

/// A stream that is open.
struct Stream {
    body: Body,
    read: String,
}

/// One event of it.
#[derive(Debug, PartialEq)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Json,
}

async fn answer(admin: &Admin, query: &str, last: Option<&str>) -> Response<Body> {
    let mut request = request("GET", &format!("/events{query}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = request.body(Body::empty()).unwrap();
    admin.router().oneshot(request).await.unwrap()
}

impl Admin {
    /// Asks to go on from something that is refused.
    async fn send_from(&self, last: &str) -> Answer {
        let request = request("GET", "/events").header("last-event-id", last);
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

async fn open(admin: &Admin, query: &str, last: Option<&str>) -> Stream {
    let response = answer(admin, query, last).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Stream {
        body: response.into_body(),
        read: String::new(),
    }
}

impl Stream {
    /// The next block of lines; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(block);
            }
            let frame = self.body.frame().await?.unwrap();
            let bytes = frame.into_data().unwrap();
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event. Signs of life come in between, as time passes.
    async fn event(&mut self) -> Event {
        let block = loop {
            let block = self.block().await.expect("the stream goes on");
            if !block.starts_with(':') {
                break block;
            }
        };
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::to_owned)
        };
        Event {
            id: field("id: "),
            kind: field("event: ").unwrap_or_else(|| panic!("{block}")),
            data: serde_json::from_str(&field("data: ").unwrap()).unwrap(),
        }
    }

    async fn change(&mut self) -> Event {
        let event = self.event().await;
        assert_eq!(event.kind, "change", "{event:?}");
        assert_eq!(event.data["position"], event.id.as_deref().unwrap());
        event
    }
}

#[tokio::test]
async fn changes_come_in_order_with_their_predecessors() {
    let admin = Admin::new().await;
    let mut all = open(&admin, "", None).await;
    let mut updates = open(&admin, "?source=cr*&event=shops:u*", None).await;
    let mut keys = open(&admin, "?event=shop_keys", None).await;
    admin.shop("a").await;
    let key = json!({ "key": "a-key" });
    admin.json("POST", "/shops/a/keys", key).await.created();
    admin
        .json("PATCH", "/shops/a", json!({ "code": "c" }))
        .await
        .ok();
    admin.delete("/shops/a").await.no_content();

    let created = all.change().await;
    assert_eq!(created.data["source"], "crud");
    assert_eq!(created.data["event"], "shops:create");
    assert_eq!(created.data["operation"], "create");
    assert_eq!(created.data["entity"]["name"], "a");
    assert_eq!(created.data["old_entity"], Json::Null);
    assert_eq!(created.data["origin"], admin.node.id());
    let key = all.change().await;
    assert_eq!(key.data["event"], "shop_keys:create");
    assert_eq!(key.data["entity"]["key"], "a-key");
    let updated = all.change().await;
    assert_eq!(updated.data["entity"]["code"], "c");
    assert_eq!(updated.data["old_entity"]["code"], Json::Null);
    let mut gone = [all.change().await, all.change().await]
        .map(|event| event.data["event"].as_str().unwrap().to_owned());
    gone.sort();
    assert_eq!(gone, ["shop_keys:delete", "shops:delete"]);

    assert_eq!(updates.change().await, updated);
    assert_eq!(keys.change().await, key);
    assert_eq!(keys.change().await.data["operation"], "delete");
}

#[tokio::test]
async fn a_stream_goes_on_where_one_has_ended() {
    let admin = Admin::new().await;
    let mut first = open(&admin, "", None).await;
    for name in ["a", "b", "c", "d"] {
        admin.shop(name).await;
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(first.change().await);
    }
    drop(first);
    admin.shop("e").await;

    let last = seen[1].id.as_deref();
    let mut second = open(&admin, "?event=shops:*", last).await;
    for seen in &seen[2..] {
        assert_eq!(second.change().await.data["entity"], seen.data["entity"]);
    }
    assert_eq!(second.change().await.data["entity"]["name"], "e");
    admin.shop("f").await;
    assert_eq!(second.change().await.data["entity"]["name"], "f");
}

#[tokio::test]
async fn a_place_that_is_not_held_starts_with_a_gap_and_one_that_is_none_is_refused() {
    let admin = Admin::new().await;
    let mut first = open(&admin, "", None).await;
    admin.shop("a").await;
    let id = first.change().await.id.unwrap();

    // The epoch's id is the fourth part.
    let parts: Vec<_> = id.split('.').collect();
    let mut elsewhere = parts.clone();
    let other = uuid::Uuid::new_v4().to_string();
    elsewhere[3] = &other;
    let mut gapped = open(&admin, "", Some(&elsewhere.join("."))).await;
    let gap = gapped.event().await;
    assert_eq!((gap.id, gap.kind.as_str()), (None, "gap"));
    assert_eq!(gap.data, json!({ "missed": null, "reason": "epoch" }));
    admin.shop("b").await;
    assert_eq!(gapped.change().await.data["entity"]["name"], "b");

    for wrong in ["", "7", "1.c.7", &id[..id.len() / 2], "nonsense"] {
        let refused = answer(&admin, "", Some(wrong)).await;
        assert_eq!(refused.status(), 400, "{wrong:?}");
    }
    for wrong in ["?source=", "?event=a&event=b", "?size=1", "?event=%FF"] {
        admin
            .get(&format!("/events{wrong}"))
            .await
            .refused(400, 11, "invalid options");
    }
    admin
        .call("POST", "/events")
        .await
        .refused(405, 23, "method not allowed");
}

#[tokio::test]
async fn a_stream_goes_on_after_a_write_whose_position_is_given() {
    let admin = Admin::new().await;
    let mut all = open(&admin, "", None).await;
    let made = admin.json("POST", "/shops", json!({ "name": "a" })).await;
    let token = made.headers["x-tidings-position"].to_str().unwrap();
    admin.shop("b").await;

    let mut later = open(&admin, "?event=shops:*", Some(token)).await;
    let told = later.change().await;
    assert_eq!(told.data["entity"]["name"], "b");
    all.change().await;
    let second = all.change().await;
    assert_eq!(second.data["entity"], told.data["entity"]);

    // Those of another database, and one that was changed.
    let other = Admin::new().await;
    let foreign = other.json("POST", "/shops", json!({ "name": "a" })).await;
    let foreign = foreign.headers["x-tidings-position"].to_str().unwrap();
    let changed = token.replace(&token[..8], "AgEAAAAB");
    for wrong in [foreign, &changed, &token[1..]] {
        let refused = admin.send_from(wrong).await;
        refused.refused(400, 11, "invalid options");
        assert!(refused.text.contains("Last-Event-ID: "), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_place_beyond_all_that_there_is_harms_nothing() {
    let admin = Admin::new().await;
    let mut first = open(&admin, "", None).await;
    admin.shop("a").await;
    let id = first.change().await.id.unwrap();
    let beyond = match id.split('.').nth(1).unwrap() {
        "c" => format!("{}9", id),
        // The snapshot that its page was read with is the last part but one.
        _ => {
            let mut parts: Vec<_> = id.split('.').collect();
            let target = parts.len() - 2;
            parts[target] = "999999999:999999999:";
            parts.join(".")
        }
    };
    let mut gapped = open(&admin, "", Some(&beyond)).await;
    let gap = gapped.event().await;
    assert_eq!(gap.data["reason"], "lost_tail", "{gap:?}");
    admin.shop("b").await;
    assert_eq!(gapped.change().await.data["entity"]["name"], "b");
    assert_eq!(first.change().await.data["entity"]["name"], "b");
}

#[tokio::test]
async fn a_sign_of_life_comes_every_15_s() {
    let clock = Arc::new(ManualClock::new());
    let node = Node::builder()
        .store(Store::open(&url().await).await.unwrap())
        .node_id(super::node::NODE_ID)
        .clock(Arc::clone(&clock) as _)
        .entity::<Shop>()
        .entity::<ShopKey>();
    // A start may have to wait for another look at the log.
    let mut start = pin!(node.start());
    let node = loop {
        tokio::select! {
            biased;
            node = &mut start => break node.unwrap(),
            () = tokio::task::yield_now() => clock.advance(Duration::from_millis(1)),
        }
    };
    let admin = Admin::over(node, AdminOptions::new());
    let mut stream = open(&admin, "", None).await;
    for _ in 0..3 {
        clock.advance(Duration::from_millis(14_999));
        let early = futures_util::FutureExt::now_or_never(stream.block());
        assert_eq!(early, None);
        clock.advance(Duration::from_millis(1));
        let block = stream.block().await.unwrap();
        assert!(
            block.starts_with(':') && block.lines().count() == 1,
            "{block}"
        );
    }
}

#[tokio::test]
async fn listeners_are_bounded_and_one_that_goes_makes_room() {
    let admin = Admin::new().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(open(&admin, "", None).await);
    }
    admin.get("/events").await.refused(503, 36, "busy");
    streams.pop();
    streams.push(open(&admin, "", None).await);
    let metrics = admin.get("/metrics").await.text;
    assert!(metrics.contains("\ntidings_change_feeds 64\n"), "{metrics}");
}

#[tokio::test]
async fn a_listener_that_does_not_read_gets_a_gap_and_holds_no_one_up() {
    let admin = Admin::new().await;
    let mut slow = open(&admin, "", None).await;
    let mut other = open(&admin, "", None).await;
    let large = "x".repeat(20_000);
    for number in 0..300 {
        let shelf = json!({ "number": number, "extra": { "text": large } });
        admin.json("POST", "/shelves", shelf).await.created();
        assert_eq!(other.change().await.data["entity"]["number"], number);
    }
    let gap = slow.event().await;
    assert_eq!(
        (gap.kind.as_str(), &gap.data["reason"]),
        ("gap", &json!("overflow"))
    );
    let missed = gap.data["missed"].as_u64().unwrap();
    assert!((1..300).contains(&missed), "{missed}");
    assert_eq!(slow.change().await.data["entity"]["number"], missed);
    let metrics = admin.get("/metrics").await.text;
    let counted = format!("\ntidings_change_feeds_missed_total {missed}\n");
    assert!(metrics.contains(&counted), "{metrics}");
}

#[tokio::test]
async fn a_stream_ends_when_the_program_drains_and_when_the_node_stops() {
    let readiness = Readiness::new();
    let admin = Admin::with(AdminOptions::new().readiness(readiness.clone())).await;
    let mut drained = open(&admin, "", None).await;
    readiness.begin(Unready::Draining);
    assert_eq!(drained.block().await, None);
    readiness.end(Unready::Draining);

    let mut stopped = open(&admin, "", None).await;
    let report = admin.node.shutdown(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(stopped.block().await, None);
}
