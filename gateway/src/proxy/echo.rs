//! [`Echo`]: the built-in upstream, which answers with the request as JSON.

use http::{StatusCode, request::Parts};

use crate::plugin::{Response, json, response};

/// The built-in upstream.
#[derive(Debug)]
pub(super) struct Echo {
    /// The end of every answer: `},"node_id":"..","worker_id":N}`.
    tail: Box<[u8]>,
}

impl Echo {
    pub(super) fn new(node_id: &str, worker: usize) -> Self {
        let mut tail = b"},\"node_id\":".to_vec();
        json::string(&mut tail, node_id);
        tail.extend_from_slice(format!(",\"worker_id\":{worker}}}").as_bytes());
        Self { tail: tail.into() }
    }

    /// Answers `{"method", "path", "query", "headers": {..}, "node_id", "worker_id"}`. A header
    /// that came more than once is shown once, with its values joined by commas, which means the
    /// same in HTTP.
    pub(super) fn answer(&self, head: &Parts) -> Response {
        let mut out = Vec::with_capacity(self.capacity(head));
        out.extend_from_slice(b"{\"method\":");
        json::string(&mut out, head.method.as_str());
        out.extend_from_slice(b",\"path\":");
        json::string(&mut out, head.uri.path());
        out.extend_from_slice(b",\"query\":");
        json::string(&mut out, head.uri.query().unwrap_or_default());
        out.extend_from_slice(b",\"headers\":{");

        // Values of one name are adjacent in the map's order.
        let mut last = None;
        for (name, value) in &head.headers {
            if last == Some(name) {
                out.extend_from_slice(b", ");
            } else {
                out.extend_from_slice(if last.is_some() { b"\",\"" } else { b"\"" });
                // A header's name is a token: nothing in it needs escaping.
                out.extend_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(b"\":\"");
                last = Some(name);
            }

            json::lossy(&mut out, value.as_bytes());
        }

        if last.is_some() {
            out.push(b'"');
        }
        out.extend_from_slice(&self.tail);
        response::whole(StatusCode::OK, out)
    }

    /// Returns the capacity that suffices for the answer unless much of it is escaped.
    fn capacity(&self, head: &Parts) -> usize {
        let target = head.uri.path().len() + head.uri.query().map_or(0, str::len);
        let headers: usize = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 6)
            .sum();
        64 + target + headers + self.tail.len()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;

    use super::*;

    async fn echoed(request: Request<()>) -> serde_json::Value {
        let (head, ()) = request.into_parts();
        let response = Echo::new("n\"1", 3).answer(&head);
        let body = response
            .into_body()
            .collect()
            .await
            .expect("the body is there")
            .to_bytes();
        serde_json::from_slice(&body).expect("the answer is JSON")
    }

    #[tokio::test]
    async fn the_request_comes_back_as_json() {
        let request = Request::get("/a%20\"b?x=1&y=%22")
            .header("host", "h")
            .header("x-two", "a\\b")
            .header("x-two", "c\"d")
            .body(())
            .expect("a request");
        let expected = serde_json::json!({
            "method": "GET", "path": "/a%20\"b", "query": "x=1&y=%22",
            "headers": {"host": "h", "x-two": "a\\b, c\"d"},
            "node_id": "n\"1", "worker_id": 3,
        });
        assert_eq!(echoed(request).await, expected);
    }

    #[tokio::test]
    async fn a_request_without_headers_is_valid_json_too() {
        let request = Request::get("/").body(()).expect("a request");
        assert_eq!(echoed(request).await["headers"], serde_json::json!({}));
    }
}
