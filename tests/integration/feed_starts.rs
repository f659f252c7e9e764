//! Feeds that go on after a write, by its token: on SQLite, with a log and without, and on
//! PostgreSQL.

use std::time::Duration;

use tidings::{
    ChangeFeed, ChangeFeedOptions, Fed, NoFeedStart, Node, Store, Token, TokenError,
    store::{Logging, TransactionOptions},
};
use tidings_testkit::Server;

use crate::heard::{Heard, Nodes, Thing, by_id, thing};

const SOON: Duration = Duration::from_secs(20);

/// Writes a thing, and returns its token.
async fn write(heard: &Heard<()>, id: i64) -> Token {
    let insert = heard.things().insert(thing(id, "x"));
    let (made, receipt) = heard.node.with_receipt(insert).await;
    made.expect("inserted");
    receipt.position().await.expect("a position")
}

fn after(node: &Node, token: &Token) -> ChangeFeed {
    let start = node.feed_start(token).expect("a place");
    let feed = node.change_feed(ChangeFeedOptions::new().after(start));
    feed.expect("there is room")
}

/// The ids of the next things that a feed delivers.
async fn ids(feed: &mut ChangeFeed, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let told = tokio::time::timeout(SOON, feed.next()).await;
        let told = told.unwrap_or_else(|_| panic!("no more than {ids:?} of {count}"));
        match told.expect("the node goes on") {
            Fed::Change(change) => {
                let data: serde_json::Value =
                    serde_json::from_str(change.data()).expect("what is told is JSON");
                ids.push(data["entity"]["id"].as_i64().expect("the id of a thing"));
            }
            Fed::Gap(gap) => panic!("{}", gap.data()),
        }
    }
    ids
}

