//! Several processes of the program on one database file.

use std::{fs, path::Path};

use crate::{
    cluster::{admin, members, named, status, until, with_key},
    process::{Program, get, output, post},
};

/// A database file in a directory of its own.
struct File(tempfile::TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.0.path().join("a.db").display())
    }

    /// Starts a node of the file's cluster.
    fn node(&self, name: &str) -> Program {
        let url = self.url();
        let database = ["--database", &url, "--cluster", "sqlite"];
        let flags = [&database[..], &["--node-id", name, "--log", "warn"]].concat();
        Program::start(Path::new("/"), &flags)
    }
}

// IN1 to IN4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_writes_another_serves_and_one_that_is_killed_harms_no_one() {
    let file = File::new();
    let (a, b) = (file.node("a"), file.node("b"));
    assert_eq!(with_key(&b, "k1"), 401);
    assert_eq!(status(&post(a.admin, "/consumers", "username=bob")), 201);
    let made = post(a.admin, "/consumers/bob/key-auth", "key=k1");
    assert_eq!(status(&made), 201);
    assert_eq!(with_key(&a, "k1"), 200);
    until("the absence goes", || with_key(&b, "k1") == 200).await;

    let both = named(&[("a", "live"), ("b", "live")]);
    until("both are live", || members(&a) == both).await;
    let view = get(a.admin, "/cluster", "");
    assert!(view.contains("\"engine\":\"sqlite\""), "{view}");

    // A killed process leaves no lock.
    drop(a);
    let changed = admin(b.admin, "PATCH", "/key-auths/k1", "key=k2");
    assert_eq!(status(&changed), 200, "{changed}");
    let c = file.node("c");
    assert_eq!(with_key(&c, "k2"), 200);
    let gone = admin(b.admin, "DELETE", "/consumers/bob", "");
    assert_eq!(status(&gone), 204, "{gone}");
    until("the consumer's key goes with it", || {
        with_key(&c, "k2") == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_and_members_refuse_each_other_on_a_file() {
    let file = File::new();
    let url = file.url();
    let refused = |cluster: &str| {
        let database = ["--database", &url, "--cluster", cluster];
        let listen = [
            "--proxy-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ];
        let output = output(Path::new("/"), &[database, listen].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let member = file.node("a");
    let said = refused("none");
    assert!(said.contains("in use"), "{said}");
    member.signal("TERM");
    assert_eq!(member.ended().0, Some(0));

    let flags = ["--database", &url, "--cluster", "none", "--log", "warn"];
    let alone = Program::start(Path::new("/"), &flags);
    let said = refused("sqlite");
    assert!(said.contains("in use"), "{said}");
    drop(alone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_id_another_process_has_taken_says_why_it_is_disconnected() {
    let file = File::new();
    let first = file.node("a");
    let second = file.node("a");
    let why = "another process was started under this node's id";
    until("the first says why", || {
        get(first.admin, "/status", "").contains(why)
    })
    .await;
    let view = get(first.admin, "/cluster", "");
    assert!(
        view.contains("\"state\":\"disconnected\"") && view.contains(why),
        "{view}"
    );
    for command in ["status", "cluster"] {
        let admin = format!("http://{}", first.admin);
        let shown = output(Path::new("/"), &[command, "--admin", &admin]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(why), "{shown}");
    }
    let other = get(second.admin, "/status", "");
    assert!(other.contains("\"reason\":null"), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_log_is_logged_once_when_it_begins_and_once_when_it_ends() {
    let file = File::new();
    let url = file.url();
    let flags = ["--database", &url, "--cluster", "sqlite", "--log", "info"];
    let node = Program::start(Path::new("/"), &flags);
    let is = |state: &str| get(node.admin, "/cluster", "").contains(state);
    until("it follows the log", || is("\"state\":\"connected\"")).await;

    let path = |name: &str| file.0.path().join(name);
    fs::rename(path("a.db"), path("gone.db")).expect("it is there");
    until("it notices", || is("\"state\":\"disconnected\"")).await;
    fs::rename(path("gone.db"), path("a.db")).expect("it is there");
    until("it follows again", || is("\"state\":\"connected\"")).await;

    node.signal("TERM");
    let (_, _, log) = node.ended();
    for line in ["the log does not answer", "the log answers again"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
}
