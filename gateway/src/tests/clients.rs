//! The proxy side as well-behaved clients see it.

use super::{Front, Hook, on_one_thread};

#[test]
fn a_connection_is_kept_for_the_next_request() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        for path in ["/one?a=1", "/two"] {
            let answer = client.get(path).await;
            assert_eq!(answer.status(), "200");
            answer.assert_branded();
            assert_eq!(
                answer.json()["path"],
                path.split('?').next().unwrap_or_default()
            );
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        for path in ["/1", "/2", "/3"] {
            assert_eq!(client.message().await.json()["path"], path);
        }
    });
}

#[test]
fn head_has_the_length_and_no_body() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let head = client.head().await;
        assert!(
            super::raw::field(&head, "content-length").is_some(),
            "{head}"
        );
        assert_eq!(client.get("/next").await.json()["path"], "/next");
    });
}

#[test]
fn an_old_client_gets_an_answer_and_a_closed_connection() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client.send("GET / HTTP/1.0\r\n\r\n").await;
        let answer = client.message().await;
        assert_eq!(answer.status(), "200");
        answer.assert_branded();
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_body_is_asked_for_where_the_client_waits_to_be_asked() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        assert!(client.head().await.starts_with("http/1.1 100"));
        client.send("abc").await;
        assert_eq!(client.message().await.status(), "200");
    });
}

#[test]
fn a_chunked_body_is_read_to_its_end() {
    on_one_thread(|| async {
        let front = Front::start(&[]);
        let mut client = front.client().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(client.message().await.status(), "200");
        assert_eq!(client.get("/next").await.json()["path"], "/next");
    });
}

#[test]
fn a_request_in_flight_is_finished_when_the_front_drains() {
    on_one_thread(|| async {
        let mut front = Front::start(&[]);
        let (mut busy, mut idle) = (front.client().await, front.client().await);
        idle.get("/").await;
        busy.send(
            "POST /busy HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        )
        .await;
        busy.head().await;
        let address = front.address;
        let draining = tokio::task::spawn_local(async move { front.drain().await });
        assert_eq!(idle.rest().await, "", "an idle connection ends at once");
        busy.send("abc").await;
        assert_eq!(busy.message().await.json()["path"], "/busy");
        assert_eq!(busy.rest().await, "");
        draining.await.expect("the front has ended");
        tokio::net::TcpStream::connect(address)
            .await
            .expect_err("no one listens");
    });
}

#[test]
fn a_request_that_does_not_finish_is_cut_at_the_drains_end() {
    on_one_thread(|| async {
        let mut front = Front::start(&["--drain-timeout", "20ms"]);
        let mut stuck = front.client().await;
        stuck
            .send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .await;
        stuck.head().await;
        front.drain().await;
        assert_eq!(stuck.rest().await, "");
    });
}

#[test]
fn a_plugin_that_panics_ends_its_request_and_nothing_else() {
    on_one_thread(|| async {
        let hook = Hook(|request: &mut crate::ProxyRequest| {
            assert_ne!(request.uri().path(), "/panic", "as ordered");
            Ok(())
        });
        let front = Front::with_plugins(&[], vec![Box::new(hook)]);
        let mut client = front.client().await;
        let answer = client.get("/panic").await;
        assert_eq!(answer.status(), "500");
        assert_eq!(answer.body, r#"{"message":"Unexpected error"}"#);
        answer.assert_branded();
        assert_eq!(client.get("/").await.status(), "200");
    });
}
