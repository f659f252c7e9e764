//! Any bytes on a connection: nothing panics, nothing hangs, and every answer has its shape. The
//! fuzz target `admin_bytes` sends what it makes up; the test here, requests that are nearly right.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::Value as Json;
use tidings::{Node, Store};
use tidings_admin::AdminOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::entities::{Crate, Role, Shelf, Shop, ShopKey};

/// Longer than any time limit of the API.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API that takes bytes.
#[derive(Debug)]
pub(crate) struct Taker {
    router: Router,
}

impl Taker {
    pub(crate) async fn new() -> Self {
        let node = Node::builder()
            .store(Store::open("sqlite::memory:").await.unwrap())
            .workers(1)
            .entity::<Shop>()
            .entity::<ShopKey>()
            .entity::<Role>()
            .entity::<Shelf>()
            .entity::<Crate>()
            .start()
            .await
            .unwrap();
        let router = tidings_admin::router(node, AdminOptions::new().body_limit(4096));
        Self { router }
    }

    /// Sends bytes on a connection of their own, and reads until it ends.
    pub(crate) async fn take(&self, bytes: &[u8]) {
        let (client, server) = duplex(1 << 16);
        let service = TowerToHyperService::new(self.router.clone());
        let serve = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let (mut reading, mut writing) = tokio::io::split(client);
        let mut answers = Vec::new();
        let exchange = async {
            let send = async {
                // A server that is done with the connection reads no more.
                writing.write_all(bytes).await.unwrap_or_default();
                writing.shutdown().await.unwrap_or_default();
            };
            let read = reading.read_to_end(&mut answers);
            let (_, _, read) = tokio::join!(serve, send, read);
            read.unwrap();
        };
        let ended = tokio::time::timeout(PATIENCE, exchange).await;
        assert!(ended.is_ok(), "{} hangs", bytes.escape_ascii());
        check(&answers, bytes);
    }
}

/// Checks every answer on a connection.
fn check(mut answers: &[u8], bytes: &[u8]) {
    while !answers.is_empty() {
        let tell = || format!("{} to {}", answers.escape_ascii(), bytes.escape_ascii());
        let end = answers.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, rest) = answers.split_at(end.unwrap_or_else(|| panic!("{}", tell())) + 4);
        let head = std::str::from_utf8(head).unwrap().to_lowercase();
        let status = head
            .strip_prefix("http/1.1 ")
            .or(head.strip_prefix("http/1.0 "));
        let status: u16 = status.unwrap_or_else(|| panic!("{}", tell()))[..3]
            .parse()
            .unwrap();
        assert!(status < 500, "{}", tell());
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        // An answer to HEAD tells a length and has no body.
        if rest.is_empty() || rest.starts_with(b"HTTP/1.") {
            answers = rest;
            continue;
        }
        assert!(rest.len() >= length, "{}", tell());
        let (body, rest) = rest.split_at(length);
        if status >= 400 {
            let body: Json = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{}", tell()));
            assert!(
                body["code"].is_u64() && body["name"].is_string(),
                "{}",
                tell()
            );
        }
        answers = rest;
    }
}

/// Requests that are right, for a start.
pub(crate) const REQUESTS: [&[u8]; 9] = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /shops HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{\"name\":\"a\",\"tags\":[\"x\",1]}",
    b"PUT /shops/a HTTP/1.1\r\nHost: [::1]:1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 18\r\n\r\ncode=c&tags%5B%5D=",
    b"POST /shops/a/keys HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n5\r\n{\"key\r\n5\r\n\":\"k\"\r\n1\r\n}\r\n0\r\n\r\n",
    b"POST /roles HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 122\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"role\"\r\n\r\nr\r\n--b\r\nContent-Disposition: form-data; name=\"shop.name\"\r\n\r\na\r\n--b--\r\n",
    b"GET /shops?name=a&size=1&tags=x/y&offset=c2hvcHM6 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\nHEAD /shops/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PATCH /shelves/7 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 46\r\n\r\n{\"height\":1e3,\"extra\":{\"a\":[0.1]},\"shop\":null}",
    b"DELETE /cache/shop_keys%3Ak?cluster=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /schemas/roles/cache-key?role=x&shop.id=67e55044-10b1-426f-9247-bb680e5fe0c8 HTTP/1.0\r\n\r\n",
];
