//! Clients that take their time.

use super::{Front, on_one_thread};

/// All limits but one are far away, so that it is this one that ends the connection.
const SHORT: &str = "30ms";

#[test]
fn a_head_that_dribbles_in_ends_the_connection() {
    on_one_thread(|| async {
        let front = Front::start(&["--header-timeout", SHORT]);
        let mut loris = front.client().await;
        loris.send("GET / HTTP/1.1\r\nHost: h\r\nX-Slow").await;
        assert_eq!(loris.rest().await, "");
        assert_eq!(
            front.client().await.get("/").await.status(),
            "200",
            "the node goes on"
        );
    });
}

#[test]
fn bytes_that_keep_coming_do_not_extend_the_time_for_a_head() {
    on_one_thread(|| async {
        let front = Front::start(&["--header-timeout", "200ms"]);
        let mut loris = front.client().await;
        loris.get("/").await;
        loris.send("GET / HTTP/1.1\r\nX: ").await;
        let mut dribble = tokio::time::interval(std::time::Duration::from_millis(5));
        let started = std::time::Instant::now();
        loop {
            tokio::select! {
                rest = loris.rest() => {
                    assert_eq!(rest, "");
                    break;
                }
                _ = dribble.tick() => {}
            }
            loris.try_send("x").await;
            assert!(
                started.elapsed() < super::NEVER / 2,
                "the connection has no end"
            );
        }
    });
}

#[test]
fn a_connection_that_says_nothing_ends() {
    on_one_thread(|| async {
        let front = Front::start(&["--header-timeout", SHORT]);
        assert_eq!(front.client().await.rest().await, "");
    });
}

#[test]
fn an_idle_connection_ends() {
    on_one_thread(|| async {
        let front = Front::start(&["--idle-timeout", SHORT]);
        let mut client = front.client().await;
        client.get("/").await;
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_body_that_is_announced_and_does_not_come_ends_the_connection() {
    on_one_thread(|| async {
        let front = Front::start(&["--body-timeout", SHORT]);
        let mut client = front.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
            .await;
        assert_eq!(client.rest().await, "");
    });
}
