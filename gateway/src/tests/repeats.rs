//! How often one request is sent to an upstream.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use tokio::net::TcpListener;

use super::{Front, on_one_thread, raw::Raw};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Starts an upstream that answers a GET; for any other request it sends `broken`, hangs up, and
/// counts it.
async fn upstream(broken: String) -> (SocketAddr, Rc<Cell<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let broken: Rc<str> = broken.into();
    let asked = Rc::new(Cell::new(0));
    let counts = Rc::clone(&asked);
    tokio::task::spawn_local(async move {
        loop {
            let mut connection = Raw::accept(&listener).await;
            let (asked, broken) = (Rc::clone(&counts), Rc::clone(&broken));
            tokio::task::spawn_local(async move {
                while let Some(head) = connection.try_head().await {
                    if !head.starts_with("get") {
                        asked.set(asked.get() + 1);
                        connection.try_send(&broken).await;
                        return;
                    }
                    connection.send(OK).await;
                }
            });
        }
    });
    (address, asked)
}

/// Fills the pool with idle connections to the upstream, then sends one request. Returns its
/// status, and how often the upstream got it.
async fn asked_for(request: &str, broken: String) -> (String, u32) {
    let (address, asked) = upstream(broken).await;
    let front = Front::start(&["--upstream", &format!("http://{address}")]);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = front.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.message().await.body, "ok");
    }

    let client = &mut clients[0];
    client.send(request).await;
    let status = client.message().await.status().to_owned();
    // A further attempt would have come before this answer.
    assert_eq!(client.get("/").await.body, "ok");
    (status, asked.get())
}

const DELETE: &str = "DELETE / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_request_whose_answer_had_begun_is_not_sent_again() {
    on_one_thread(|| async {
        let many: String = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect();
        for broken in [
            "HTTP/1.1 200 OK\r\n".to_owned(),
            "H".to_owned(),
            "nonsense\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        ] {
            let outcome = asked_for(DELETE, broken.clone()).await;
            assert_eq!(outcome, ("502".to_owned(), 1), "{broken:?}");
        }
    });
}

#[test]
fn a_request_without_a_byte_of_an_answer_is_sent_once_more_at_most() {
    on_one_thread(|| async {
        assert_eq!(
            asked_for(DELETE, String::new()).await,
            ("502".to_owned(), 2)
        );
    });
}

#[test]
fn a_request_that_is_not_idempotent_or_has_a_body_is_sent_once() {
    on_one_thread(|| async {
        for request in [
            "POST / HTTP/1.1\r\nHost: h\r\n\r\n",
            "PATCH / HTTP/1.1\r\nHost: h\r\n\r\n",
            "LINK / HTTP/1.1\r\nHost: h\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        ] {
            let outcome = asked_for(request, String::new()).await;
            assert_eq!(outcome, ("502".to_owned(), 1), "{request:?}");
        }
    });
}
