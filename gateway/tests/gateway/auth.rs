//! The plugins in front of a node, in this process.

use std::net::SocketAddr;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tidings::{BoxError, Ref, Timestamp, Worker};
use tidings_gateway::{
    Acl, Consumer, Gateway, KeyAuthCredential, KeyForwarding, KeyNames, Plugin, ProxyRequest,
    Response, Settings, refuse,
};
use tidings_testkit::{Link, Proxy, Server};
use tokio::net::TcpStream;
use uuid::Uuid;

pub(crate) fn settings(workers: usize) -> Settings {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    Settings {
        proxy_listen: free,
        admin_listen: free,
        database: "sqlite::memory:".to_owned(),
        workers,
        ..Settings::default()
    }
}

pub(crate) async fn bob(gateway: &Gateway, key: &str) -> Consumer {
    let consumer = consumer(gateway, "bob").await;
    let credential = KeyAuthCredential {
        id: Uuid::nil(),
        created_at: Timestamp::from_unix(0),
        consumer: Some(Ref::to(&consumer)),
        key: Some(key.to_owned()),
        enabled: true,
        expires_at: None,
        tags: None,
    };
    let credentials = gateway.node().dao::<KeyAuthCredential>().expect("declared");
    credentials.insert(credential).await.expect("a new key");
    consumer
}

async fn consumer(gateway: &Gateway, name: &str) -> Consumer {
    let consumer = Consumer {
        id: Uuid::nil(),
        username: Some(name.to_owned()),
        custom_id: None,
        created_at: Timestamp::from_unix(0),
        updated_at: Timestamp::from_unix(0),
        tags: None,
    };
    gateway
        .node()
        .dao::<Consumer>()
        .expect("declared")
        .insert(consumer)
        .await
        .expect("a new name")
}

/// A kept connection, and the worker that it belongs to.
pub(crate) struct Client {
    sender: http1::SendRequest<Empty<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        let stream = TcpStream::connect(gateway.proxy_address())
            .await
            .expect("it listens");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        Self { sender }
    }

    pub(crate) async fn get(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, http::HeaderMap, Json) {
        let mut request = Request::get(path).header(header::HOST, "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).expect("a request");
        self.sender.ready().await.expect("the connection is kept");
        let (head, body) = self
            .sender
            .send_request(request)
            .await
            .expect("an answer")
            .into_parts();
        let body = body.collect().await.expect("the whole answer").to_bytes();
        (
            head.status,
            head.headers,
            serde_json::from_slice(&body).expect("JSON"),
        )
    }

    pub(crate) async fn status(&mut self, key: &str) -> u16 {
        self.get("/", &[("apikey", key)]).await.0.as_u16()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_told_apart_by_their_keys() {
    let gateway = Gateway::start(settings(1)).await.expect("it starts");
    let consumer = bob(&gateway, "a b&c").await;
    let mut client = Client::connect(&gateway).await;
    let refused = |answer: &(StatusCode, http::HeaderMap, Json), message: &str| {
        assert_eq!(answer.0, 401, "{message}");
        assert_eq!(answer.2, serde_json::json!({ "message": message }));
        assert_eq!(answer.1[header::WWW_AUTHENTICATE], "Key");
        assert!(
            answer.1.contains_key("x-tidings-node") && answer.1.contains_key("x-tidings-worker")
        );
    };
    let missing = "No API key found in request";
    refused(&client.get("/", &[]).await, missing);
    refused(&client.get("/?apikey=", &[("apikey", "")]).await, missing);
    let several = "Duplicate API key found";
    refused(&client.get("/?apikey=x", &[("apikey", "x")]).await, several);
    refused(
        &client.get("/", &[("apikey", "x"), ("apikey", "y")]).await,
        several,
    );
    let invalid = "Invalid authentication credentials";
    refused(&client.get("/", &[("apikey", "x")]).await, invalid);
    refused(&client.get("/?apikey=%ff%fe", &[]).await, invalid);
    refused(
        &client.get("/", &[("apikey", &"x".repeat(20_000))]).await,
        invalid,
    );

    let forged = [
        ("x-consumer-username", "eve"),
        ("x-consumer-custom-id", "eve"),
        ("x-credential-identifier", "eve"),
    ];
    let (status, _, echo) = client.get("/p?apikey=a+b%26c", &forged).await;
    assert_eq!(status, 200);
    let headers = &echo["headers"];
    assert_eq!(headers["x-consumer-id"], consumer.id.to_string());
    assert_eq!(headers["x-consumer-username"], "bob");
    assert_eq!(headers["x-api-key"], "a b&c");
    assert_eq!(headers.get("x-consumer-custom-id"), None);
    assert_ne!(headers["x-credential-identifier"], "eve");
    assert_eq!(echo["node_id"], gateway.node().id());
    gateway.shutdown().await;
}

// ML16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_moves_to_another_consumer_takes_effect_on_every_worker_at_once() {
    let mut settings = settings(3);
    settings.allow_groups = Some(vec!["staff".to_owned()]);
    let gateway = Gateway::start(settings).await.expect("it starts");
    let bob = bob(&gateway, "abcd").await;
    let eve = consumer(&gateway, "eve").await;
    let acls = gateway.node().dao::<Acl>().expect("declared");
    // Where a connection lands is up to the workers: those that a busy one leaves are taken by the
    // others.
    let mut clients = Vec::new();
    let mut workers = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut client = Client::connect(&gateway).await;
        let (status, headers, body) = client.get("/", &[("apikey", "abcd")]).await;
        assert_eq!(status, 403);
        assert_eq!(body["message"], "You cannot consume this service");
        workers.insert(headers["x-tidings-worker"].clone());
        clients.push(client);
        if workers.len() == 3 {
            break;
        }
    }
    assert_eq!(workers.len(), 3, "each worker has a connection");

    let row = Acl {
        id: Uuid::nil(),
        created_at: Timestamp::from_unix(0),
        consumer: Ref::to(&bob),
        group: "staff".to_owned(),
        tags: None,
    };
    let row = acls.insert(row).await.expect("a new membership");
    for owner in [&eve, &bob, &eve] {
        for client in &mut clients {
            assert_eq!(client.status("abcd").await, 200, "bob is in");
        }
        let consumer = Ref::to(owner);
        acls.update(row.id, move |row| row.consumer = consumer)
            .await
            .expect("the row is there");
        if owner.id == eve.id {
            for client in &mut clients {
                assert_eq!(client.status("abcd").await, 403, "bob is out");
            }
            let back = Ref::to(&bob);
            acls.update(row.id, move |row| row.consumer = back)
                .await
                .expect("the row is there");
        }
    }
    acls.delete(row.id).await.expect("it is deleted");
    for client in &mut clients {
        assert_eq!(client.status("abcd").await, 403);
    }
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_fails_is_an_unexpected_error_and_cached_keys_still_pass() {
    let gateway = Gateway::start(settings(1)).await.expect("it starts");
    bob(&gateway, "abcd").await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.status("abcd").await, 200);
    gateway.node().store().close().await.expect("it closes");
    assert_eq!(client.status("abcd").await, 200);
    let (status, _, body) = client.get("/", &[("apikey", "other")]).await;
    assert_eq!(
        (status.as_u16(), &body["message"]),
        (500, &Json::from("Unexpected error"))
    );
    gateway.shutdown().await;
}

