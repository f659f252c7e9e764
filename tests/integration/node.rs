//! The node: what its workers hear, when a write returns, how it starts and stops.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    CacheKey, CrudEvent, Ending, Entity, GetOptions, Node, NodeBuilder, Operation, Ref, StartError,
    Store, WriteOptions, core::clock::ManualClock, store::Sharing,
};
use uuid::Uuid;

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "teams", endpoint_key = "name", cache_key("name"))]
struct Team {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    name: String,
    motto: Option<String>,
}

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "members")]
struct Member {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(foreign, on_delete = "cascade")]
    team: Ref<Team>,
}

const LONG: Duration = Duration::from_secs(30);

async fn builder(workers: usize) -> NodeBuilder {
    let store = Store::open("sqlite::memory:").await.expect("memory opens");
    Node::builder()
        .store(store)
        .workers(workers)
        .entity::<Team>()
        .entity::<Member>()
}

fn team(name: &str) -> Team {
    Team {
        id: Uuid::nil(),
        name: name.to_owned(),
        motto: None,
    }
}

type Heard = Arc<Mutex<Vec<(usize, Operation, Team, Option<Team>)>>>;

async fn listening(workers: usize) -> (Node, Heard) {
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    let node = builder(workers)
        .await
        .init_worker(move |worker| {
            let (id, hears) = (worker.id(), Arc::clone(&hears));
            let handler = move |change: &CrudEvent<Team>| {
                let change = change.clone();
                let row = (id, change.operation, change.entity, change.old_entity);
                hears.lock().expect("no handler panics").push(row);
            };
            worker
                .worker_events()
                .register(handler, "crud", "teams")?
                .keep();
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    (node, heard)
}

// EV1, EV2, EV4: when a write returns, every worker has heard of it, with the true predecessor.
#[tokio::test]
async fn every_worker_has_heard_of_a_write_when_it_returns() {
    let (node, heard) = listening(3).await;
    let teams = node.dao::<Team>().expect("declared");

    let made = teams.insert(team("a")).await.expect("inserted");
    let new = teams
        .update(made.id, |team| team.motto = Some("go".into()))
        .await
        .expect("updated");
    let new = new.expect("the row is there");
    teams.delete(made.id).await.expect("deleted");

    let heard = heard.lock().expect("no handler panics").clone();
    for worker in 0..3 {
        let own: Vec<_> = heard.iter().filter(|it| it.0 == worker).cloned().collect();
        let expected = [
            (worker, Operation::Create, made.clone(), None),
            (worker, Operation::Update, new.clone(), Some(made.clone())),
            (worker, Operation::Delete, new.clone(), None),
        ];
        assert_eq!(own, expected);
    }
    assert!(node.shutdown(LONG).await.is_clean());
}

// EV5, G2: `no_event` silences handlers, not evictions.
#[tokio::test]
async fn a_silent_write_posts_nothing_and_evicts_all_the_same() {
    let (node, heard) = listening(2).await;
    let teams = node.dao::<Team>().expect("declared");
    let key = teams.cache_key(&["a"]).expect("a cache key");
    let get = || async {
        let teams = teams.clone();
        let load = move || teams.select_by("name", "a");
        node.cache()
            .get(&key, GetOptions::default(), load)
            .await
            .expect("loaded")
    };
    assert!(get().await.is_none(), "the absence is cached");
    let silent = WriteOptions::silent();
    teams
        .insert_with(team("a"), silent)
        .await
        .expect("inserted");
    assert!(get().await.is_some(), "and evicted");
    assert!(heard.lock().expect("no handler panics").is_empty());
    assert!(node.shutdown(LONG).await.is_clean());
}

// EV10: wide and narrow handlers, the wider one first; a handler of another entity hears nothing.
#[tokio::test]
async fn wide_handlers_come_before_narrow_ones_and_other_entities_hear_nothing() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let node = builder(1)
        .await
        .init_worker(move |worker| {
            let note = |what: &'static str| {
                let hears = Arc::clone(&hears);
                move || hears.lock().expect("no handler panics").push(what)
            };
            let (narrow, wide, other) = (note("narrow"), note("wide"), note("other"));
            let events = worker.worker_events();
            events
                .register(move |_: &CrudEvent<Team>| narrow(), "crud", "teams:update")?
                .keep();
            events
                .register(move |_: &CrudEvent<Team>| wide(), "crud", "teams")?
                .keep();
            events
                .register(move |_: &CrudEvent<Member>| other(), "crud", "members")?
                .keep();
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    let teams = node.dao::<Team>().expect("declared");
    let made = teams.insert(team("a")).await.expect("inserted");
    teams
        .update(made.id, |team| team.motto = Some("go".into()))
        .await
        .expect("updated");
    assert_eq!(
        *heard.lock().expect("no handler panics"),
        ["wide", "wide", "narrow"]
    );
    assert!(node.shutdown(LONG).await.is_clean());
}

// DA4, G8: a cascade posts the delete of every descendant.
#[tokio::test]
async fn a_cascade_posts_the_deletes_of_the_children() {
    let deleted = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&deleted);
    let node = builder(1).await.start().await.expect("the node starts");
    node.worker_events()
        .register(
            move |_: &CrudEvent<Member>| {
                counts.fetch_add(1, Ordering::SeqCst);
            },
            "crud",
            "members:delete",
        )
        .expect("declared")
        .keep();
    let (teams, members) = (
        node.dao::<Team>().expect("declared"),
        node.dao::<Member>().expect("declared"),
    );
    let made = teams.insert(team("a")).await.expect("inserted");
    for _ in 0..3 {
        let member = Member {
            id: Uuid::nil(),
            team: Ref::to(&made),
        };
        members.insert(member).await.expect("inserted");
    }
    teams.delete(made.id).await.expect("deleted");
    assert_eq!(deleted.load(Ordering::SeqCst), 3);
    assert!(node.shutdown(LONG).await.is_clean());
}

// G2: a write returns only after what the workers' handlers invalidate by hand is evicted; G14:
// once.
#[tokio::test]
async fn a_write_includes_what_handlers_invalidate_by_hand() {
    let key = CacheKey::new("by_hand", &["a"]);
    let invalidated = key.clone();
    let node = builder(4)
        .await
        .init_worker(move |worker| {
            let (cache, key) = (worker.cache().clone(), invalidated.clone());
            let handler = move |_: &CrudEvent<Team>| {
                let _ = cache.invalidate(&key);
            };
            worker
                .worker_events()
                .register(handler, "crud", "teams")?
                .keep();
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    let loads = Arc::new(AtomicUsize::new(0));
    let get = || {
        let loads = Arc::clone(&loads);
        let load = move || async move {
            Ok::<_, std::convert::Infallible>(Some(loads.fetch_add(1, Ordering::SeqCst)))
        };
        node.cache()
            .get::<usize, _>(&key, GetOptions::default(), load)
    };
    let teams = node.dao::<Team>().expect("declared");
    for round in 0..100 {
        assert_eq!(get().await.expect("loaded").as_deref(), Some(&round));
        teams
            .insert(team(&format!("t{round}")))
            .await
            .expect("inserted");
    }
    assert_eq!(loads.load(Ordering::SeqCst), 100);
    assert!(node.shutdown(LONG).await.is_clean());
}

// G2: handlers that have not run by the deadline are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_returns_before_its_handlers_is_counted_as_late() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(Some(released));
    let node = builder(1)
        .await
        .handler_deadline(Duration::from_millis(1))
        .init_worker(move |worker| {
            let released = released.lock().expect("no panic").take();
            let handler = move |_: &CrudEvent<Team>| {
                let _ = released.iter().map(std::sync::mpsc::Receiver::recv).next();
            };
            let events = worker.worker_events();
            events.register(handler, "crud", "teams")?.keep();
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    let teams = node.dao::<Team>().expect("declared");
    teams.insert(team("a")).await.expect("inserted");
    assert_eq!(node.change_stats().late, 1);
    drop(release);
    assert!(node.shutdown(LONG).await.is_clean());
}

// G2, G10: if a worker's mailbox was full, what its handlers would have invalidated is unknown, so
// everything is evicted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_a_worker_missed_purges_before_it_returns() {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(Some(released));
    let node = builder(1)
        .await
        .worker_events(tidings::WorkerEvents::builder().mailbox_capacity(1))
        .init_worker(move |worker| {
            let (started, released) = (started.clone(), released.lock().expect("once").take());
            let released = released.expect("one worker");
            let handler = move |_: &CrudEvent<Team>| {
                let _ = started.send(());
                let _ = released.recv(); // an error when the test is over: then nothing blocks any more
            };
            worker
                .worker_events()
                .register(handler, "crud", "teams")?
                .keep();
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    let teams = node.dao::<Team>().expect("declared");
    let by_hand = CacheKey::new("by_hand", &["a"]);
    let set = node.cache().set(&by_hand, Some(1), GetOptions::default());
    set.expect("it fits");

    let first = tokio::spawn(teams.insert(team("handled")));
    starts.recv().await.expect("the worker is at it");
    let mut waiting = Vec::new();
    while node.worker_events().stats().mailboxes[0].missed == 0 {
        let mut write = Box::pin(teams.insert(team(&format!("t{}", waiting.len()))));
        // A write whose event was accepted waits for the worker; one whose event was missed
        // returns.
        let accepted = || node.worker_events().stats().mailboxes[0].accepted;
        let before = accepted();
        while accepted() == before && futures_util::poll!(&mut write).is_pending() {
            tokio::task::yield_now().await;
        }
        waiting.push(write);
    }
    let probed = node.cache().probe::<i32>(&by_hand).expect("of that type");
    assert!(probed.is_none(), "{probed:?}");

    drop(release);
    first.await.expect("not cancelled").expect("inserted");
    assert!(node.shutdown(LONG).await.is_clean());
}

/// Handlers of a worker may hold what is not `Send`, and run on that worker's own thread.
#[tokio::test]
async fn a_workers_handler_runs_on_its_thread_and_need_not_be_send() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&names);
    let node = builder(2)
        .await
        .init_worker(move |worker| {
            let local = Rc::new(RefCell::new(0));
            let collected = Arc::clone(&collected);
            let handler = move |_: &CrudEvent<Team>| {
                *local.borrow_mut() += 1;
                let name = std::thread::current().name().unwrap_or_default().to_owned();
                collected
                    .lock()
                    .expect("no handler panics")
                    .push((name, *local.borrow()));
            };
            worker
                .worker_events()
                .register(handler, "crud", "teams")?
                .keep();
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    node.dao::<Team>()
        .expect("declared")
        .insert(team("a"))
        .await
        .expect("inserted");
    let mut names = names.lock().expect("no handler panics").clone();
    names.sort();
    let expected = [
        ("tidings-worker-0".to_owned(), 1),
        ("tidings-worker-1".to_owned(), 1),
    ];
    assert_eq!(names, expected);
    assert!(node.shutdown(LONG).await.is_clean());
}

#[tokio::test]
async fn a_hook_that_fails_or_panics_ends_the_start_and_names_the_worker() {
    let failing = builder(3).await.init_worker(|worker| {
        if worker.id() == 1 {
            Err("no such plugin".into())
        } else {
            Ok(())
        }
    });
    let error = failing.start().await.expect_err("a hook failed");
    assert!(
        matches!(error, StartError::Worker { worker: 1, .. }),
        "{error:?}"
    );
    let panicking = builder(2).await.init_worker(|_| panic!("out of cheese"));
    let StartError::Worker { source, .. } = panicking.start().await.expect_err("a hook panicked")
    else {
        panic!("the error names the worker");
    };
    assert!(source.to_string().contains("out of cheese"), "{source}");
}

#[tokio::test]
async fn bad_settings_are_refused_with_what_would_be_right() {
    let error = Node::builder().start().await.expect_err("no store");
    assert!(matches!(error, StartError::NoStore));
    let error = builder(0).await.start().await.expect_err("no worker");
    assert!(error.to_string().contains("1 to"), "{error}");
    let store = Store::open("sqlite::memory:").await.expect("memory opens");
    let error = Node::builder()
        .store(store)
        .entity::<Member>()
        .start()
        .await;
    let error = error.expect_err("teams is not declared").to_string();
    assert!(
        error.contains("teams") && error.contains("members"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stopped_node_refuses_writes_and_ends_its_workers() {
    let (node, heard) = listening(2).await;
    let teams = node.dao::<Team>().expect("declared");
    teams.insert(team("a")).await.expect("inserted");
    assert!(node.shutdown(LONG).await.is_clean());
    teams
        .insert(team("b"))
        .await
        .expect_err("the store is closed");
    assert_eq!(heard.lock().expect("no handler panics").len(), 2);
    assert!(
        node.shutdown(LONG).await.is_clean(),
        "a second shutdown waits for nothing"
    );
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_workers() {
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel::<()>();
    let node = builder(2)
        .await
        .init_worker(move |worker| {
            let ended = ended.clone();
            let stopping = worker.stopping();
            worker.spawn_local(async move {
                stopping.await;
                drop(ended);
            });
            Ok(())
        })
        .start()
        .await
        .expect("the node starts");
    drop(node);
    // Resolves when every sender is gone: those of the tasks, and those of the hooks.
    let ended = tokio::time::timeout(LONG, ends.recv()).await;
    assert_eq!(ended.expect("the workers end"), None);
}

/// A write that never ends holds up the node's leave of the cluster, and the end of the store.
#[tokio::test]
async fn a_shutdown_ends_by_its_deadline_and_lets_go_of_everything() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let open = |sharing| {
        let options = Store::options(&url).transaction_timeout(LONG * 100);
        options.sharing(sharing).open()
    };
    for sharing in [Sharing::Alone, Sharing::Cluster] {
        let clock = ManualClock::new();
        let node = Node::builder()
            .store(open(sharing).await.expect("opens"))
            .clock(Arc::new(clock.clone()))
            .start()
            .await
            .expect("a node");
        let held = node.store().begin().await.expect("a transaction");

        let ends = tokio::time::timeout(LONG, node.shutdown(LONG));
        let (report, ()) = tokio::join!(ends, async { clock.advance(LONG) });
        let report = report.expect("it ends by the deadline");
        let cluster = match sharing {
            Sharing::Alone => Ending::Done,
            Sharing::Cluster => Ending::Late,
        };
        assert_eq!((&report.cluster, &report.store), (&cluster, &Ending::Late));
        assert!(!report.is_clean());

        let other = open(Sharing::Alone).await.expect("the file is free");
        held.commit().await.expect_err("the file is another's now");
        other.close().await.expect("closes");
    }
}
