//! Requests to the upstream, its answers, and an upstream that does not answer.

use tokio::net::TcpListener;

use super::{
    Front, Hook, on_one_thread,
    raw::{Raw, field},
};

/// Returns the listener of an upstream, and a front that forwards to it.
async fn proxied(flags: &[&str]) -> (TcpListener, Front) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let front = Front::start(&[&["--upstream", &url], flags].concat());
    (listener, front)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn headers_of_one_hop_are_dropped_both_ways_and_the_forwarded_ones_added() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client
            .send(
                "GET /a%2Fb?c=%20 HTTP/1.1\r\nHost: asked:1\r\nConnection: x-mine, keep-alive\r\nX-Mine: 1\r\n\
                 Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: x\r\nUpgrade: h2c\r\n\
                 X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: forged\r\nX-Kept: 1\r\n\r\n",
            )
            .await;
        let mut upstream = Raw::accept(&listener).await;
        let head = upstream.head().await;
        assert!(head.starts_with("get /a%2fb?c=%20 http/1.1\r\n"), "{head}");
        for gone in [
            "connection",
            "x-mine",
            "keep-alive",
            "te",
            "proxy-authorization",
            "upgrade",
        ] {
            assert_eq!(field(&head, gone), None, "{head}");
        }
        let address = listener.local_addr().expect("an address").to_string();
        assert_eq!(field(&head, "host"), Some(address.as_str()));
        assert_eq!(field(&head, "x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("asked:1"));
        assert_eq!(field(&head, "x-kept"), Some("1"));
        upstream
            .send(
                "HTTP/1.1 201 Fine\r\nContent-Length: 2\r\nConnection: x-theirs\r\nX-Theirs: 1\r\nKeep-Alive: 9\r\n\
                 X-Tidings-Node: forged\r\nX-Kept: 2\r\n\r\nok",
            )
            .await;
        let answer = client.message().await;
        assert_eq!((answer.status(), answer.body.as_str()), ("201", "ok"));
        assert_eq!(
            (answer.field("x-theirs"), answer.field("keep-alive")),
            (None, None)
        );
        assert_eq!(answer.field("x-kept"), Some("2"));
        answer.assert_branded();
    });
}

#[test]
fn the_context_of_a_trace_is_passed_on() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        client
            .send(&format!(
                "GET / HTTP/1.1\r\nHost: h\r\ntraceparent: {context}\r\ntracestate: a=b\r\n\r\n"
            ))
            .await;
        let head = Raw::accept(&listener).await.head().await;
        assert_eq!(field(&head, "traceparent"), Some(context));
        assert_eq!(field(&head, "tracestate"), Some("a=b"));
    });
}

#[test]
fn a_header_that_a_plugin_sets_cannot_be_taken_away_by_naming_it_in_connection() {
    on_one_thread(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let hook = Hook(|request: &mut crate::ProxyRequest| {
            let value = http::HeaderValue::from_static("bob");
            request.headers_mut().insert("x-consumer-username", value);
            Ok(())
        });
        let front = Front::with_plugins(&["--upstream", &url], vec![Box::new(hook)]);
        let mut client = front.client().await;
        client
            .send("GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Consumer-Username\r\n\r\n")
            .await;
        let head = Raw::accept(&listener).await.head().await;
        assert_eq!(field(&head, "x-consumer-username"), Some("bob"));
    });
}

#[test]
fn a_target_in_absolute_form_is_passed_on_as_a_path() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client
            .send("GET http://asked/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
            .await;
        let head = Raw::accept(&listener).await.head().await;
        assert!(head.starts_with("get /x?y http/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "x-forwarded-host"), Some("asked"));
    });
}

#[test]
fn a_connection_to_the_upstream_is_used_again() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut upstream = Raw::accept(&listener).await;
        for _ in 0..3 {
            upstream.head().await;
            upstream.send(OK).await;
            assert_eq!(client.message().await.body, "ok");
            client.send(GET).await;
        }
        upstream.head().await;
    });
}

#[test]
fn a_kept_connection_that_the_upstream_has_closed_costs_no_request_that_can_be_repeated() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut first = Raw::accept(&listener).await;
        first.head().await;
        first.send(OK).await;
        client.message().await;

        client.send(GET).await;
        first.head().await;
        drop(first); // no byte of an answer
        let mut second = Raw::accept(&listener).await;
        second.head().await;
        second.send(OK).await;
        assert_eq!(client.message().await.body, "ok");

        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            .await;
        second.head().await;
        drop(second);
        let answer = client.message().await;
        assert_eq!(answer.status(), "502", "a post is not sent twice");
        answer.assert_branded();
    });
}

#[test]
fn a_fresh_connection_that_breaks_is_a_502_and_not_tried_again() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        Raw::accept(&listener).await.head().await;
        let answer = client.message().await;
        assert_eq!(answer.status(), "502");
        assert!(answer.json()["message"].is_string());
    });
}

#[test]
fn an_upstream_that_is_not_there_is_a_502() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        drop(listener);
        let mut client = front.client().await;
        let answer = client.get("/").await;
        assert_eq!(answer.status(), "502");
        assert!(answer.json()["message"].is_string());
        answer.assert_branded();
        assert_eq!(
            client.get("/").await.status(),
            "502",
            "the client's connection goes on"
        );
    });
}

#[test]
fn an_upstream_that_says_nothing_is_a_504() {
    on_one_thread(|| async {
        let (_listener, front) = proxied(&["--upstream-timeout", "30ms"]).await;
        let answer = front.client().await.get("/").await;
        assert_eq!(answer.status(), "504");
        answer.assert_branded();
    });
}

#[test]
fn an_answer_that_stops_half_way_ends_the_connection() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&["--upstream-timeout", "30ms"]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
        client.head().await;
        assert_eq!(client.rest().await, "half");
    });
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answer() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        client.close_sending().await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert!(client.rest().await.ends_with("ok"));
    });
}

#[test]
fn a_client_that_goes_away_costs_no_one_else_anything() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut first = Raw::accept(&listener).await;
        first.head().await;
        drop(client);

        let mut other = front.client().await;
        other.send(GET).await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(other.message().await.body, "ok");
        first.send(OK).await;
        other.send(GET).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(other.message().await.body, "ok");
    });
}

#[test]
fn an_upstream_that_switches_protocols_unasked_is_a_bad_gateway() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client.send(GET).await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        let answer = client.message().await;
        assert_eq!(answer.status(), "502");
        answer.assert_branded();
    });
}

#[test]
fn a_body_that_breaks_off_is_the_clients_fault_and_not_the_upstreams() {
    on_one_thread(|| async {
        let (listener, front) = proxied(&[]).await;
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await;
        let mut upstream = Raw::accept(&listener).await;
        upstream.head().await;
        assert_eq!(upstream.chunk().await, "abc");
        client.send("nonsense\r\n").await;
        let answer = client.message().await;
        assert_eq!(answer.status(), "400");
        answer.assert_branded();
    });
}
