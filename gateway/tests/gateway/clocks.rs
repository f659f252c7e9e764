//! Nodes whose clocks are hours off, and jump.

use std::path::Path;

use tidings_testkit::{Database, Server};

use crate::{
    cluster::{admin, status, with_key},
    process::{Program, get, post},
    wall::WallClocks,
};

const HOURS: i64 = 9 * 3600;

/// A node whose clock is right, one whose clock is ahead, and one whose clock is behind.
struct Nodes {
    walls: WallClocks,
    programs: [Program; 3],
}

impl Nodes {
    fn start(flags: &[&str]) -> Self {
        let walls = WallClocks::new(3);
        walls.shift(1, HOURS);
        walls.shift(2, -HOURS);
        let programs = [0, 1, 2].map(|node| {
            let name = format!("n{node}");
            let more = ["--node-id", &name, "--max-staleness", "5s", "--log", "warn"];
            let flags = [flags, &more[..]].concat();
            Program::start_with(Path::new("/"), &flags, |command| walls.apply(node, command))
        });

        let hours = programs.each_ref().map(hour_of_day);
        let [right, ahead, behind] = &hours;
        assert!(right != ahead && right != behind, "{hours:?}");

        Self { walls, programs }
    }

    /// Asserts what every node answers for a key.
    fn all_answer(&self, key: &str, expected: u16) {
        let answers = self.programs.each_ref().map(|node| with_key(node, key));
        assert_eq!(answers, [expected; 3], "{key}");
    }

    /// Makes a key by one node and revokes it by another: whatever the clocks say, both receipts
    /// are confirmed by all three, and every node goes by them at once.
    fn make_and_revoke(&self, key: &str, by: &Program, then_by: &Program) {
        let form = format!("key={key}");
        let made = post(by.admin, "/consumers/bob/key-auth?confirm=20s", &form);
        assert_eq!(status(&made), 201, "{made}");
        assert!(made.contains("x-tidings-confirmed: all"), "{made}");
        self.all_answer(key, 200);
        self.all_answer(key, 200); // from the cache

        let path = format!("/key-auths/{key}?confirm=20s");
        let gone = admin(then_by.admin, "DELETE", &path, "");
        assert_eq!(status(&gone), 204, "{gone}");
        assert!(gone.contains("x-tidings-confirmed: all"), "{gone}");
        self.all_answer(key, 401);
    }

    /// Writes by one node, and asks another with the position of the write.
    fn write_and_ask_after(&self, key: &str, by: &Program, of: &Program) {
        let made = post(by.admin, "/consumers/bob/key-auth", &format!("key={key}"));
        let position = made
            .lines()
            .find_map(|line| line.strip_prefix("x-tidings-position: "));
        let position = position.unwrap_or_else(|| panic!("no position: {made}"));
        let headers = format!("apikey: {key}\r\nx-tidings-after: {position}\r\n");
        let answer = get(of.proxy, "/", &headers);
        assert_eq!(status(&answer), 200, "{answer}");
    }

    fn keep_every_promise(&self) {
        let [right, ahead, behind] = &self.programs;
        assert_eq!(
            status(&post(behind.admin, "/consumers", "username=bob")),
            201
        );
        self.make_and_revoke("k1", ahead, behind);
        self.make_and_revoke("k2", behind, right);
        self.write_and_ask_after("k3", ahead, behind);
        self.write_and_ask_after("k4", behind, ahead);

        // Now the other way, under the nodes that run.
        self.walls.shift(1, -HOURS);
        self.walls.shift(2, HOURS);
        self.make_and_revoke("k5", behind, ahead);
        self.make_and_revoke("k6", right, behind);
        self.write_and_ask_after("k7", ahead, right);
    }
}

/// Returns the hour that a node's answers name.
fn hour_of_day(node: &Program) -> String {
    let answer = get(node.admin, "/livez", "");
    let date = answer.lines().find_map(|line| line.strip_prefix("date: "));
    let hour = date.and_then(|date| date.split(' ').nth(4)?.get(..2));
    hour.unwrap_or_else(|| panic!("no date: {answer}"))
        .to_owned()
}

// CL14, and CL20 as far as nodes go: a row expires by the database's clock, whatever theirs say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_are_hours_off_keep_every_promise_on_postgres() {
    let database = Server::shared().database().await;
    let nodes = Nodes::start(&["--database", &database.url()]);
    nodes.keep_every_promise();
    expires_by_the_databases_clock(&nodes, &database);
}

/// Two keys, one of which has an hour left by the database's clock and has expired by that of one
/// node, and another that has expired and has hours left by that of another node.
fn expires_by_the_databases_clock(nodes: &Nodes, database: &Database) {
    let [right, ..] = &nodes.programs;
    for key in ["valid", "expired"] {
        let form = format!("key={key}&ttl=3600");
        let made = post(right.admin, "/consumers/bob/key-auth", &form);
        assert_eq!(status(&made), 201, "{made}");
    }
    database.psql(
        "update keyauth_credentials set expires_at = expires_at - 7200 where key = 'expired'",
    );

    // What this receipt covers was committed after it.
    nodes.make_and_revoke("k8", right, right);
    nodes.all_answer("valid", 200);
    nodes.all_answer("expired", 401);
}

// CL14. The clock of a file is that of the process that asks, so rows expire by each node's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_are_hours_off_keep_every_promise_on_sqlite() {
    let folder = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    Nodes::start(&["--database", &url, "--cluster", "sqlite"]).keep_every_promise();
}
