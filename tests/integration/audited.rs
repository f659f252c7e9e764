//! Audits: an entry differs from its row only if the node missed something, and then they report
//! it, on every engine.

mod budget;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    AUDIT_TIMES, AuditSettings, BoxError, CacheKey, Cached, CachedRows as _, CrudEvent, Dao,
    Entity, Json, Node, NodeBuilder, Skipped, Store, Verdict,
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Call, Hook, Logging, Method},
};
use tidings_testkit::{Database, Server};
use tokio::sync::{mpsc as wakes, oneshot};

use crate::{
    heard::{Owner, Thing, thing},
    other_programs::{Program, sqlite::File},
};

/// Longer than anything here takes, and shorter than a test run that hangs.
const LONG: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// A database of a node, and a program beside the node that writes to it.
enum Beside {
    /// A file without a log: the node sees only its own writes.
    Alone(File),
    /// A file that nodes share.
    Shared(File),
    Postgres(Database),
}

impl Beside {
    async fn all() -> [Self; 3] {
        let database = Server::shared().database().await;
        [
            Self::Alone(File::new()),
            Self::Shared(File::new()),
            Self::Postgres(database),
        ]
    }

    async fn node(&self, settings: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Node {
        let store = match self {
            Self::Alone(file) => file.store(Logging::Off).await,
            Self::Shared(file) => file.shared().await,
            Self::Postgres(database) => Store::open(&database.url()).await.expect("a store"),
        };
        let builder = Node::builder().store(store);
        let builder = builder.entity::<Owner>().entity::<Thing>();
        settings(builder).start().await.expect("a node")
    }

    /// A node whose clock does not move once it has started.
    async fn still(&self, clock: &ManualClock) -> Node {
        let started = self.node(|it| it.clock(Arc::new(clock.clone())));
        let node = moved(clock, "the start", started).await;
        if let Some(cluster) = node.cluster() {
            // The start does not wait for it as long as it may take.
            moved(clock, "the log", cluster.until_following()).await;
        }
        node
    }

    /// Writes as any other program does.
    fn write(&self, sql: &str) {
        match self {
            Self::Alone(file) | Self::Shared(file) => file.write(sql),
            Self::Postgres(database) => database.write(sql),
        }
    }

    /// Writes so that the node cannot notice: the transaction deletes the record that it makes.
    fn write_unheard(&self, sql: &str) {
        match self {
            Self::Alone(file) => file.write(sql),
            Self::Shared(file) => file.write(&format!(
                "begin; create temp table before as select max(id) as id from tidings_log; {sql}; \
                 delete from tidings_log where id > (select id from before); commit"
            )),
            Self::Postgres(database) => database.write(&format!(
                "begin; {sql}; \
                 delete from tidings.log where xid = pg_current_xact_id()::text::bigint; commit"
            )),
        }
    }
}

/// A set whose members are written in a random order, and a list.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "baskets")]
struct Basket {
    #[entity(primary_key)]
    id: i64,
    fruits: Json<HashSet<String>>,
    steps: Vec<String>,
}

/// Ends a test that hangs.
async fn soon<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(LONG, done).await;
    done.unwrap_or_else(|_| panic!("{what} takes too long"))
}

struct Things {
    dao: Dao<Thing>,
    cached: Cached<Thing>,
}

impl Things {
    fn of(node: &Node) -> Self {
        let dao = node.dao::<Thing>().expect("declared");
        let cached = dao.cached().expect("the node's own");
        Self { dao, cached }
    }

    async fn note(&self, code: &str) -> Option<String> {
        let found = soon("a load", self.cached.select_by("code", code)).await;
        let found = found.expect("it is read");
        found.and_then(|thing| thing.note.clone())
    }
}

fn by_code(code: &str) -> CacheKey {
    CacheKey::new("things", &[code])
}

/// Does something while the clock moves, a few times as fast as real time.
async fn moved<T>(clock: &ManualClock, what: &str, done: impl Future<Output = T>) -> T {
    let mut done = std::pin::pin!(done);
    let (real, step) = (SystemClock::new(), Duration::from_millis(1));
    let moves = async {
        loop {
            tokio::select! {
                biased;
                done = &mut done => return done,
                () = real.sleep(step) => clock.advance(5 * step),
            }
        }
    };
    soon(what, moves).await
}

/// Waits until a node has applied what was written.
async fn applied(node: &Node, clock: &ManualClock) {
    let ((), receipt) = node.with_receipt(async {}).await;
    let position = moved(clock, "a position", receipt.position()).await;
    let reached = position.expect("a position");
    let reached = node.at_least(&reached, 1_000 * LONG);
    moved(clock, "the node", reached).await.expect("reached");
}

