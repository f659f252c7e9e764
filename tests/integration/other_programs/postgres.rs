//! Writes by other programs on PostgreSQL: a node sees them like its own.

use std::time::Duration;

use tidings::{
    CrudEvent, Hearing, Node, Store,
    clock::{Clock as _, SystemClock},
    store::postgres::log::{InstallOptions, Installer},
};
use tidings_testkit::{Database, Server};

use super::{Program, cases};
use crate::{
    gateway::served_with,
    heard::{Heard, Owner, Thing, thing},
};

impl Program for Database {
    fn write(&self, sql: &str) {
        self.psql(sql);
    }
}

impl Heard<Database> {
    async fn start() -> Self {
        Self::start_on(Server::shared()).await
    }

    async fn start_on(server: &Server) -> Self {
        let database = server.database().await;
        let store = Store::open(&database.url()).await.expect("a store");
        Self::with(database, store).await
    }
}

// CL13 on one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_psql_writes_evicts_and_is_heard() {
    let heard = Heard::start().await;
    let update = "update things set note = 'uno' where id = 1";
    cases::a_create_and_an_update(&heard, |database| database.write(update)).await;

    heard
        .database
        .psql("copy things (id, code, note) from stdin;\n2\tt2\ttwo\n3\tt3\tthree\n\\.\n");
    assert_eq!(
        heard.events(2).await,
        [
            "create 2 None Some(\"two\")",
            "create 3 None Some(\"three\")"
        ]
    );

    heard.database.psql(
        "begin; update things set note = 'a' where id = 1; update things set note = 'b' where id = 1; \
         insert into things (id, code) values (9, 't9'); delete from things where id = 9; commit",
    );
    assert_eq!(
        heard.events(1).await,
        ["update 1 Some(\"uno\") Some(\"b\")"]
    );

    assert_eq!(heard.note("t2").await.as_deref(), Some("two"));
    heard.database.psql("truncate things");
    heard
        .until(|heard| !heard.gaps.lock().expect("a list").is_empty())
        .await;
    assert_eq!(heard.note("t2").await, None, "all of the entity is evicted");
    let gaps = std::mem::take(&mut *heard.gaps.lock().expect("a list"));
    assert_eq!(gaps, ["a gap in the log of things (capture)"]);
    assert!(heard.events.lock().expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_parent_takes_its_children_along() {
    cases::a_changed_parent(Heard::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_and_foreign_writes_of_a_row_are_heard_in_one_order_and_own_ones_evict_once() {
    cases::own_and_foreign_writes(Heard::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_row_are_heard_as_one_chain() {
    cases::many_writers(Heard::start().await).await;
}

// CL19 on one node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_is_gone_ends_proofs_and_purges_and_its_return_is_heard() {
    for harm in [
        "alter table things disable trigger tidings_update",
        "drop trigger tidings_update on things",
    ] {
        let mend = async |heard: &Heard<Database>| {
            let url = heard.database.url();
            let mut installer = Installer::connect(&url).await.expect("connected");
            let schemas = heard.node.schemas().to_vec();
            let mended = installer.install(&schemas, InstallOptions::default()).await;
            assert_eq!(mended.expect("mended").changed, ["public.things"], "{harm}");
        };
        cases::a_trigger_that_is_gone(Heard::start().await, harm, mend).await;
    }
}

/// A node that could not find the children of a row still sees capture that was off for a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capture_that_was_off_is_seen_by_a_node_that_could_not_find_children() {
    let heard = Heard::start().await;
    let owner = "00000000-0000-0000-0000-000000000001";
    heard.database.psql(&format!(
        "insert into owners (id, name) values ('{owner}', 'ann'); \
         insert into things (id, code, note) values (1, 't1', 'one'); \
         alter table things rename column owner to elsewhere; update owners set name = 'bob'"
    ));
    let mut other = heard.database.connect().await;
    while heard.gaps.lock().expect("a list").is_empty() {
        // Commits go on in the meantime.
        let commit = sqlx::raw_sql("select txid_current()").execute(&mut other);
        let _ = commit.await.expect("a commit");
    }
    let back = "alter table things rename column elsewhere to owner";
    heard.database.psql(back);
    heard.until_kept("t1").await;

    heard.database.psql(
        "alter table things disable trigger tidings_update; update things set note = 'unheard'; \
         alter table things enable always trigger tidings_update",
    );
    heard.until_note("t1", Some("unheard")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_no_gap_and_what_was_written_meanwhile_is_heard() {
    let heard = Heard::start().await;
    let name = heard.database.name().to_owned();
    heard.database.psql(&format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid(); \
         insert into things (id, code, note) values (1, 't1', 'one')"
    ));
    assert_eq!(heard.events(1).await, ["create 1 None Some(\"one\")"]);
    assert!(heard.gaps.lock().expect("a list").is_empty());
}

/// A process of the server is killed, so the server recovers: it may have lost commits and hands
/// their names out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_recovers_from_a_crash_is_a_gap_and_the_node_goes_on() {
    let server = Server::start();
    let heard = Heard::start_on(&server).await;
    heard
        .database
        .psql("insert into things (id, code, note) values (1, 't1', 'one')");
    let _ = heard.events(1).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    let before = heard.loads();

    let victim = heard
        .database
        .psql("select pid from pg_stat_activity where backend_type = 'walwriter'");
    let killed = std::process::Command::new("kill")
        .args(["-9", victim.trim()])
        .status();
    assert!(killed.expect("kill runs").success());
    heard
        .until(|heard| !heard.gaps.lock().expect("a list").is_empty())
        .await;
    let gaps = heard.gaps.lock().expect("a list").clone();
    assert_eq!(gaps, ["a gap in the log (epoch)"]);

    heard
        .until(|heard| heard.node.hearing() == Hearing::All)
        .await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    assert_eq!(heard.loads(), before + 1, "everything was purged");
    heard
        .database
        .psql("insert into things (id, code, note) values (2, 't2', 'two')");
    assert_eq!(heard.events(1).await, ["create 2 None Some(\"two\")"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retention_out_of_range_is_refused_at_the_start() {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    let node = Node::builder()
        .store(store)
        .entity::<Owner>()
        .log_retention(Duration::from_secs(1));
    let refused = node.start().await.expect_err("too short");
    let why = std::error::Error::source(&refused)
        .expect("a cause")
        .to_string();
    assert_eq!(why, "log_retention is 1s; it must be 10 s to 30 days");
}

/// A write waits for its record to come back only if a handler receives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_no_handler_hears_of_does_not_wait_for_the_log() {
    let database = Server::shared().database().await;
    let store = Store::open(&database.url()).await.expect("a store");
    let node = Node::builder()
        .store(store)
        .entity::<Owner>()
        .entity::<Thing>()
        .handler_deadline(Duration::from_secs(3_600))
        .start()
        .await
        .expect("a node");
    // A connection asks for the log's epoch when it is opened, and is kept for the next write.
    let things = node.dao::<Thing>().expect("declared");
    things.insert(thing(0, "zero")).await.expect("inserted");
    // The log cannot be read while this lasts; it can be written.
    let mut holder = database.connect().await;
    let lock = "begin; lock table tidings.epoch in access exclusive mode";
    let locked = sqlx::raw_sql(lock).execute(&mut holder).await;
    let _ = locked.expect("locked");

    let write = things.insert(thing(1, "one"));
    let written = tokio::time::timeout(Duration::from_secs(30), write).await;
    written.expect("no wait for the log").expect("inserted");

    let bus = node.worker_events();
    let heard = bus.register(|_: &CrudEvent<Thing>| {}, "crud", "things");
    let _heard = heard.expect("registered");
    let update = things.update(1, |thing| thing.note = None);
    let mut update = std::pin::pin!(update);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut update).await;
    assert!(early.is_err(), "its handler cannot have run");
    drop(holder);
    let updated = tokio::time::timeout(Duration::from_secs(30), update).await;
    updated.expect("its handler has run").expect("updated");
}

// CL13 and CL19 on the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_psql_revokes_is_refused_and_missing_triggers_show_in_readyz() {
    let database = Server::shared().database().await;
    let url = database.url();
    let served = served_with(|settings| settings.database = url).await;
    database.psql(
        "insert into consumers (id, username, created_at, updated_at) \
           values ('00000000-0000-0000-0000-000000000001', 'bob', 1, 1); \
         insert into keyauth_credentials (id, created_at, consumer, key) \
           values ('00000000-0000-0000-0000-000000000002', 1, '00000000-0000-0000-0000-000000000001', 'abcd')",
    );
    let mut proxy = served.proxy().await;
    let clock = SystemClock::new();
    let deadline = clock.now().plus(Duration::from_secs(20));
    for (sql, status) in [("select", 200), ("delete from keyauth_credentials", 401)] {
        database.psql(sql);
        while proxy.with_key("abcd").await.status != status {
            assert!(clock.now() < deadline, "not {status} after {sql}");
        }
    }

    let mut admin = served.admin().await;
    for (sql, status) in [
        ("alter table acls disable trigger tidings_insert", 503),
        ("alter table acls enable always trigger tidings_insert", 200),
    ] {
        database.psql(sql);
        let answer = loop {
            let answer = admin.get("/readyz").await;
            assert!(clock.now() < deadline, "not {status} after {sql}");
            if answer.status == status {
                break answer;
            }
        };
        if status == 503 {
            let reasons = serde_json::json!({ "ready": false, "reasons": ["capture"] });
            assert_eq!(answer.json(), reasons);
        }
    }
    served.stop().await;
}
