//! Several nodes on one database file, in one process and in two.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings::{
    GetOptions, Node, StartError, Store,
    store::{Error, Logging, Sharing},
};

use crate::{
    heard::{Heard, Owner, Thing, thing},
    other_programs::sqlite::File,
};

/// Where this test binary, started once more, is to run a node.
const VARIABLE: &str = "TIDINGS_TEST_SHARED_FILE";
/// How many updates each of two processes makes of one row.
const UPDATES: usize = 25;

async fn two_nodes() -> (Heard<File>, Heard<()>) {
    let file = File::new();
    let (a, b) = (file.shared().await, file.shared().await);
    (Heard::with(file, a).await, Heard::with((), b).await)
}

// IN1 to IN5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_writes_is_evicted_and_heard_on_the_other() {
    let (a, b) = two_nodes().await;
    let things = a.things();
    assert_eq!(b.note("t1").await, None, "an absence is cached");

    things.insert(thing(1, "one")).await.expect("inserted");
    b.until_note("t1", Some("one")).await;
    assert_eq!(b.events(1).await, ["create 1 None Some(\"one\")"]);

    let update = things.update(1, |thing| thing.note = Some("uno".to_owned()));
    update.await.expect("updated");
    b.until_note("t1", Some("uno")).await;
    assert_eq!(b.events(1).await, ["update 1 Some(\"one\") Some(\"uno\")"]);
    let before = b.loads();
    b.until_kept("t1").await;
    assert!(b.loads() <= before + 1, "one change costs one load");

    things.delete(1).await.expect("deleted");
    b.until_note("t1", None).await;
    assert_eq!(b.events(1).await, ["delete 1 None Some(\"uno\")"]);
    assert_eq!(
        a.events(3).await.len(),
        3,
        "the writer's own node hears the same"
    );
    assert!(a.gaps.lock().expect("a list").is_empty());
    assert!(b.gaps.lock().expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_on_one_node_tells_the_other_of_every_row() {
    let (a, b) = two_nodes().await;
    let owners = a.node.dao::<Owner>().expect("declared");
    let owner = Owner {
        id: uuid::Uuid::from_u128(1),
        name: "bob".to_owned(),
    };
    let owner = owners.insert(owner).await.expect("inserted");
    for id in 1..=2 {
        let mut thing = thing(id, "one");
        thing.owner = Some(tidings::Ref::to(&owner));
        a.things().insert(thing).await.expect("inserted");
    }
    let _ = b.events(3).await;
    let id = owner.id;
    owners.delete(id).await.expect("deleted");
    let mut events = b.events(3).await;
    events.sort();
    assert_eq!(
        events,
        [
            "delete 1 None Some(\"one\")",
            "delete 2 None Some(\"one\")",
            "delete bob"
        ]
    );
}

/// The log goes on with numbers that the node has seen before, and the node does not know that yet.
#[tokio::test]
async fn an_own_write_is_evicted_on_a_file_that_was_put_back_a_moment_ago() {
    let file = File::new();
    let node = Node::builder()
        .store(file.shared().await)
        .entity::<Owner>()
        .entity::<Thing>()
        .log_poll(Duration::from_secs(60));
    let node = node.start().await.expect("a node");
    let things = node.dao::<Thing>().expect("declared");
    let key = things.cache_key(&["t1"]).expect("one part");
    let note = async || {
        let load = || things.select_by("code", "t1".to_owned());
        let found = node.cache().get(&key, GetOptions::default(), load).await;
        let found: Option<Arc<Thing>> = found.expect("a load");
        found.and_then(|thing| thing.note.clone())
    };
    let write = async |note: &'static str| {
        let update = things.update(1, move |thing| thing.note = Some(note.to_owned()));
        let (updated, receipt) = node.with_receipt(update).await;
        updated.expect("updated");
        receipt
    };

    things.insert(thing(1, "a")).await.expect("inserted");
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy.db");
    file.sqlite3(&format!(".backup {}\n", copy.display()));
    for later in ["b", "c", "d"] {
        let position = write(later).await.position().await.expect("a position");
        let seen = node.at_least(&position, Duration::from_secs(20)).await;
        seen.expect("it follows the log");
    }
    assert_eq!(note().await.as_deref(), Some("d"));

    file.sqlite3(&format!(".restore {}\n", copy.display()));
    let _receipt = write("e").await;
    assert_eq!(note().await.as_deref(), Some("e"));
}

