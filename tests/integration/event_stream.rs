//! `GET /events` over HTTP: on one node without a log, and on nodes of a cluster.

use std::{net::SocketAddr, time::Duration};

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tidings_gateway::{Gateway, Settings};
use tidings_testkit::{Database, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::Client,
    gateway::{served, served_with},
};

/// A stream of events that is open.
pub(crate) struct Stream {
    body: Incoming,
    read: String,
}

/// One of them: id, kind and data.
type Event = (Option<String>, String, Json);

impl Stream {
    pub(crate) async fn open(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("a fresh connection takes requests");
        tokio::spawn(connection);
        let mut request =
            Request::get(format!("/events{query}")).header(header::HOST, address.to_string());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("well formed");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            read: String::new(),
        }
    }

    /// The next event; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(str::to_owned)
                };
                let Some(kind) = field("event: ") else {
                    continue; // a comment
                };
                let data = field("data: ").expect("data");
                let data = serde_json::from_str(&data).expect("JSON");
                return Some((field("id: "), kind, data));
            }
            let frame = self.body.frame().await?.expect("it is not cut");
            let bytes = frame.into_data().expect("data");
            self.read
                .push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }

    /// The next event, which is a change.
    async fn change(&mut self) -> (String, Json) {
        let (id, kind, data) = self.next().await.expect("the stream goes on");
        assert_eq!(kind, "change", "{data}");
        (id.expect("a change has an id"), data)
    }

    async fn gap(&mut self) -> Json {
        let (id, kind, data) = self.next().await.expect("the stream goes on");
        assert_eq!((id, kind.as_str()), (None, "gap"), "{data}");
        data
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_log_tells_its_own_changes_without_their_secrets() {
    let served = served(2).await;
    let address = served.admin_address();
    let mut stream = Stream::open(address, "?source=crud&event=keyauth_credentials:*", None).await;
    let mut admin = served.admin().await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let key = json!({"key": "very-s3cret"});
    admin.post("/consumers/bob/key-auth", key).await.expect(201);
    let key = json!({"key": "other-s3cret"});
    admin.patch("/key-auths/very-s3cret", key).await.expect(200);

    let (id, created) = stream.change().await;
    assert_eq!(created["event"], "keyauth_credentials:create");
    assert_eq!(created["entity"]["key"], "***");
    assert_eq!(created["origin"], served.node().id());
    assert_eq!(created["position"], id.as_str());
    let (_, updated) = stream.change().await;
    assert_eq!(updated["operation"], "update");
    assert_eq!(updated["old_entity"]["key"], "***");
    assert!(!format!("{created}{updated}").contains("s3cret"));

    let mut again = Stream::open(address, "", Some(&id)).await;
    let (_, first) = again.change().await;
    assert_eq!(first, updated);

    // Another process, whose places are others.
    let other = crate::gateway::served(1).await;
    let mut gapped = Stream::open(other.admin_address(), "", Some(&id)).await;
    assert_eq!(gapped.gap().await["reason"], "epoch");
    other.stop().await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_those_that_watch() {
    let served = served_with(|settings| {
        // Far longer than a test may take.
        settings.limits.drain_timeout = Duration::from_secs(10);
    });
    let served = served.await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Stream::open(served.admin_address(), "", None).await);
    }
    served.stop().await;
    for mut stream in streams {
        assert_eq!(stream.next().await, None, "it ends in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_limit_of_a_request_and_of_an_idle_connection() {
    let served = served_with(|settings| {
        settings.limits.request_timeout = Duration::from_millis(100);
        settings.limits.idle_timeout = Duration::from_millis(100);
    });
    let served = served.await;
    let address = served.admin_address();
    let mut stream = Stream::open(address, "", None).await;

    // One after the other, each longer than either limit, counted from when the stream was open.
    for _ in 0..3 {
        let mut late = TcpStream::connect(address).await.expect("it listens");
        let head = "POST /consumers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
        late.write_all(head.as_bytes()).await.expect("it reads");
        let mut rest = Vec::new();
        late.read_to_end(&mut rest).await.expect("it is closed");
        assert!(rest.is_empty(), "the request was cut");
    }
    let mut admin = served.admin().await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    assert_eq!(stream.change().await.1["entity"]["username"], "bob");
    served.stop().await;
}

#[derive(Serialize, Deserialize)]
struct Reindex {
    shop: u64,
}

/// A gateway of a cluster whose requests may take this long.
pub(crate) async fn member(database: &Database, name: &str, limit: Duration) -> Gateway {
    let mut settings = Settings {
        proxy_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database: database.url(),
        node_id: Some(name.to_owned()),
        workers: 1,
        ..Settings::default()
    };
    settings.limits.request_timeout = limit;
    Gateway::builder(settings)
        .node(|node| node.cluster_channel::<Reindex>("search", "reindex"))
        .start()
        .await
        .expect("a member")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_the_changes_of_every_program_and_goes_on_from_any_place() {
    let database = Server::shared().database().await;
    let hour = Duration::from_secs(3_600);
    let (a, b) = (
        member(&database, "a", hour).await,
        member(&database, "b", hour).await,
    );
    let mut streams = [
        Stream::open(a.admin_address(), "", None).await,
        Stream::open(b.admin_address(), "", None).await,
    ];
    let mut admin = Client::connect(a.admin_address()).await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let channel = b.node().cluster_channel::<Reindex>("search", "reindex");
    let channel = channel.expect("it is declared");
    channel.post(&Reindex { shop: 7 }).await.expect("posted");
    database.psql("update consumers set custom_id = 'x'");
    database.psql("truncate acls");

    let mut places = Vec::new();
    for stream in &mut streams {
        let (place, created) = stream.change().await;
        places.push(place);
        assert_eq!(created["origin"], "a");
        let (_, posted) = stream.change().await;
        assert_eq!(
            (&posted["source"], &posted["event"]),
            (&json!("search"), &json!("reindex"))
        );
        assert_eq!(posted["entity"], json!({"shop": 7}));
        assert_eq!(
            (&posted["operation"], &posted["origin"]),
            (&Json::Null, &json!("b"))
        );
        let (_, updated) = stream.change().await;
        assert_eq!(updated["entity"]["custom_id"], "x");
        assert_eq!(updated["old_entity"]["custom_id"], Json::Null);
        assert_eq!(updated["origin"], Json::Null);
        let gap = stream.gap().await;
        assert_eq!(
            (&gap["reason"], &gap["entity"]),
            (&json!("capture"), &json!("acls"))
        );
    }

    // From a place of each node, at the other.
    for (gateway, place) in [(&b, &places[0]), (&a, &places[1])] {
        let mut later =
            Stream::open(gateway.admin_address(), "?event=consumers*", Some(place)).await;
        let (_, updated) = later.change().await;
        assert_eq!(updated["entity"]["custom_id"], "x");
        admin
            .patch("/consumers/bob", json!({"tags": ["t"]}))
            .await
            .expect(200);
        let (_, live) = loop {
            let next = later.change().await;
            if next.1["entity"]["tags"] != Json::Null {
                break next;
            }
        };
        assert_eq!(live["origin"], "a");
        admin
            .patch("/consumers/bob", json!({"tags": null}))
            .await
            .expect(200);
    }
    a.shutdown().await;
    b.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_longer_than_a_request_may_take_ends_with_its_answer() {
    let database = Server::shared().database().await;
    let limit = Duration::from_millis(300);
    let a = member(&database, "a", limit).await;
    // It is gone without notice, so it is waited for.
    drop(member(&database, "b", limit).await);

    let mut admin = Client::connect(a.admin_address()).await;
    let made = admin
        .post("/consumers?confirm=900ms", json!({"username": "bob"}))
        .await;
    let made = made.expect(202);
    assert_eq!(made.json()["unconfirmed"], json!(["b"]));
    let token = made.header("x-tidings-position").to_owned();
    let path = format!("/cluster/confirm?position={token}&timeout=900ms");
    let asked = admin.send(Method::GET, &path, &[], None).await;
    assert_eq!(asked.expect(202).json()["unconfirmed"], json!(["b"]));
    a.shutdown().await;
}
