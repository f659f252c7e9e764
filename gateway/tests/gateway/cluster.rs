//! Several processes of the program on one PostgreSQL database.

mod doctor;
mod faults;
mod probe;

use std::{net::SocketAddr, path::Path, time::Duration};

use tidings::clock::{Clock as _, SystemClock};
use tidings_testkit::{Database, Server};

use crate::process::{Program, ask, get, output, post};

/// Longer than anything here takes, and shorter than a test run that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a node of the cluster of a database.
pub(crate) fn node(database: &Database, name: &str, more: &[&str]) -> Program {
    let url = database.url();
    let flags = ["--database", &url, "--node-id", name, "--log", "warn"];
    Program::start(Path::new("/"), &[&flags[..], more].concat())
}

/// The status of an answer.
pub(crate) fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1);
    let status = status.and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The status that a key gets on the proxy side.
pub(crate) fn with_key(program: &Program, key: &str) -> u16 {
    status(&get(program.proxy, "/", &format!("apikey: {key}\r\n")))
}

/// One request to the admin side, with a form.
pub(crate) fn admin(address: SocketAddr, method: &str, path: &str, form: &str) -> String {
    let length = form.len();
    ask(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        ),
    )
}

/// Waits for a condition, but not without end.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(PATIENCE);
    while !holds() {
        assert!(clock.now() < deadline, "it never came: {what}");
        clock.sleep(Duration::from_millis(2)).await;
    }
}

// CL8, as fast as wake-ups are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_does_not_wait_for_a_poll() {
    let database = Server::shared().database().await;
    // By itself, a node would look only once in a minute.
    let flags = ["--cluster-poll", "1m"];
    let [a, b, _c] = ["a", "b", "c"].map(|name| node(&database, name, &flags));
    assert_eq!(status(&post(a.admin, "/consumers", "username=bob")), 201);
    let made = post(a.admin, "/consumers/bob/key-auth?confirm=20s", "key=k1");
    assert_eq!(status(&made), 201, "{made}");
    assert_eq!(with_key(&b, "k1"), 200);
    let gone = admin(a.admin, "DELETE", "/key-auths/k1?confirm=20s", "");
    assert_eq!(status(&gone), 204, "{gone}");
    assert_eq!(with_key(&b, "k1"), 401);
}