#[tokio::test]
async fn a_store_that_is_alone_and_those_that_share_refuse_each_other() {
    let file = File::new();
    let shared = file.shared().await;
    let also = file.shared().await;
    for logging in [Logging::Off, Logging::On] {
        let refused = Store::options(file.url()).logging(logging).open().await;
        assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    }
    shared.close().await.expect("closed");
    also.close().await.expect("closed");
    let alone = file.store(Logging::On).await;
    let refused = Store::options(file.url())
        .sharing(Sharing::Cluster)
        .open()
        .await;
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    alone.close().await.expect("closed");
}

/// The names of a node's fellow members.
async fn members(heard: &Heard<File>) -> Vec<String> {
    let cluster = heard.node.cluster().expect("it is one");
    let view = cluster.view(Duration::from_millis(100)).await;
    view.members.iter().map(|it| it.node.to_string()).collect()
}

/// No receipt of the other nodes waits for a node that is not started after all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_or_is_stopped_leaves_the_cluster() {
    let file = File::new();
    let store = file.shared().await;
    let a = Heard::with(file, store).await;
    let alone = members(&a).await;
    assert_eq!(alone.len(), 1);
    let b = async || {
        let node = Node::builder().store(a.database.shared().await);
        node.node_id("b").entity::<Owner>().entity::<Thing>()
    };

    let failing = b().await.init_worker(|_| Err("as the test says".into()));
    let failed = failing.start().await.expect_err("its hook fails");
    assert!(matches!(failed, StartError::Worker { .. }), "{failed}");
    assert_eq!(members(&a).await, alone);

    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let hanging = b().await.init_worker(move |_| {
        let _ = gate.lock().expect("a gate").recv();
        Ok(())
    });
    let joined = async {
        while members(&a).await.len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    let started = hanging.start_unless(joined).await.expect("it is stopped");
    assert!(started.is_none());
    assert_eq!(members(&a).await, alone);
    drop(open);
}

/// Not a test by itself: a node of another process. It prints what it receives, and updates the row
/// whose creation it receives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process() {
    let Ok(path) = std::env::var(VARIABLE) else {
        return;
    };
    let url = format!("sqlite://{path}");
    let store = Store::options(url).sharing(Sharing::Cluster).open().await;
    let heard = Heard::with((), store.expect("a store")).await;
    println!("says ready");

    let mut said = heard.events(1).await;
    let things = heard.things();
    for number in 0..UPDATES {
        let note = format!("b{number}");
        let update = things.update(1, move |thing| thing.note = Some(note));
        update.await.expect("updated");
    }
    while said.len() < 1 + 2 * UPDATES {
        said.extend(heard.events(1).await);
    }
    let mut out = std::io::stdout().lock();
    for event in said {
        writeln!(out, "says {event}").expect("a reader");
    }
}

struct Other {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Other {
    fn start(file: &File) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "shared_file::a_second_process", "--nocapture"])
            .env(VARIABLE, file.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("an output")).lines();
        Self { child, lines }
    }

    /// The next thing that it says.
    fn says(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("it goes on").expect("text");
            if let Some((_, said)) = line.split_once("says ") {
                return said.to_owned();
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_hear_the_same_chain_of_a_row_that_both_write() {
    let file = File::new();
    let store = file.shared().await;
    let heard = Heard::with(file, store).await;
    let mut other = Other::start(&heard.database);
    assert_eq!(other.says(), "ready");

    let things = heard.things();
    things.insert(thing(1, "start")).await.expect("inserted");
    for number in 0..UPDATES {
        let note = format!("a{number}");
        let update = things.update(1, move |thing| thing.note = Some(note));
        update.await.expect("updated");
    }
    let here = heard.events(1 + 2 * UPDATES).await;
    let mut last = "Some(\"start\")".to_owned();
    for event in &here[1..] {
        let rest = event.strip_prefix("update 1 ").expect("an update");
        let (old, new) = rest.split_once(' ').expect("two notes");
        assert_eq!(old, last, "{event}");
        last = new.to_owned();
    }
    let there: Vec<_> = here.iter().map(|_| other.says()).collect();
    assert_eq!(here, there);
}
