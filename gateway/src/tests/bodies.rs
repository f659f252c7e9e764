//! Bodies that are passed on while they come.

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

#[test]
fn each_part_of_a_request_arrives_before_the_next_is_sent() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
            .await;
        let mut upstream = Raw::accept(&listener).await;
        let head = upstream.head().await;
        assert_eq!(field(&head, "content-length"), Some("6"));
        assert_eq!(upstream.text(3).await, "abc");
        client.send("def").await;
        assert_eq!(upstream.text(3).await, "def");
    });
}

#[test]
fn each_part_of_an_answer_arrives_before_the_next_is_sent() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await;
        let head = client.head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(client.chunk().await, "abc");
        upstream.send("3\r\ndef\r\n").await;
        assert_eq!(client.chunk().await, "def");
        upstream.send("0\r\n\r\n").await;
        assert_eq!(client.chunk().await, "");
    });
}

#[test]
fn a_request_with_two_lengths_is_passed_on_with_one() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client
            .send(
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
            )
            .await;
        let mut upstream = Raw::accept(&listener).await;
        let head = upstream.head().await;
        assert_eq!(field(&head, "content-length"), None, "{head}");
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!(upstream.chunk().await, "abc");
        assert_eq!(upstream.chunk().await, "");
    });
}

#[test]
fn an_early_answer_is_passed_back_while_the_request_is_still_sent() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
            .await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
            .await;
        let answer = client.message().await;
        assert_eq!((answer.status(), answer.body.as_str()), ("413", "no"));
    });
}

#[test]
fn an_answer_without_a_length_ends_with_the_upstreams_connection() {
    on_one_thread(|| async {
        let (listener, front) = proxied().await;
        let mut client = front.client().await;
        client.send("GET / HTTP/1.0\r\n\r\n").await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\n\r\nto the end").await;
        drop(upstream);
        client.head().await;
        assert_eq!(client.rest().await, "to the end");
    });
}