/// Ends a node whose clock does not move.
async fn end(node: &Node, clock: &ManualClock) {
    let _ = moved(clock, "the end", node.shutdown(LONG)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_could_not_hear_of_is_found_with_its_age_on_every_engine() {
    for beside in Beside::all().await {
        let clock = ManualClock::new();
        let node = beside.still(&clock).await;
        let things = Things::of(&node);
        for id in [1, 3] {
            things.dao.insert(thing(id, "one")).await.expect("inserted");
        }
        let keys = ["t1", "t2", "t3"].map(by_code);
        applied(&node, &clock).await;
        let loaded = clock.now();
        for code in ["t1", "t2", "t3"] {
            things.note(code).await;
        }
        let by_id = CacheKey::primary("things", 1_i64);
        things.cached.select_by("id", 1_i64).await.expect("a load");
        clock.advance(10 * SECOND);
        applied(&node, &clock).await;
        for key in keys.iter().chain([&by_id]) {
            assert_eq!(
                soon("an audit", node.audit_key(key)).await,
                Verdict::Consistent,
                "{key}"
            );
        }

        // A value that is old, an absence although there is a row, and a value without a row.
        beside.write_unheard(
            "update things set note = 'uno' where id = 1; \
             insert into things (id, code) values (2, 't2'); delete from things where id = 3",
        );
        assert_eq!(things.note("t1").await.as_deref(), Some("one"), "as cached");
        let age = clock.now().since(loaded);
        assert!(age >= 10 * SECOND, "{age:?}");
        let wrong = Verdict::Inconsistent { age };
        for key in keys.iter().chain([&by_id]) {
            assert_eq!(soon("an audit", node.audit_key(key)).await, wrong, "{key}");
            assert_eq!(
                soon("an audit", node.audit_key(key)).await,
                wrong,
                "it stays what it was"
            );
        }

        node.cache().invalidate_local(&keys[..]);
        for (key, code) in keys.iter().zip(["t1", "t2", "t3"]) {
            assert_eq!(
                soon("an audit", node.audit_key(key)).await,
                Verdict::Nothing,
                "{key}"
            );
            things.note(code).await;
            assert_eq!(
                soon("an audit", node.audit_key(key)).await,
                Verdict::Consistent,
                "{key}"
            );
        }
        end(&node, &clock).await;
    }
}

/// The node reads its log when the test lets it: until then it does not know of others' writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_the_node_has_yet_to_hear_of_is_no_inconsistency() {
    let database = Server::shared().database().await;
    for beside in [Beside::Shared(File::new()), Beside::Postgres(database)] {
        let clock = ManualClock::new();
        let node = beside.still(&clock).await;
        let things = Things::of(&node);
        things.dao.insert(thing(1, "0")).await.expect("inserted");
        applied(&node, &clock).await;

        let mut overtaken = 0;
        for turn in 1..=20 {
            things.note("t1").await;
            beside.write(&format!("update things set note = '{turn}' where id = 1"));
            match soon("an audit", node.audit_key(&by_code("t1"))).await {
                Verdict::Skipped(Skipped::Written) => overtaken += 1,
                // It was still reading what came before, and has read this already.
                Verdict::Nothing => {}
                other => panic!("turn {turn}: {other:?}"),
            }
            assert_eq!(things.note("t1").await, Some(turn.to_string()));
            if overtaken >= 3 {
                break;
            }
        }
        assert!(overtaken >= 3, "it never heard later: {overtaken}");
        end(&node, &clock).await;
    }
}

/// What a handler evicts by hand is not evicted before it has run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_of_a_node_whose_handlers_are_behind() {
    let (beside, clock) = (Beside::Alone(File::new()), ManualClock::new());
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let started = beside.node(|it| {
        it.clock(Arc::new(clock.clone()))
            .init_worker(move |worker| {
                let held = Arc::clone(&held);
                let waits = move |_: &CrudEvent<Thing>| {
                    let _ = held.lock().expect("no panic").recv_timeout(LONG);
                };
                worker
                    .worker_events()
                    .register(waits, "crud", "things")?
                    .keep();
                Ok(())
            })
    });
    let node = moved(&clock, "the start", started).await;
    let things = Things::of(&node);
    let insert = things.dao.insert(thing(1, "one"));
    moved(&clock, "a write", insert).await.expect("inserted");
    things.note("t1").await;
    beside.write_unheard("update things set note = 'uno' where id = 1");

    let (key, before) = (by_code("t1"), clock.now());
    let audit = node.audit_key(&key);
    let verdict = moved(&clock, "an audit", audit).await;
    assert_eq!(verdict, Verdict::Skipped(Skipped::Behind));
    assert!(clock.now().since(before) >= 2 * SECOND, "it waits for them");
    drop(release);
    applied(&node, &clock).await;
    let verdict = soon("an audit", node.audit_key(&key)).await;
    assert!(
        matches!(verdict, Verdict::Inconsistent { .. }),
        "{verdict:?}"
    );
    end(&node, &clock).await;
}

/// Has something done between the sample of an entry and the read of its row, once.
struct Between {
    armed: AtomicBool,
    ask: wakes::UnboundedSender<()>,
    done: Mutex<mpsc::Receiver<()>>,
}

