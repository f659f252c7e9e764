//! Requests that are refused while their body is still to come.

use http::StatusCode;

use super::{Front, Hook, on_one_thread};

fn closed_to_all() -> Front {
    let hook =
        Hook(|_: &mut crate::ProxyRequest| Err(crate::refuse(StatusCode::UNAUTHORIZED, "no")));
    Front::with_plugins(&[], vec![Box::new(hook)])
}

#[test]
fn a_refusal_does_not_wait_for_the_body() {
    on_one_thread(|| async {
        let front = closed_to_all();
        for framing in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
            let mut client = front.client().await;
            client
                .send(&format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n"))
                .await;
            let answer = client.message().await;
            assert_eq!(answer.status(), "401", "{framing}");
            answer.assert_branded();
        }
    });
}

#[test]
fn the_connection_goes_on_once_a_short_body_has_come() {
    on_one_thread(|| async {
        let front = closed_to_all();
        let mut client = front.client().await;
        for _ in 0..3 {
            client
                .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
                .await;
            assert_eq!(client.message().await.status(), "401");
            client.send("abc").await;
        }
    });
}

#[test]
fn a_client_that_asks_first_is_refused_without_being_asked_for_the_body() {
    on_one_thread(|| async {
        let front = closed_to_all();
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
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
fn a_client_that_goes_on_sending_gets_to_read_the_refusal() {
    on_one_thread(|| async {
        let front = closed_to_all();
        for _ in 0..20 {
            let mut client = front.client().await;
            client
                .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 786432\r\n\r\n")
                .await;
            for _ in 0..12 {
                client.try_send(&"x".repeat(1 << 16)).await;
            }
            assert_eq!(client.message().await.status(), "401");
        }
    });
}