/// The ids that a feed delivers, up to one. On a PostgreSQL server the transactions of other tests
/// are in progress too, and what was committed beside them may come again.
async fn until(feed: &mut ChangeFeed, last: i64) -> Vec<i64> {
    let mut told = ids(feed, 1).await;
    while told.last() != Some(&last) {
        told.extend(ids(feed, 1).await);
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_goes_on_after_a_write_and_does_not_tell_it_again() {
    let all = Nodes::start().await;
    for (name, heard) in &all.nodes {
        let node = &heard.node;
        // A node without a log keeps its changes once it was watched.
        let watches = node.change_feed(ChangeFeedOptions::new());
        let watches = watches.expect("there is room");
        write(heard, 1).await;
        let token = write(heard, 2).await;
        let at_once = after(node, &token);
        write(heard, 3).await;
        let (gone, receipt) = node.with_receipt(heard.things().delete(77)).await;
        assert_eq!(gone.expect("no row"), None);
        let unchanged = receipt.position().await.expect("a position");
        write(heard, 4).await;

        let may_repeat = *name == "postgres";
        let check = |told: Vec<i64>, expected: &[i64]| {
            let is_exact = may_repeat || told == expected;
            assert!(told.ends_with(expected) && is_exact, "{name}: {told:?}");
        };
        for mut feed in [at_once, after(node, &token)] {
            let told = until(&mut feed, 4).await;
            assert!(!told.contains(&2), "{name}: the write itself, in {told:?}");
            check(told, &[3, 4]);
        }
        let mut feed = after(node, &unchanged);
        write(heard, 5).await;
        check(until(&mut feed, 5).await, &[4, 5]);

        // No write at all, and a probe.
        let (_, receipt) = node.with_receipt(async {}).await;
        let mut feed = after(node, &receipt.position().await.expect("a position"));
        write(heard, 6).await;
        check(until(&mut feed, 6).await, &[6]);
        let probed = node.probe(SOON).await.expect("a probe");
        let mut feed = after(node, &probed.position);
        write(heard, 7).await;
        check(until(&mut feed, 7).await, &[7]);
        drop(watches);
        drop(node.shutdown(SOON).await);
    }
}

/// Its id is lower than the write's, and its commit comes after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_was_open_during_a_write_is_told_after_its_token() {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    let heard = Heard::with((), store).await;
    let begin = async || {
        let begun = heard.node.store().begin_with(TransactionOptions::new());
        begun.await.expect("begun")
    };
    let (earlier, later) = (begin().await, begin().await);
    for (transaction, id) in [(&earlier, 10), (&later, 11)] {
        let things = transaction.dao::<Thing>().expect("declared");
        things.insert(thing(id, "open")).await.expect("inserted");
    }
    let token = write(&heard, 1).await;
    let mut at_once = after(&heard.node, &token);
    earlier.commit().await.expect("committed");
    write(&heard, 2).await;

    assert_eq!(ids(&mut at_once, 2).await, [10, 2]);
    let mut again = after(&heard.node, &token);
    assert_eq!(ids(&mut again, 2).await, [10, 2]);
    later.commit().await.expect("committed");
    for mut feed in [at_once, again] {
        assert_eq!(ids(&mut feed, 1).await, [11]);
    }
    drop(heard.node.shutdown(SOON).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_are_missed_by_no_feed_that_goes_on_after_one_of_them() {
    let all = Nodes::start().await;
    for (name, heard) in &all.nodes {
        let watches = heard.node.change_feed(ChangeFeedOptions::new());
        let mut watches = watches.expect("there is room");
        let writes = (0..40).map(|id| write(heard, id));
        let tokens = futures_util::future::join_all(writes).await;
        let order = ids(&mut watches, 40).await;
        let last = write(heard, 99).await;

        for (id, token) in tokens.iter().enumerate() {
            let id = i64::try_from(id).expect("it is small");
            let mut feed = after(&heard.node, token);
            let told = until(&mut feed, 99).await;
            assert!(!told.contains(&id), "{name}: its own write");
            let own = order.iter().position(|told| *told == id);
            let later = &order[own.expect("it was told") + 1..];
            let missing = later.iter().find(|id| !told.contains(id));
            assert_eq!(missing, None, "{name}: after {id} of {order:?}");
        }
        let mut feed = after(&heard.node, &last);
        heard.things().delete(99).await.expect("deleted");
        let told = until(&mut feed, 99).await;
        assert!(*name == "postgres" || told == [99], "{name}: {told:?}");
        drop(heard.node.shutdown(SOON).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_database_is_refused_and_what_is_not_held_is_a_gap() {
    let Nodes {
        nodes,
        outlives: (folder, _database),
    } = Nodes::start().await;
    let mut tokens = Vec::new();
    for (_, heard) in &nodes {
        tokens.push(write(heard, 1).await);
    }
    for (index, (name, heard)) in nodes.iter().enumerate() {
        let foreign = heard.node.feed_start(&tokens[(index + 1) % 4]);
        let refused = NoFeedStart::Invalid(TokenError::Foreign);
        assert_eq!(foreign.expect_err(name), refused);
    }

    // Without a log, what no one has watched is not kept.
    let (_, plain) = &nodes[1];
    let mut nothing = after(&plain.node, &tokens[1]);
    write(plain, 2).await;
    assert_eq!(ids(&mut nothing, 1).await, [2], "nothing came in between");
    drop(nothing);
    let changed = plain
        .things()
        .update_with(by_id(2), |it| it.note = None, Default::default());
    changed.await.expect("updated");
    let mut kept = after(&plain.node, &tokens[1]);
    assert_eq!(ids(&mut kept, 2).await, [2, 2]);
    drop(plain.node.shutdown(SOON).await);

    // Another start of it, and the same file with a log from now on.
    let file = format!("sqlite://{}", folder.path().join("plain.db").display());
    for logging in [Logging::Off, Logging::On] {
        let store = Store::options(&file).logging(logging).open().await;
        let heard = Heard::with((), store.expect("a store")).await;
        let mut feed = after(&heard.node, &tokens[1]);
        let told = feed.next().await.expect("the node goes on");
        let gap = match told {
            Fed::Gap(gap) => gap.data(),
            Fed::Change(change) => panic!("{}", change.data()),
        };
        assert!(gap.contains("\"reason\":\"epoch\""), "{logging:?}: {gap}");
        drop(heard.node.shutdown(SOON).await);
    }
}