// IN1 to IN4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_writes_another_serves() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    assert_eq!(with_key(&b, "k1"), 401);
    let cached = "/cache/keyauth_credentials%3Ak1";
    let absent = get(b.admin, cached, "");
    assert!(status(&absent) == 200 && absent.ends_with("{}"), "{absent}");

    assert_eq!(status(&post(a.admin, "/consumers", "username=bob")), 201);
    let made = post(a.admin, "/consumers/bob/key-auth", "key=k1");
    assert_eq!(status(&made), 201);
    assert_eq!(with_key(&a, "k1"), 200);
    until("the absence goes", || with_key(&b, "k1") == 200).await;

    let changed = admin(a.admin, "PATCH", "/key-auths/k1", "key=k2");
    assert_eq!(status(&changed), 200, "{changed}");
    until("the old key is refused", || with_key(&b, "k1") == 401).await;
    until("the new key passes", || with_key(&b, "k2") == 200).await;

    let gone = admin(a.admin, "DELETE", "/consumers/bob", "");
    assert_eq!(status(&gone), 204, "{gone}");
    until("the consumer's key goes with it", || {
        with_key(&b, "k2") == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cluster_and_members_refuse_each_other() {
    let database = Server::shared().database().await;
    let url = database.url();
    let refused = |cluster: &str| {
        let flags = [
            "--database",
            &url,
            "--cluster",
            cluster,
            "--proxy-listen",
            "127.0.0.1:0",
        ];
        let output = output(
            Path::new("/"),
            &[&flags[..], &["--admin-listen", "127.0.0.1:0"]].concat(),
        );
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let member = node(&database, "a", &[]);
    let said = refused("none");
    assert!(said.contains("in use by another node"), "{said}");
    member.signal("TERM");
    assert_eq!(member.ended().0, Some(0));

    let alone = node(&database, "b", &["--cluster", "none"]);
    let said = refused("postgres");
    assert!(
        said.contains("in use by a node without a cluster"),
        "{said}"
    );
    let said = refused("none");
    assert!(said.contains("in use by another node"), "{said}");
    drop(alone);
}

/// The body of an answer, as JSON.
pub(crate) fn json(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Names and states of the members, as a node sees them.
pub(crate) fn members(program: &Program) -> Vec<(String, String)> {
    let view = json(&get(program.admin, "/cluster", ""));
    let members = view["members"].as_array().expect("a list").clone();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let member = |it: &serde_json::Value| (text(&it["node_id"]), text(&it["state"]));
    members.iter().map(member).collect()
}

pub(crate) fn named(members: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = members
        .iter()
        .map(|(name, state)| ((*name).to_owned(), (*state).to_owned()));
    owned.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_shows_its_members_until_they_leave_or_are_removed() {
    let database = Server::shared().database().await;
    let a = node(&database, "a", &["--cluster-name", "shop"]);
    let b = node(&database, "b", &["--max-staleness", "1h"]);
    let c = node(&database, "c", &[]);
    let all = named(&[("a", "live"), ("b", "live"), ("c", "live")]);
    until("all are live", || members(&a) == all).await;

    let view = json(&get(a.admin, "/cluster", ""));
    assert_eq!(
        (&view["engine"], &view["cluster"]),
        (&"postgres".into(), &"shop".into())
    );
    assert_eq!(
        (&view["node_id"], &view["state"]),
        (&"a".into(), &"connected".into())
    );
    assert_eq!(
        (&view["fresh"], &view["lag"]["records"]),
        (&true.into(), &0.into())
    );
    assert_eq!(view["gaps"]["total"], 0);
    let bounds = view["members"].as_array().expect("a list").iter();
    let bounds: Vec<_> = bounds.map(|it| it["max_staleness"].as_f64()).collect();
    assert_eq!(bounds, [None, Some(3_600.0), None]);
    let status = json(&get(a.admin, "/status", ""));
    assert_eq!(
        (&status["cluster"]["mode"], &status["cluster"]["state"]),
        (&"postgres".into(), &"connected".into())
    );

    // One leaves, one dies.
    b.signal("TERM");
    assert_eq!(b.ended().0, Some(0));
    drop(c);
    let left = named(&[("a", "live"), ("c", "late")]);
    until("the dead one is late", || members(&a) == left).await;
    let removed = admin(a.admin, "DELETE", "/cluster/members/c", "");
    assert_eq!(self::status(&removed), 204, "{removed}");
    assert_eq!(members(&a), named(&[("a", "live")]));

    let metrics = get(a.admin, "/metrics", "");
    for name in [
        "tidings_cluster_records_total{direction=\"read\"}",
        "tidings_cluster_records_total{direction=\"written\"}",
        "tidings_cluster_gaps_total{reason=\"epoch\"} 0",
        "tidings_cluster_purges_total{reason=\"admin\"} 0",
        "tidings_cluster_fresh 1",
        "tidings_cluster_woken 1",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_evicted_for_the_cluster_goes_on_every_node_and_otherwise_on_one() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    let cached =
        |program: &Program| status(&get(program.admin, "/cache/keyauth_credentials%3Ak1", ""));
    for (path, reached) in [
        ("/cache/keyauth_credentials%3Ak1?cluster=true", true),
        ("/cache?cluster=true", true),
        ("/cache/keyauth_credentials%3Ak1", false),
        ("/cache", false),
    ] {
        for program in [&a, &b] {
            assert_eq!(
                (with_key(program, "k1"), cached(program)),
                (401, 200),
                "{path}"
            );
        }
        let evicted = admin(a.admin, "DELETE", path, "");
        assert_eq!(status(&evicted), 204, "{evicted}");
        assert_eq!(cached(&a), 404, "{path}");
        if reached {
            until("the other node evicts", || cached(&b) == 404).await;
        } else {
            assert_eq!(cached(&b), 200, "{path}");
        }
    }
    let metrics = get(b.admin, "/metrics", "");
    let purged = "tidings_cluster_purges_total{reason=\"admin\"} 1";
    assert!(metrics.contains(purged), "{metrics}");
}
