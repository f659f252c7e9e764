//! Requests that are refused.

use http::StatusCode;

use super::{Front, Hook, on_one_thread, raw::Raw};

async fn refused(client: &mut Raw, request: &str, status: &str) {
    client.try_send(request).await;
    let answer = client.message().await;
    assert_eq!(answer.status(), status, "{request:?}");
    assert!(answer.json()["message"].is_string(), "{}", answer.body);
    answer.assert_branded();
}

#[test]
fn a_corrupt_request_is_refused_in_our_form() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        for request in [
            "nonsense\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "GET / HTTP/1.1\r\nbad header\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET /\u{1} HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a:port\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a[b]\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a, b\r\n\r\n",
        ] {
            refused(&mut front.client().await, request, "400").await;
        }
    });
}

#[test]
fn every_form_of_a_host_is_taken() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        for host in [
            "",
            "h",
            "h:80",
            "127.0.0.1:8000",
            "[::1]:8000",
            "a_b.example",
        ] {
            let mut client = front.client().await;
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            client.send(&request).await;
            assert_eq!(client.message().await.status(), "200", "{host:?}");
        }
    });
}

#[test]
fn a_corrupt_request_after_a_good_one_is_refused_in_our_form_too() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client.get("/").await;
        refused(&mut client, "nonsense\r\n\r\n", "400").await;
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_head_of_a_mebibyte_is_refused_and_one_that_fits_is_not() {
    on_one_thread(|| async {
        let front = Front::start(&["--header-size", "64k"]);
        let with = |size: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: h\r\nX-Long: {}\r\n\r\n",
                "x".repeat(size)
            )
        };
        let mut client = front.client().await;
        client.send(&with(60 << 10)).await;
        assert_eq!(client.message().await.status(), "200");

        let mut client = front.client().await;
        client.try_send(&with(1 << 20)).await;
        let rest = client.rest().await;
        // The client was still sending: it may see a reset in place of the refusal.
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 431"),
            "{rest:?}"
        );

        let mut client = front.client().await;
        refused(&mut client, &with(66 << 10), "431").await;
        assert_eq!(
            front.client().await.get("/").await.status(),
            "200",
            "the node goes on"
        );
    });
}

#[test]
fn more_headers_than_anyone_needs_are_refused() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n");
        refused(&mut front.client().await, &request, "431").await;
    });
}

#[test]
fn tunnels_are_refused() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        refused(
            &mut client,
            "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
            "501",
        )
        .await;
        let upgrade =
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        refused(&mut client, upgrade, "501").await;
        assert_eq!(
            client.get("/").await.status(),
            "200",
            "the connection goes on"
        );
    });
}

fn closed_to_all() -> Front {
    let hook =
        Hook(|_: &mut crate::ProxyRequest| Err(crate::refuse(StatusCode::UNAUTHORIZED, "no")));
    Front::with_plugins(&[], vec![Box::new(hook)])
}

#[test]
fn a_refused_request_with_a_small_body_leaves_the_connection_usable() {
    on_one_thread(|| async {
        let front = closed_to_all();
        let mut client = front.client().await;
        for _ in 0..2 {
            refused(
                &mut client,
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
                "401",
            )
            .await;
        }
    });
}

#[test]
fn a_refused_request_with_a_large_body_is_not_read_to_its_end() {
    on_one_thread(|| async {
        let front = closed_to_all();
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000000\r\n\r\n")
            .await;
        let answer = client.message().await;
        assert_eq!(
            (answer.status(), answer.field("connection")),
            ("401", Some("close"))
        );
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_transfer_coding_that_would_get_lost_is_refused() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"
            );
            refused(&mut front.client().await, &request, "501").await;
        }
    });
}

#[test]
fn the_echo_shows_what_an_upstream_would_get() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client
            .send(
                "GET / HTTP/1.1\r\nHost: asked\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\nTE: trailers\r\n\
                 X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\r\n",
            )
            .await;
        let expected = serde_json::json!({
            "host": "asked",
            "x-forwarded-for": "9.9.9.9, 127.0.0.1",
            "x-forwarded-proto": "http",
            "x-forwarded-host": "asked",
        });
        assert_eq!(client.message().await.json()["headers"], expected);
    });
}
