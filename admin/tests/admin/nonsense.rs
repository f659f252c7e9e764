//! Thousands of random requests made of parts that are right, nearly right or neither. Whatever
//! comes, the answer has its shape, and the node goes on.

use axum::body::Body;
use http::header;
use serde_json::json;

use super::node::{Admin, request};

const METHODS: [&str; 8] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW",
];
const SEGMENTS: [&str; 28] = [
    "shops",
    "shop-keys",
    "roles",
    "shelves",
    "boxes",
    "secrets",
    "keys",
    "shop",
    "shelf",
    "within",
    "schemas",
    "cache-key",
    "cache",
    "status",
    "metrics",
    "a",
    "k",
    "7",
    "-1",
    "%2F",
    "%FF",
    "%00",
    "..",
    "%",
    "",
    "11111111-2222-4333-8444-555555555555",
    "%E2%98%83",
    "99999999999999999999",
];
const QUERIES: [&str; 16] = [
    "",
    "?",
    "?size=1",
    "?size=0",
    "?size=%FF",
    "?offset=x",
    "?offset=AAAA",
    "?tags=a,b",
    "?tags=a/b",
    "?tags=,",
    "?cluster=true",
    "?cluster=x",
    "?key=k&shop=7",
    "?&&==&=",
    "?size=1&size=1",
    "?a=%zz",
];
const TYPES: [&str; 6] = [
    "application/json",
    "application/json; charset=utf-16",
    "application/x-www-form-urlencoded",
    "text/plain",
    "",
    ";;;",
];
const BODIES: [&[u8]; 24] = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"\xff",
    b"\0",
    b"{\"name\":\"a\"}",
    b"{\"name\":null}",
    b"{\"name\":{}}",
    b"{\"key\":\"k\",\"shop\":{\"id\":7}}",
    b"{\"shop\":null}",
    b"{\"role\":\"a\"}",
    b"{\"number\":7,\"extra\":[[[{}]]]}",
    b"{\"number\":1e400}",
    b"{\"number\":18446744073709551615}",
    b"{\"label\":\"a\",\"shelf\":{\"number\":7}}",
    b"{\"id\":\"x\",\"id\":\"y\"}",
    b"name=a",
    b"shop.id=7&key=",
    b"number=7&extra={",
    b"tags[]=a&tags=b",
    b"a.b.c=1&a=2",
    b"%",
];

/// Paths that mean something.
const PATHS: [&str; 12] = [
    "/shops",
    "/shops/a",
    "/shops/a/keys",
    "/shops/a/keys/k",
    "/shops/a/roles",
    "/shops/a/roles/r",
    "/shelves",
    "/shelves/7",
    "/shelves/7/boxes",
    "/shelves/7/boxes/b",
    "/shop-keys/k/shop",
    "/cache/k",
];

/// A xorshift generator: the same requests in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[tokio::test]
async fn whatever_comes_is_answered_in_the_same_shape() {
    let admin = Admin::new().await;
    admin.shop("a").await;
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    admin
        .json("POST", "/shelves", json!({ "number": 7 }))
        .await
        .created();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut by_status = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..6_000 {
        let segments: Vec<_> = (0..=dice.below(4)).map(|_| dice.one(&SEGMENTS)).collect();
        let path = match dice.below(2) {
            0 => dice.one(&PATHS).to_owned(),
            _ => format!("/{}", segments.join("/")),
        };
        let query = match dice.below(2) {
            0 => "",
            _ => dice.one(&QUERIES),
        };
        let path = format!("{path}{query}");
        let (method, body) = (dice.one(&METHODS), dice.one(&BODIES));
        let mut request = request(method, &path);
        request = match dice.below(3) {
            0 => request,
            1 => request.header(header::CONTENT_TYPE, TYPES[0]),
            _ => request.header(header::CONTENT_TYPE, dice.one(&TYPES)),
        };
        let answer = admin.send(request.body(Body::from(body)).unwrap()).await;
        *by_status.entry(answer.status.as_u16()).or_default() += 1;
        let tell = || format!("{method} {path} {}: {answer:?}", body.escape_ascii());
        assert!(answer.status.as_u16() < 500, "{}", tell());
        if answer.status.as_u16() >= 400 && method != "HEAD" {
            let problem = answer.body();
            assert!(problem["code"].is_u64(), "{}", tell());
            assert!(
                problem["name"].is_string() && problem["message"].is_string(),
                "{}",
                tell()
            );
        }
    }
    for status in [200, 201, 204, 400, 404, 405, 415] {
        assert!(by_status.contains_key(&status), "{by_status:?}");
    }
    admin.shop("still here").await;
    admin.get("/status").await.ok();
}
