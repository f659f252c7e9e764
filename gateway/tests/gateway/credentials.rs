//! Credentials that do not count: disabled ones, and those past their time, on both engines.

use std::{collections::BTreeSet, time::Duration};

use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tidings_gateway::{Gateway, KeyAuthCredential, KeyStorage, Settings};
use tidings_testkit::{Database, Server};
use tokio::net::TcpStream;

use crate::auth::{Client, bob, settings};

/// Where a test's database is.
enum Place {
    Memory,
    Server(Database),
}

impl Place {
    async fn each() -> [Self; 2] {
        [
            Self::Memory,
            Self::Server(Server::shared().database().await),
        ]
    }

    fn url(&self) -> String {
        match self {
            Self::Memory => "sqlite::memory:".to_owned(),
            Self::Server(database) => database.url(),
        }
    }

    async fn start(&self, workers: usize) -> Gateway {
        let settings = Settings {
            database: self.url(),
            ..settings(workers)
        };
        Gateway::start(settings).await.expect("it starts")
    }
}

/// Sends JSON to the admin side.
async fn admin(gateway: &Gateway, method: Method, path: &str, body: Json) -> (u16, Json) {
    let stream = TcpStream::connect(gateway.admin_address()).await;
    let stream = TokioIo::new(stream.expect("it listens"));
    let (mut sender, connection) = http1::handshake(stream).await.expect("HTTP");
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("the whole answer").to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    (head.status.as_u16(), json)
}

