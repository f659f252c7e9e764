//! Receipts and tokens of one node, in the library: on SQLite, with a log and without, and on
//! PostgreSQL.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use tempfile::TempDir;
use tidings::{
    CrudEvent, Node, NotConfirmed, NotReached, Store, Token, TokenError,
    cluster::Silence,
    events::{AsyncOptions, Received},
    store::{Logging, Sharing, Written, written},
};
use tidings_testkit::Server;
use tokio::sync::Notify;

use crate::heard::{Heard, Nodes, Owner, Thing, thing};

const SOON: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_confirmed_and_its_position_is_reached() {
    let all = Nodes::start().await;
    for (name, heard) in &all.nodes {
        let (node, things) = (&heard.node, heard.things());
        let (made, receipt) = node.with_receipt(things.insert(thing(1, "a"))).await;
        made.expect("inserted");
        receipt.confirmed(SOON).await.expect(name);
        let token = receipt.position().await.expect("a position");
        assert_eq!(receipt.position().await.expect("again"), token, "{name}");
        node.at_least(&token, SOON).await.expect(name);
        node.confirmed(&token, SOON).await.expect(name);
        assert_eq!(
            heard.events(1).await.len(),
            1,
            "{name}: its handlers have run"
        );

        // A write that changes nothing, none at all, and several at the same time.
        let (gone, nothing) = node.with_receipt(things.delete(7)).await;
        assert_eq!(gone.expect("no row"), None);
        let ((), none) = node.with_receipt(async {}).await;
        let both = async {
            let inserts = [things.insert(thing(2, "b")), things.insert(thing(3, "c"))];
            futures_util::future::join_all(inserts).await
        };
        let (_, both) = node.with_receipt(both).await;
        for receipt in [nothing, none, both] {
            receipt.confirmed(SOON).await.expect(name);
            let token = receipt.position().await.expect("a position");
            node.at_least(&token, SOON).await.expect(name);
        }
        drop(node.shutdown(SOON).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_database_and_a_made_up_one_are_refused() {
    let mut tokens: Vec<Token> = Vec::new();
    let all = Nodes::start().await;
    let nodes = &all.nodes;
    for (_, heard) in nodes {
        let (_, receipt) = heard.node.with_receipt(heard.things().delete(1)).await;
        tokens.push(receipt.position().await.expect("a position"));
    }
    for (index, (name, heard)) in nodes.iter().enumerate() {
        for (other, token) in tokens.iter().enumerate() {
            let refused = NotReached::Invalid(TokenError::Foreign);
            let expected = if other == index { Ok(()) } else { Err(refused) };
            assert_eq!(heard.node.at_least(token, SOON).await, expected, "{name}");
        }
        let confirmed = heard.node.confirmed(&tokens[(index + 1) % 4], SOON).await;
        assert_eq!(confirmed, Err(NotConfirmed::Invalid(TokenError::Foreign)));
    }
    assert_eq!("a.b".parse::<Token>(), Err(TokenError::Malformed));
}

/// A node on a store, whose async handler of things waits until it is let go.
async fn held_up(store: Store) -> (Node, Arc<Notify>, Arc<Mutex<u32>>) {
    let (go, ran) = (Arc::new(Notify::new()), Arc::new(Mutex::new(0)));
    let (wait, count) = (Arc::clone(&go), Arc::clone(&ran));
    let node = Node::builder()
        .store(store)
        .entity::<Owner>()
        .entity::<Thing>()
        .handler_deadline(Duration::from_millis(1))
        .log_poll(Duration::from_millis(20))
        .start()
        .await
        .expect("a node");
    let handler = move |_: Received<CrudEvent<Thing>>| {
        let (wait, count) = (Arc::clone(&wait), Arc::clone(&count));
        async move {
            wait.notified().await;
            *count.lock().expect("a count") += 1;
        }
    };
    node.worker_events()
        .register_async(handler, "crud", "things", AsyncOptions::new())
        .expect("registered")
        .keep();
    (node, go, ran)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_not_applied_before_its_late_handlers_have_run() {
    let database = Server::shared().database().await;
    for store in [
        Store::open("sqlite::memory:").await,
        Store::open(&database.url()).await,
    ] {
        let (node, go, ran) = held_up(store.expect("a store")).await;
        let things = node.dao::<Thing>().expect("declared");
        let (made, receipt) = node.with_receipt(things.insert(thing(1, "a"))).await;
        made.expect("the write returns at its deadline");

        let token = receipt.position().await.expect("a position");
        let late = NotReached::Late(AT_ONCE);
        assert_eq!(node.at_least(&token, AT_ONCE).await, Err(late));
        let unconfirmed = receipt
            .confirmed(AT_ONCE)
            .await
            .expect_err("a handler runs");
        assert_eq!((unconfirmed.asked, unconfirmed.silent.len()), (1, 1));
        assert_eq!(&*unconfirmed.silent[0].node, node.id());
        assert_eq!(unconfirmed.silent[0].reason, Silence::Late);

        let caught_up = std::pin::pin!(node.at_least(&token, SOON));
        assert!(caught_up.now_or_never().is_none());
        go.notify_one();
        node.at_least(&token, SOON).await.expect("it has run");
        assert_eq!(*ran.lock().expect("a count"), 1);
        receipt.confirmed(SOON).await.expect("it has run");
        drop(node.shutdown(SOON).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_wait_for_a_position_as_may_and_no_more() {
    let store = Store::open("sqlite::memory:").await.expect("a store");
    let (node, go, _) = held_up(store).await;
    let things = node.dao::<Thing>().expect("declared");
    let (made, receipt) = node.with_receipt(things.insert(thing(1, "a"))).await;
    made.expect("the write returns at its deadline");
    let token = receipt.position().await.expect("a position");

    let wait = || Box::pin(node.at_least(&token, SOON));
    let mut waiting: Vec<_> = (0..4_096).map(|_| wait()).collect();
    for waits in &mut waiting {
        assert!(waits.now_or_never().is_none());
    }
    let busy = NotReached::Busy(4_096);
    assert_eq!(wait().now_or_never(), Some(Err(busy)));
    waiting.pop();
    assert!(wait().now_or_never().is_none(), "there is room again");
    go.notify_one();
    for waits in waiting {
        waits.await.expect("its handler has run");
    }
    drop(node.shutdown(SOON).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_writes_is_applied_once_its_own_handlers_have_run() {
    let store = Store::open("sqlite::memory:").await.expect("a store");
    let heard = Heard::with((), store).await;
    let (node, inner) = (heard.node.clone(), heard.things());
    let tokens: Arc<Mutex<Vec<Token>>> = Arc::default();
    let list = Arc::clone(&tokens);
    let handler = move |change: Received<CrudEvent<Owner>>| {
        let (node, inner, list) = (node.clone(), inner.clone(), Arc::clone(&list));
        async move {
            let note = change.entity.name.clone();
            let (made, receipt) = node.with_receipt(inner.insert(thing(9, &note))).await;
            made.expect("inserted");
            let token = receipt.position().await.expect("a position");
            list.lock().expect("a list").push(token);
        }
    };
    let bus = heard.node.worker_events();
    bus.register_async(handler, "crud", "owners", AsyncOptions::new())
        .expect("registered")
        .keep();

    let owners = heard.node.dao::<Owner>().expect("declared");
    let bob = Owner {
        id: uuid::Uuid::nil(),
        name: "bob".to_owned(),
    };
    owners.insert(bob).await.expect("inserted");
    let token = tokens
        .lock()
        .expect("a list")
        .pop()
        .expect("the handler has run");
    heard.node.at_least(&token, SOON).await.expect("reached");
    let events = std::mem::take(&mut *heard.events.lock().expect("a list"));
    assert_eq!(events, ["create bob", "create 9 None Some(\"bob\")"]);
}

/// A token of a node's earlier start is covered: whatever it had cached is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_from_before_a_restart_is_covered_by_the_next_start() {
    let folder = TempDir::new().expect("a folder");
    let database = Server::shared().database().await;
    let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    for (url, first, then) in [
        (file("a.db"), Logging::Off, Logging::Off),
        (file("b.db"), Logging::On, Logging::On),
        (file("c.db"), Logging::Off, Logging::On),
        (file("d.db"), Logging::On, Logging::Off),
        (database.url(), Logging::Off, Logging::Off),
    ] {
        let start = async |logging| {
            let store = Store::options(&url).logging(logging).open().await;
            Heard::with((), store.expect("a store")).await
        };
        let before = start(first).await;
        let (made, receipt) = before
            .node
            .with_receipt(before.things().insert(thing(1, "a")))
            .await;
        made.expect("inserted");
        let token = receipt.position().await.expect("a position");
        drop((receipt, before.node.shutdown(SOON).await));

        let after = start(then).await;
        after
            .node
            .at_least(&token, SOON)
            .await
            .expect("it has started since");
        assert_eq!(after.note("t1").await.as_deref(), Some("a"));
        drop(after.node.shutdown(SOON).await);
    }
}

/// Such a database lacks what the later start has written, and may never have it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_a_later_start_is_not_reached_on_a_database_that_was_put_back() {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let start = async |name| {
        let store = Store::open(&format!("sqlite://{}", file(name).display())).await;
        Heard::with((), store.expect("a store")).await
    };
    drop(start("a.db").await.node.shutdown(SOON).await);
    std::fs::copy(file("a.db"), file("b.db")).expect("a copy");
    drop(start("a.db").await.node.shutdown(SOON).await);
    let later = start("a.db").await;
    let made = later.things().insert(thing(1, "a"));
    let (made, receipt) = later.node.with_receipt(made).await;
    made.expect("inserted");
    let token = receipt.position().await.expect("a position");
    drop((receipt, later.node.shutdown(SOON).await));

    let put_back = start("b.db").await;
    let late = NotReached::Late(AT_ONCE);
    assert_eq!(put_back.node.at_least(&token, AT_ONCE).await, Err(late));
    drop(put_back.node.shutdown(SOON).await);
}

/// CL9 on one node: what another program has written is covered by a position that is named later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_covers_what_another_program_has_written_before() {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    let heard = Heard::with(database, store).await;
    heard
        .things()
        .insert(thing(1, "a"))
        .await
        .expect("inserted");
    for round in 0..20 {
        assert!(heard.note("t1").await.is_some());
        let note = format!("n{round}");
        heard
            .database
            .psql(&format!("update things set note = '{note}'"));
        // It changes nothing, and has seen the other's write.
        let (_, receipt) = heard.node.with_receipt(heard.things().delete(77)).await;
        let token = receipt.position().await.expect("a position");
        heard.node.at_least(&token, SOON).await.expect("reached");
        assert_eq!(heard.note("t1").await, Some(note));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_log_is_out_of_reach_a_later_position_is_not_reached_and_an_earlier_one_is() {
    let server = Server::start();
    let database = server.database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    let heard = Heard::with((), store).await;
    let things = heard.things();
    let (made, receipt) = heard.node.with_receipt(things.insert(thing(1, "a"))).await;
    made.expect("inserted");
    let earlier = receipt.position().await.expect("a position");
    heard.node.at_least(&earlier, SOON).await.expect("reached");

    drop(database);
    drop(server);
    heard
        .until(|heard| heard.node.hearing() != tidings::Hearing::All)
        .await;
    heard
        .node
        .at_least(&earlier, AT_ONCE)
        .await
        .expect("it was applied");
    let (_, receipt) = heard.node.with_receipt(async {}).await;
    receipt.position().await.expect_err("the database is gone");
    let unconfirmed = receipt
        .confirmed(SOON)
        .await
        .expect_err("the database is gone");
    assert_eq!(unconfirmed.silent[0].reason, Silence::Unreachable);
}

// A server that has recovered from a crash hands out transaction ids again. A node of the epoch
// before that has passed one of them would take the later write for what it has applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_after_a_crash_is_not_named_in_the_epoch_before() {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    // It notices another epoch only when it is asked.
    let node = Node::builder().store(store).log_poll(SOON);
    let node = node.entity::<Owner>().entity::<Thing>().start().await;
    let node = node.expect("a node");
    let things = node.dao::<Thing>().expect("declared");
    let (made, receipt) = node.with_receipt(things.insert(thing(1, "a"))).await;
    made.expect("inserted");
    receipt.confirmed(SOON).await.expect("it follows the log");

    // As the recovery and another node leave it. The connections of writes are gone, including one
    // that has only asked for the epoch; the one by which the node reads the log goes on.
    database.psql(
        "with next as (update tidings.epoch set number = number + 1, id = gen_random_uuid() returning id) \
         update tidings.epoch_volatile set id = next.id from next",
    );
    database.psql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid() \
         and (query !~ 'tidings' and query !~* 'listen' or query ~ '^select e.number, e.id from')",
    );
    let (made, wrote) = written(things.insert(thing(2, "b"))).await;
    made.expect("inserted");
    assert_eq!(wrote, Written::Unplaced);

    // A position is one of the epoch that holds.
    let gaps = || {
        let cluster = node.cluster().expect("a cluster");
        cluster.stats().gaps.iter().sum::<u64>()
    };
    assert_eq!(gaps(), 0, "no one has told it");
    let (_, receipt) = node.with_receipt(async {}).await;
    let token = receipt.position().await.expect("a position");
    assert_eq!(gaps(), 1);
    node.at_least(&token, SOON).await.expect("reached");
    let (made, receipt) = node.with_receipt(things.insert(thing(3, "c"))).await;
    made.expect("inserted");
    receipt.confirmed(SOON).await.expect("of this epoch");
    drop(node.shutdown(SOON).await);
}

/// A crash begins another epoch, and may have taken along what was committed in the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_an_epoch_that_has_ended_since_are_not_confirmed() {
    for sharing in [Sharing::Alone, Sharing::Cluster] {
        of_an_epoch_that_ends(sharing).await;
    }
}

async fn of_an_epoch_that_ends(sharing: Sharing) {
    let database = Server::shared().database().await;
    let store = Store::options(database.url()).sharing(sharing).open().await;
    let store = store.expect("a store");
    let heard = Heard::with(database, store).await;
    let (node, things) = (&heard.node, heard.things());
    let (made, last) = node.with_receipt(things.insert(thing(1, "a"))).await;
    made.expect("inserted");
    let inserts = [things.insert(thing(2, "b")), things.insert(thing(3, "c"))];
    let several = futures_util::future::join_all(inserts);
    let (_, several) = node.with_receipt(several).await;
    let (_, nothing) = node.with_receipt(async {}).await;

    // As the recovery from a crash leaves it.
    heard.database.psql("truncate tidings.epoch_volatile");
    let is_there = |gaps: &Mutex<Vec<String>>| !gaps.lock().expect("a list").is_empty();
    heard.until(|heard| is_there(&heard.gaps)).await;
    for receipt in [&last, &several] {
        let refused = receipt.confirmed(SOON).await.expect_err("it may be lost");
        let silent = &refused.silent[0];
        assert_eq!((&*silent.node, silent.reason), (node.id(), Silence::Epoch));
    }

    // Nothing older than they are is served, whatever happened to them.
    for receipt in [last, several, nothing] {
        let token = receipt.position().await.expect("a position");
        node.at_least(&token, SOON).await.expect("purged since");
    }
    let (made, receipt) = node.with_receipt(things.insert(thing(4, "d"))).await;
    made.expect("inserted");
    receipt.confirmed(SOON).await.expect("of this epoch");
    drop(heard.node.shutdown(SOON).await);
}