impl Hook for Between {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        if call.method == Method::Select && self.armed.swap(false, Ordering::SeqCst) {
            self.ask.send(())?;
            self.done.lock().expect("no panic").recv_timeout(LONG)?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_entry_that_was_replaced_in_between_is_another_also_if_it_is_there() {
    for beside in Beside::all().await {
        let node = beside.node(|it| it).await;
        let things = Arc::new(Things::of(&node));
        things.dao.insert(thing(1, "one")).await.expect("inserted");
        let (ask, mut asked) = wakes::unbounded_channel();
        let (tell, done) = mpsc::channel();
        let between = Arc::new(Between {
            armed: AtomicBool::new(false),
            ask,
            done: Mutex::new(done),
        });
        things.dao.hook(Arc::clone(&between) as _);
        let writer = Arc::clone(&things);
        let writes = tokio::spawn(async move {
            for reloads in [false, true] {
                asked.recv().await.expect("an audit");
                let other = format!("again: {reloads}");
                let write = writer.dao.update(1, |thing| thing.note = Some(other));
                write.await.expect("updated");
                if reloads {
                    writer.note("t1").await;
                }
                tell.send(()).expect("an audit");
            }
        });

        for reloads in [false, true] {
            things.note("t1").await;
            between.armed.store(true, Ordering::SeqCst);
            let verdict = soon("an audit", node.audit_key(&by_code("t1"))).await;
            assert_eq!(verdict, Verdict::Skipped(Skipped::Written), "{reloads}");
        }
        writes.await.expect("no panic");
        let _ = node.shutdown(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_inconsistent_while_writes_go_on_all_the_time() {
    const ROWS: i64 = 8;
    const WRITES: i64 = 200;
    for beside in Beside::all().await {
        let budget = AuditSettings::new().reads_per_second_on_demand(1_000);
        let node = beside.node(|it| it.audit(budget)).await;
        let things = Arc::new(Things::of(&node));
        for id in 0..ROWS {
            things.dao.insert(thing(id, "0")).await.expect("inserted");
        }

        let (over, ends) = oneshot::channel();
        let audit = {
            let node = node.clone();
            tokio::spawn(async move {
                node.audit_until(AUDIT_TIMES.1, async { drop(ends.await) })
                    .await
            })
        };
        let writers = [0, 1].map(|writer| {
            let things = Arc::clone(&things);
            tokio::spawn(async move {
                for turn in 0..WRITES {
                    let id = (turn * 3 + writer) % ROWS;
                    let note = format!("{writer}.{turn}");
                    let write = things.dao.update(id, |thing| thing.note = Some(note));
                    write.await.expect("updated");
                    // What no write evicts at the moment is cached.
                    for id in 0..ROWS + 2 {
                        things.note(&format!("t{id}")).await;
                    }
                }
            })
        });
        if !matches!(beside, Beside::Alone(_)) {
            for turn in 0..10 {
                beside.write(&format!(
                    "update things set note = 'beside {turn}' where id < 4"
                ));
            }
        }
        for writer in writers {
            writer.await.expect("no panic");
        }
        over.send(()).expect("it runs");
        let found = audit.await.expect("no panic").expect("an audit");
        assert_eq!((found.inconsistent, found.oldest), (0, None), "{found:?}");
        assert!(found.checked > 0 && found.is_within_bound(), "{found:?}");
        let _ = node.shutdown(LONG).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_within_json_is_what_its_row_says_whatever_the_order_and_a_list_is_not() {
    let file = File::new();
    let store = file.store(Logging::Off).await;
    let node = Node::builder().store(store).entity::<Basket>();
    let node = node.start().await.expect("a node");
    let baskets = node.dao::<Basket>().expect("declared");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let basket = Basket {
        id: 1,
        fruits: Json(
            words("apple cherry fig lime pear plum")
                .into_iter()
                .collect(),
        ),
        steps: words("wash peel"),
    };
    baskets.insert(basket).await.expect("inserted");
    let cached = baskets.cached().expect("the node's own");
    let key = CacheKey::primary("baskets", 1_i64);
    for _ in 0..20 {
        cached.select_by("id", 1_i64).await.expect("a load");
        let verdict = soon("an audit", node.audit_key(&key)).await;
        assert_eq!(verdict, Verdict::Consistent);
        node.cache().invalidate_local(&key);
    }

    for unheard in [
        r#"update baskets set steps = '["peel","wash"]'"#,
        r#"update baskets set steps = '["wash","peel"]', fruits = '["apple"]'"#,
    ] {
        cached.select_by("id", 1_i64).await.expect("a load");
        file.write(unheard);
        let verdict = soon("an audit", node.audit_key(&key)).await;
        assert!(
            matches!(verdict, Verdict::Inconsistent { .. }),
            "{verdict:?}"
        );
        node.cache().invalidate_local(&key);
    }
    let _ = node.shutdown(LONG).await;
}