/// A connection to each worker, on each of which the key passes.
async fn to_each_worker(gateway: &Gateway, workers: usize, key: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    let mut met = BTreeSet::new();
    for _ in 0..100 {
        let mut client = Client::connect(gateway).await;
        let (status, headers, _) = client.get("/", &[("apikey", key)]).await;
        assert_eq!(status, 200);
        if met.insert(headers["x-tidings-worker"].clone()) {
            clients.push(client);
        }
        if clients.len() == workers {
            return clients;
        }
    }
    panic!("a worker has no connection: {met:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_key_is_refused_like_an_unknown_one_on_every_worker() {
    for place in Place::each().await {
        let gateway = place.start(3).await;
        bob(&gateway, "abcd").await;
        let mut clients = to_each_worker(&gateway, 3, "abcd").await;

        let off = json!({"enabled": false});
        let (status, row) = admin(&gateway, Method::PATCH, "/key-auths/abcd", off).await;
        assert_eq!((status, &row["enabled"]), (200, &Json::from(false)));
        let unknown = clients[0].get("/", &[("apikey", "other")]).await.2;
        for client in &mut clients {
            let (status, _, body) = client.get("/", &[("apikey", "abcd")]).await;
            assert_eq!((status.as_u16(), &body), (401, &unknown));
        }

        let on = json!({"enabled": true});
        let (status, _) = admin(&gateway, Method::PATCH, "/key-auths/abcd", on).await;
        assert_eq!(status, 200);
        for client in &mut clients {
            assert_eq!(client.status("abcd").await, 200);
        }
        gateway.shutdown().await;
    }
}

/// CL20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_past_its_time_is_refused_on_every_worker_although_it_is_cached() {
    for place in Place::each().await {
        let gateway = place.start(3).await;
        bob(&gateway, "lasting").await;
        let given = json!({"key": "abcd", "ttl": 3});
        let (status, made) = admin(&gateway, Method::POST, "/consumers/bob/key-auth", given).await;
        assert_eq!(status, 201, "{made}");
        let mut clients = to_each_worker(&gateway, 3, "abcd").await;

        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            while clients[0].status("abcd").await != 401 {}
        });
        ended.await.expect("its time runs out");
        for client in &mut clients {
            assert_eq!(client.status("abcd").await, 401);
            assert_eq!(client.status("lasting").await, 200);
        }
        let (status, _) = admin(&gateway, Method::GET, "/key-auths/abcd", Json::Null).await;
        assert_eq!(status, 404);
        // The key is free again, though no one has removed the row.
        let again = json!({"key": "abcd"});
        let (status, made) = admin(&gateway, Method::POST, "/consumers/bob/key-auth", again).await;
        assert_eq!(status, 201, "{made}");
        for client in &mut clients {
            assert_eq!(client.status("abcd").await, 200);
        }
        gateway.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_to_live_is_taken_in_seconds() {
    for place in Place::each().await {
        let gateway = place.start(1).await;
        bob(&gateway, "lasting").await;
        let keys = "/consumers/bob/key-auth";
        let post = async |body| admin(&gateway, Method::POST, keys, body).await;
        let now = gateway
            .node()
            .store()
            .time()
            .await
            .expect("a time")
            .as_unix();

        let (status, made) = post(json!({"key": "a", "ttl": 100})).await;
        let at = made["expires_at"].as_i64().expect("a time");
        assert!(
            status == 201 && (now + 100..now + 160).contains(&at),
            "{made}"
        );
        assert_eq!(made["enabled"], true);
        let (status, made) = post(json!({"key": "b", "ttl": null})).await;
        assert_eq!((status, &made["expires_at"]), (201, &Json::Null));
        let far = now + 1_000;
        let (status, made) = post(json!({"key": "c", "ttl": null, "expires_at": far})).await;
        assert_eq!((status, &made["expires_at"]), (201, &Json::from(far)));

        for (body, field) in [
            (json!({"ttl": 0}), "ttl"),
            (json!({"ttl": -1}), "ttl"),
            (json!({"ttl": "60"}), "ttl"),
            (json!({"ttl": 1.5}), "ttl"),
            (json!({"ttl": 100_000_001}), "ttl"),
            (json!({"ttl": 5, "expires_at": far}), "ttl"),
            (json!({"expires_at": "soon"}), "expires_at"),
            (json!({"enabled": 1}), "enabled"),
        ] {
            let (status, refused) = post(body.clone()).await;
            assert_eq!((status, &refused["code"]), (400, &Json::from(2)), "{body}");
            assert!(refused["fields"][field].is_string(), "{refused}");
        }
        let (_, refused) = post(json!({"ttl": 0, "nonsense": 1})).await;
        assert_eq!(
            refused["fields"].as_object().map(|it| it.len()),
            Some(2),
            "{refused}"
        );

        // A change of the time moves it, and `null` takes it away.
        let patch = async |body| admin(&gateway, Method::PATCH, "/key-auths/a", body).await;
        let (_, moved) = patch(json!({"ttl": 5_000})).await;
        assert!(moved["expires_at"].as_i64() > Some(at), "{moved}");
        let (_, cleared) = patch(json!({"ttl": null})).await;
        assert!(cleared["expires_at"].is_null(), "{cleared}");
        gateway.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_past_its_time_is_removed_and_its_end_is_heard() {
    for place in Place::each().await {
        let settings = Settings {
            database: place.url(),
            ..settings(1)
        };
        let gone = std::sync::Arc::new(tokio::sync::Notify::new());
        let heard = std::sync::Arc::clone(&gone);
        let often = Duration::from_secs(1);
        let gateway = Gateway::builder(settings)
            .node(move |node| {
                node.remove_expired_every(often).init_worker(move |worker| {
                    let heard = std::sync::Arc::clone(&heard);
                    let handler = move |_: &tidings::CrudEvent<KeyAuthCredential>| {
                        heard.notify_one();
                    };
                    let events = worker.worker_events();
                    let channel = "keyauth_credentials:delete";
                    events.register(handler, "crud", channel)?.keep();
                    Ok(())
                })
            })
            .start()
            .await
            .expect("it starts");
        bob(&gateway, "lasting").await;
        let given = json!({"key": "abcd", "expires_at": 1});
        let (status, made) = admin(&gateway, Method::POST, "/consumers/bob/key-auth", given).await;
        assert_eq!(status, 201, "{made}");
        let removed = tokio::time::timeout(Duration::from_secs(60), gone.notified());
        removed.await.expect("it is removed");
        gateway.shutdown().await;
    }
}

/// A database that was made before credentials could be disabled or expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_is_given_the_columns_and_its_keys_go_on() {
    const CONSUMER: &str = "INSERT INTO consumers (id, username, created_at, updated_at) \
         VALUES ('00000000-0000-0000-0000-000000000001', 'bob', 5, 5)";
    const KEY: &str = "INSERT INTO keyauth_credentials (id, created_at, consumer, key) \
         VALUES ('00000000-0000-0000-0000-000000000002', 5, '00000000-0000-0000-0000-000000000001', 'abcd')";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidings.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut connection = options.connect().await.expect("a file");
    let made = format!(
        "CREATE TABLE consumers (id TEXT NOT NULL PRIMARY KEY, username TEXT, custom_id TEXT, \
           created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, tags TEXT) STRICT; \
         CREATE TABLE keyauth_credentials (id TEXT NOT NULL PRIMARY KEY, created_at INTEGER NOT NULL, \
           consumer TEXT NOT NULL REFERENCES consumers (id), key TEXT, tags TEXT) STRICT; {CONSUMER}; {KEY};"
    );
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(made))
        .execute(&mut connection)
        .await;
    done.expect("the tables");
    connection.close().await.expect("it closes");

    let database = Server::shared().database().await;
    database.psql(
        "CREATE TABLE consumers (id uuid NOT NULL PRIMARY KEY, username text COLLATE \"C\", \
           custom_id text COLLATE \"C\", created_at bigint NOT NULL, updated_at bigint NOT NULL, tags jsonb);
         CREATE TABLE keyauth_credentials (id uuid NOT NULL PRIMARY KEY, created_at bigint NOT NULL, \
           consumer uuid NOT NULL REFERENCES consumers (id), key text COLLATE \"C\", tags jsonb);",
    );
    database.psql(CONSUMER);
    database.psql(KEY);

    for url in [format!("sqlite://{}", path.display()), database.url()] {
        let settings = Settings {
            database: url,
            ..settings(1)
        };
        let gateway = Gateway::start(settings).await.expect("it starts");
        let mut client = Client::connect(&gateway).await;
        assert_eq!(client.status("abcd").await, 200);
        let (_, row) = admin(&gateway, Method::GET, "/key-auths/abcd", Json::Null).await;
        assert_eq!(
            (&row["enabled"], &row["expires_at"]),
            (&Json::from(true), &Json::Null)
        );
        let off = json!({"enabled": false});
        assert_eq!(
            admin(&gateway, Method::PATCH, "/key-auths/abcd", off)
                .await
                .0,
            200
        );
        assert_eq!(client.status("abcd").await, 401);
        gateway.shutdown().await;
    }
}

/// Settings that keep digests in place of keys.
fn hashing(place: &Place) -> Settings {
    Settings {
        database: place.url(),
        hash_keys: KeyStorage::Digest,
        ..settings(1)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hashed_key_is_shown_once_and_never_stored() {
    for place in Place::each().await {
        let gateway = Gateway::start(hashing(&place)).await.expect("it starts");
        let who = json!({"username": "bob"});
        assert_eq!(
            admin(&gateway, Method::POST, "/consumers", who).await.0,
            201
        );
        let keys = "/consumers/bob/key-auth";
        let post = async |body| admin(&gateway, Method::POST, keys, body).await;
        let get = async |path: &str| admin(&gateway, Method::GET, path, Json::Null).await;

        let (status, given) = post(json!({"key": "abcd"})).await;
        assert_eq!((status, &given["key"]), (201, &Json::from("abcd")));
        let (status, made) = post(json!({})).await;
        let key = made["key"].as_str().expect("a key").to_owned();
        assert_eq!((status, key.len()), (201, 32));
        let id = made["id"].as_str().expect("an id").to_owned();

        // Both pass, and the upstream sees the key that was sent.
        let mut client = Client::connect(&gateway).await;
        for key in ["abcd", &key] {
            let (status, _, echo) = client.get("/", &[("apikey", key)]).await;
            assert_eq!(status, 200);
            assert_eq!(echo["headers"]["x-api-key"], *key);
        }

        // No answer shows a key again, by whatever path; each path finds the row.
        for path in [
            "/key-auths",
            keys,
            &format!("/key-auths/{id}"),
            "/key-auths/abcd",
            "/key-auths?key=abcd",
        ] {
            let (status, answer) = get(path).await;
            assert_eq!(status, 200, "{path}");
            let text = answer.to_string();
            assert!(!text.contains("abcd") && !text.contains(&key), "{text}");
            assert!(text.contains("\"key\":\"***\""), "{text}");
        }
        let (_, cached) = get("/schemas/keyauth_credentials/cache-key?key=abcd").await;
        let cache_key = cached["cache_key"].as_str().expect("a key").to_owned();
        assert!(!cache_key.contains("abcd"), "{cache_key}");
        assert_eq!(
            get(&format!("/cache/{}", cache_key.replace(':', "%3A")))
                .await
                .0,
            200
        );

        // The row holds a digest, with which no one passes.
        let rows = gateway.node().dao::<KeyAuthCredential>().expect("declared");
        let row = rows
            .page(tidings::PageQuery::new())
            .await
            .expect("rows")
            .data
            .remove(0);
        let stored = row.key.expect("a digest");
        assert!(stored.starts_with("sha256-"), "{stored}");
        assert_eq!(client.status(&stored).await, 401);

        // A key that is taken is taken, and a new one takes its place at once.
        assert_eq!(post(json!({"key": "abcd"})).await.0, 409);
        let new = json!({"key": "efgh"});
        let (status, changed) = admin(&gateway, Method::PATCH, "/key-auths/abcd", new).await;
        assert_eq!((status, &changed["key"]), (200, &Json::from("efgh")));
        assert_eq!(client.status("abcd").await, 401);
        assert_eq!(client.status("efgh").await, 200);
        let consumer = json!({"consumer": {"username": "bob"}});
        let (status, put) = admin(&gateway, Method::PUT, "/key-auths/ijkl", consumer).await;
        assert_eq!(
            (status, &put["key"]),
            (200, &Json::from("***")),
            "the client knows it"
        );
        assert_eq!(client.status("ijkl").await, 200);
        assert_eq!(
            admin(&gateway, Method::DELETE, "/key-auths/ijkl", Json::Null)
                .await
                .0,
            204
        );
        assert_eq!(client.status("ijkl").await, 401);
        gateway.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_there_are_replaced_by_their_digests() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite://{}", folder.path().join("tidings.db").display());
    let database = Server::shared().database().await;
    for url in [file, database.url()] {
        let plain = Settings {
            database: url,
            ..settings(1)
        };
        let gateway = Gateway::start(plain.clone()).await.expect("it starts");
        bob(&gateway, "abcd").await;
        let mut client = Client::connect(&gateway).await;
        assert_eq!(client.status("abcd").await, 200);
        gateway.shutdown().await;

        for _ in 0..2 {
            let hashing = Settings {
                hash_keys: KeyStorage::Digest,
                ..plain.clone()
            };
            let gateway = Gateway::start(hashing).await.expect("it starts");
            let mut client = Client::connect(&gateway).await;
            assert_eq!(client.status("abcd").await, 200);
            gateway.shutdown().await;
        }

        // Where keys are not hashed a digest is no key either.
        let gateway = Gateway::start(plain).await.expect("it starts");
        let rows = gateway.node().dao::<KeyAuthCredential>().expect("declared");
        let row = rows
            .page(tidings::PageQuery::new())
            .await
            .expect("rows")
            .data
            .remove(0);
        let digest = row.key.expect("a digest");
        let mut client = Client::connect(&gateway).await;
        assert_eq!(client.status(&digest).await, 401);
        gateway.shutdown().await;
    }
}
