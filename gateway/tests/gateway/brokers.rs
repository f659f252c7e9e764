//! Processes of the program on one PostgreSQL database, which wake each other by a broker.

use tidings_testkit::{Broker, Protocol, Server};

use crate::{
    cluster::{admin, json, node, status, until, with_key},
    process::{Program, get, post},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_woken_by_the_broker_and_go_on_without_it() {
    for protocol in [Protocol::Nats, Protocol::Redis] {
        let database = Server::shared().database().await;
        let mut broker = Broker::start(protocol);
        let url = broker.url();
        // By itself, a node would look only once in a minute.
        let flags = [
            "--cluster",
            &url,
            "--cluster-name",
            "shop",
            "--cluster-poll",
            "1m",
        ];
        let (a, b) = (node(&database, "a", &flags), node(&database, "b", &flags));
        assert_eq!(with_key(&b, "k1"), 401);
        assert_eq!(status(&post(a.admin, "/consumers", "username=bob")), 201);
        let made = post(a.admin, "/consumers/bob/key-auth", "key=k1");
        assert_eq!(status(&made), 201);
        until("the absence goes", || with_key(&b, "k1") == 200).await;
        let gone = admin(a.admin, "DELETE", "/key-auths/k1?confirm=20s", "");
        assert_eq!(status(&gone), 204, "{gone}");
        assert_eq!(with_key(&b, "k1"), 401);

        until("it says that it is woken", || says(&b, "connected", 1)).await;
        broker.stop();
        until("it says that it is not", || says(&b, "lost", 0)).await;
        let ready = get(b.admin, "/readyz", "");
        assert_eq!(status(&ready), 200, "{ready}");
        let flags = ["--cluster", &url, "--cluster-name", "shop"];
        let c = node(&database, "c", &flags);
        let made = post(a.admin, "/consumers/bob/key-auth", "key=k2");
        assert_eq!(status(&made), 201);
        until("a poll finds it", || with_key(&c, "k2") == 200).await;
        broker.restart();
        until("it is woken again", || says(&b, "connected", 1)).await;
    }
}

/// Whether a node shows the state of its wake-ups in all three places.
fn says(node: &Program, state: &str, woken: u8) -> bool {
    let metrics = get(node.admin, "/metrics", "");
    let links = ["/status", "/cluster"].map(|path| {
        let body = json(&get(node.admin, path, ""));
        let link = body.get("wake_ups").unwrap_or(&body["cluster"]["wake_ups"]);
        assert!(link["since"].as_i64().is_some(), "{path}: {body}");
        link["state"].clone()
    });
    metrics.contains(&format!("\ntidings_cluster_woken {woken}\n"))
        && links.iter().all(|link| link == state)
}
