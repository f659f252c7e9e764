//! Processes of the program on one PostgreSQL database, which wake each other by a broker.

use tidings_testkit::{Broker, Protocol, Server};

use crate::{
    cluster::{admin, node, status, until, with_key},
    process::{get, post},
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

        broker.stop();
        let ready = get(b.admin, "/readyz", "");
        assert_eq!(status(&ready), 200, "{ready}");
        let flags = ["--cluster", &url, "--cluster-name", "shop"];
        let c = node(&database, "c", &flags);
        let made = post(a.admin, "/consumers/bob/key-auth", "key=k2");
        assert_eq!(status(&made), 201);
        until("a poll finds it", || with_key(&c, "k2") == 200).await;
    }
}