/// Refuses one consumer, behind key-auth.
#[derive(Debug)]
struct Banned(String);

impl Plugin for Banned {
    type Config = String;

    fn init_worker(name: &String, _worker: &Worker) -> Result<Self, BoxError> {
        Ok(Self(name.clone()))
    }

    async fn access(&self, request: &mut ProxyRequest) -> Result<(), Response> {
        let consumer = request
            .consumer()
            .and_then(|consumer| consumer.username.as_deref());
        if consumer == Some(self.0.as_str()) {
            return Err(refuse(StatusCode::GONE, "banned"));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_the_users_runs_behind_the_built_in_ones() {
    let gateway = Gateway::builder(settings(1))
        .plugin::<Banned>("bob".to_owned())
        .start()
        .await;
    let gateway = gateway.expect("it starts");
    bob(&gateway, "abcd").await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.status("abcd").await, 410);
    assert_eq!(client.status("nobody").await, 401);
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_longer_than_any_that_can_be_stored_is_refused_without_a_look_up() {
    let gateway = Gateway::start(settings(1)).await.expect("it starts");
    let mut client = Client::connect(&gateway).await;
    let misses = || gateway.node().cache().stats().misses;
    for length in [513, 60_000] {
        assert_eq!(client.status(&"k".repeat(length)).await, 401, "{length}");
    }
    assert_eq!(misses(), 0, "nothing was looked up");
    assert_eq!(client.status(&"k".repeat(512)).await, 401);
    assert_eq!(misses(), 1, "a key of the greatest length is");
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_the_key_names_carries_the_key_and_a_hidden_one_does_not_reach_the_upstream() {
    let settings = Settings {
        key_names: KeyNames::new(&["X-Token", "apikey"]).expect("names"),
        hide_credentials: KeyForwarding::Hidden,
        ..settings(1)
    };
    let gateway = Gateway::start(settings).await.expect("it starts");
    bob(&gateway, "abcd").await;
    let mut client = Client::connect(&gateway).await;
    for (path, header) in [
        ("/?a=1", "x-token"),
        ("/?a=1", "apikey"),
        ("/?X-Token=abcd&a=1", "other"),
    ] {
        let (status, _, echo) = client.get(path, &[(header, "abcd")]).await;
        assert_eq!(status, 200, "{path} {header}");
        assert_eq!(echo["query"], "a=1");
        let headers = echo["headers"].as_object().expect("headers");
        let hidden = ["x-token", "apikey", "x-api-key"];
        assert!(
            hidden.iter().all(|name| !headers.contains_key(*name)),
            "{echo}"
        );
        assert_eq!(echo["headers"]["x-consumer-username"], "bob");
    }
    gateway.shutdown().await;
}

/// Also under a name that is the gateway's own towards the upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_come_as_x_api_key() {
    let settings = Settings {
        key_names: KeyNames::new(&["apikey", "X-API-Key"]).expect("names"),
        ..settings(1)
    };
    let gateway = Gateway::start(settings).await.expect("it starts");
    bob(&gateway, "abcd").await;
    let mut client = Client::connect(&gateway).await;
    let (status, _, echo) = client.get("/", &[("x-api-key", "abcd")]).await;
    assert_eq!(status, 200, "{echo}");
    assert_eq!(echo["headers"]["x-api-key"], "abcd");
    let (status, ..) = client.get("/", &[("x_api_key", "abcd")]).await;
    assert_eq!(status, 401, "a name has one spelling");
    let both = [("x-api-key", "abcd"), ("apikey", "abcd")];
    assert_eq!(client.get("/", &both).await.0, 401);
    gateway.shutdown().await;
}

/// The names under which a key was read are those under which it is removed, whatever a reload says
/// while it is looked up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_key_stays_hidden_through_a_reload() {
    let database = Server::shared().database().await;
    let link = Proxy::to(&database).await;
    let settings = Settings {
        database: link.url(&database),
        hide_credentials: KeyForwarding::Hidden,
        ..settings(1)
    };
    let gateway = Gateway::start(settings.clone()).await.expect("it starts");
    bob(&gateway, "abcd").await;
    let mut client = Client::connect(&gateway).await;

    link.set(Link::Silent);
    let request = tokio::spawn(async move { client.get("/", &[("apikey", "abcd")]).await });
    while gateway.node().cache().stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    gateway.reload(&Settings {
        key_names: KeyNames::new(&["X-Token"]).expect("a name"),
        ..settings
    });
    link.set(Link::Open);

    let (status, _, echo) = request.await.expect("no panic");
    assert_eq!(status, 200, "{echo}");
    assert!(!echo.to_string().contains("abcd"), "{echo}");
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_announced_with_its_groups_and_a_reload_changes_who_may_pass() {
    let settings = Settings {
        allow_groups: Some(vec!["staff".to_owned()]),
        ..settings(1)
    };
    let gateway = Gateway::start(settings.clone()).await.expect("it starts");
    let consumer = bob(&gateway, "abcd").await;
    let acls = gateway.node().dao::<Acl>().expect("declared");
    for group in ["staff", "night"] {
        let member = Acl {
            id: Uuid::nil(),
            created_at: Timestamp::from_unix(0),
            consumer: Ref::to(&consumer),
            group: group.to_owned(),
            tags: None,
        };
        acls.insert(member).await.expect("a new membership");
    }

    let mut client = Client::connect(&gateway).await;
    let forged = [("apikey", "abcd"), ("x-consumer-groups", "root")];
    let (status, _, echo) = client.get("/", &forged).await;
    assert_eq!(status, 200);
    let groups = echo["headers"]["x-consumer-groups"]
        .as_str()
        .expect("groups");
    let mut groups: Vec<&str> = groups.split(", ").collect();
    groups.sort_unstable();
    assert_eq!(groups, ["night", "staff"]);

    let reloaded = |groups: Option<&str>, names: &str| Settings {
        allow_groups: groups.map(|group| vec![group.to_owned()]),
        key_names: KeyNames::new(&[names]).expect("names"),
        ..settings.clone()
    };
    gateway.reload(&reloaded(Some("admins"), "apikey"));
    assert_eq!(client.status("abcd").await, 403);
    gateway.reload(&reloaded(None, "apikey"));
    assert_eq!(client.status("abcd").await, 200);
    gateway.reload(&reloaded(None, "token"));
    assert_eq!(client.status("abcd").await, 401);
    gateway.shutdown().await;
}
