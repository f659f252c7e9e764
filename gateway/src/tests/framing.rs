//! Where bodies begin and end, on both sides of the proxy (RFC 9112, 6).

use tokio::net::TcpListener;

use super::{
    Front, on_one_thread,
    raw::{Raw, field},
};

async fn proxied() -> (TcpListener, Front) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let front = Front::start(&["--upstream", &url]);
    (listener, front)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_chunked_body_reaches_the_upstream_with_any_method() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
            let mut client = front.client().await;
            client
                .send(&format!(
                    "{method} / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                ))
                .await;
            let mut upstream = Raw::accept(&listener).await;
            let head = upstream.head().await;
            assert_eq!(
                field(&head, "transfer-encoding"),
                Some("chunked"),
                "{method}: {head}"
            );
            assert_eq!(upstream.chunk().await, "abc", "{method}");
            assert_eq!(upstream.chunk().await, "", "{method}");
            // Closed, so that the next request comes on a connection of its own.
            upstream
                .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .await;
            assert!(client.head().await.starts_with("http/1.1 200"), "{method}");
        }
    });
}

#[test]
fn trailers_of_a_request_are_not_passed_on() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client
            .send(
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Consumer-ID\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Consumer-ID: root\r\n\r\n",
            )
            .await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        assert_eq!(upstream.chunk().await, "abc");
        assert_eq!(upstream.text(5).await, "0\r\n\r\n");
    });
}

#[test]
fn a_chunked_answer_with_a_length_arrives_whole() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream
            .send(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                 6\r\nabcdef\r\n0\r\n\r\n",
            )
            .await;
        let head = client.head().await;
        assert_eq!(field(&head, "content-length"), None, "{head}");
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!(client.chunk().await, "abcdef");
        assert_eq!(client.chunk().await, "");
    });
}

#[test]
fn an_answer_in_a_coding_that_was_not_asked_for_is_a_bad_gateway() {
    on_one_thread(|| async {
        for coding in ["gzip, chunked", "gzip"] {
            let (listener, front) = proxied().await;
            let mut client = front.client().await;
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let mut upstream = Raw::accept(&listener).await;
            upstream.head().await;
            upstream
                .send(&format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                ))
                .await;
            let answer = client.message().await;
            assert_eq!(answer.status(), "502", "{coding}");
            assert!(answer.body.contains("transfer coding"), "{}", answer.body);
        }
    });
}

#[test]
fn an_answer_with_more_headers_than_anyone_needs_is_told_as_that() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        let many: String = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect();
        upstream
            .send(&format!(
                "HTTP/1.1 200 OK\r\n{many}Content-Length: 0\r\n\r\n"
            ))
            .await;
        let answer = client.message().await;
        assert_eq!(answer.status(), "502");
        assert!(answer.body.contains("too large"), "{}", answer.body);
    });
}

#[test]
fn an_upstream_that_refuses_a_body_early_is_heard() {
    on_one_thread(|| async {
        // The client goes on sending, the upstream has answered and closed: writing to it fails at
        // some time.
        for _ in 0..20 {
            let (listener, front) = proxied().await;
            let mut client = front.client().await;
            client
                .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n")
                .await;
            let upstream = tokio::task::spawn_local(async move {
                let mut upstream = Raw::accept(&listener).await;
                upstream.head().await;
                upstream
                    .send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
                    .await;
            });
            let chunk = "x".repeat(1 << 16);
            for _ in 0..128 {
                client.try_send(&chunk).await;
            }
            upstream.await.expect("the upstream answers");
            let answer = client.message().await;
            assert_eq!((answer.status(), answer.body.as_str()), ("413", "big"));
        }
    });
}

#[test]
fn a_length_beside_a_coding_is_not_believed() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client
            .send(
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\n\r\n",
            )
            .await;
        let mut upstream = Raw::accept(&listener).await;
        let head = upstream.head().await;
        assert_eq!(field(&head, "content-length"), None, "{head}");
        assert_eq!(upstream.chunk().await, "abc");
        assert_eq!(upstream.chunk().await, "");
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}
