//! Processes that are killed or stopped, and a server that crashes, while others read and write.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use tidings::clock::{Clock as _, SystemClock};
use tidings_testkit::{Database, Server};

use super::{admin, members, named, node, until, with_key};
use crate::process::{Program, get, post};

/// How many keys a writer makes before something happens to it.
const KEYS: usize = 25;

/// Makes the consumer whose keys the tests write.
fn consumer(on: &Program) {
    let made = post(on.admin, "/consumers", "username=bob");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
}

/// Makes keys one after the other, each with a revocation of an earlier one, until it fails or
/// `end` is set. Counts the keys that it has asked for.
fn write(address: std::net::SocketAddr, asked: &AtomicUsize, end: &AtomicBool) {
    for number in 0.. {
        if end.load(Ordering::SeqCst) {
            return;
        }
        asked.store(number + 1, Ordering::SeqCst);
        let made = std::panic::catch_unwind(|| {
            post(
                address,
                "/consumers/bob/key-auth",
                &format!("key=k{number}"),
            )
        });
        // The writer may be gone, or its database away.
        if made.is_err() {
            return;
        }
        if number % 2 == 1 {
            let path = format!("/key-auths/k{}", number - 1);
            let _ = std::panic::catch_unwind(|| admin(address, "DELETE", &path, ""));
        }
    }
}

/// Waits until a node answers for every key as the database does.
async fn agrees(program: &Program, database: &Database, keys: usize) {
    let there = || database.psql("select key from keyauth_credentials");
    let mut rows = there();
    for number in 0..keys {
        let key = format!("k{number}");
        let status = |rows: &str| {
            let is_there = rows.lines().any(|row| row == key);
            if is_there { 200 } else { 401 }
        };
        until(&format!("{key} is as in the database"), || {
            let answers = with_key(program, &key);
            if answers == status(&rows) {
                return true;
            }
            // What a killed writer had sent may have been committed since.
            rows = there();
            answers == status(&rows)
        })
        .await;
    }
}

/// Ends the writer and the reader when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Injects a fault while one node writes and another reads. Returns how many keys were asked for.
async fn under_load(writer: &Program, reader: &Program, fault: impl AsyncFnOnce()) -> usize {
    let (asked, end) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (written_to, read_from) = (writer.admin, reader.proxy);
    std::thread::scope(|scope| {
        scope.spawn(|| write(written_to, &asked, &end));
        scope.spawn(|| {
            // Absences are cached, and keys before they are revoked.
            while !end.load(Ordering::SeqCst) {
                let key = asked.load(Ordering::SeqCst);
                let header = format!("apikey: k{key}\r\n");
                if std::panic::catch_unwind(|| get(read_from, "/", &header)).is_err() {
                    return; // it is gone
                }
            }
        });
        // An injection that fails must end them too.
        let _end = End(&end);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                until("some keys", || asked.load(Ordering::SeqCst) >= KEYS).await;
                fault().await;
            });
        });
    });
    asked.load(Ordering::SeqCst)
}

// CL3 and CL5: a writer is also the process that wakes the others after its commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_killed_leaves_nothing_behind_that_others_miss() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    consumer(&a);
    let keys = under_load(&a, &b, async || a.signal("KILL")).await;
    agrees(&b, &database, keys).await;

    // The next start with its name takes its place.
    drop(a);
    let a = node(&database, "a", &[]);
    let all = named(&[("a", "live"), ("b", "live")]);
    until("both are live", || members(&b) == all).await;
    agrees(&a, &database, keys).await;
}

// CL4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_killed_and_started_again_agrees_with_the_database() {
    let database = Server::shared().database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    let c = node(&database, "c", &[]);
    consumer(&a);
    let keys = under_load(&a, &b, async || b.signal("KILL")).await;
    drop(b);
    agrees(&c, &database, keys).await;
    let b = node(&database, "b", &[]);
    agrees(&b, &database, keys).await;
    let all = named(&[("a", "live"), ("b", "live"), ("c", "live")]);
    until("all are live", || members(&a) == all).await;
}

// CL2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_under_load_is_a_gap_and_every_node_goes_on() {
    let server = Server::start();
    let database = server.database().await;
    let (a, b) = (node(&database, "a", &[]), node(&database, "b", &[]));
    consumer(&a);
    let gaps = |program: &Program| {
        let metrics = get(program.admin, "/metrics", "");
        let name = "tidings_cluster_gaps_total{reason=\"epoch\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let keys = under_load(&a, &b, async || {
        // One backend that is killed makes the server recover as after a crash.
        let backend =
            database.psql("select pid from pg_stat_activity where backend_type = 'walwriter'");
        let killed = std::process::Command::new("kill")
            .args(["-9", backend.trim()])
            .status();
        assert!(killed.expect("kill runs").success());
        until("both nodes have a gap", || gaps(&a) > 0 && gaps(&b) > 0).await;
    })
    .await;
    for program in [&a, &b] {
        let ready = || get(program.admin, "/readyz", "").starts_with("HTTP/1.1 200");
        until("it is ready again", ready).await;
        agrees(program, &database, keys).await;
    }
    let made = post(a.admin, "/consumers/bob/key-auth", "key=afterwards");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    until("the other node has it", || {
        with_key(&b, "afterwards") == 200
    })
    .await;
}

// CL7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_with_a_bound_serves_nothing_old_when_it_goes_on() {
    let database = Server::shared().database().await;
    let a = node(&database, "a", &[]);
    let b = node(&database, "b", &["--max-staleness", "500ms"]);
    let unbounded = node(&database, "c", &[]);
    consumer(&a);
    let made = post(a.admin, "/consumers/bob/key-auth", "key=k");
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    for program in [&b, &unbounded] {
        until("the key passes", || with_key(program, "k") == 200).await;
        assert_eq!(with_key(program, "k"), 200, "it is cached");
        program.signal("STOP");
    }
    let gone = admin(a.admin, "DELETE", "/key-auths/k", "");
    assert!(gone.starts_with("HTTP/1.1 204"), "{gone}");
    let clock = SystemClock::new();
    clock.sleep(Duration::from_millis(700)).await;

    // The question is there before the node goes on, and is its first.
    let (address, header) = (b.proxy, "apikey: k\r\n");
    let asked = std::thread::spawn(move || get(address, "/", header));
    clock.sleep(Duration::from_millis(50)).await;
    b.signal("CONT");
    let answer = tokio::task::spawn_blocking(|| asked.join()).await;
    let answer = answer.expect("it ends").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    // One without a bound promises to catch up.
    unbounded.signal("CONT");
    until("it has caught up", || with_key(&unbounded, "k") == 401).await;
}
