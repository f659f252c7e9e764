//! Members as rows of the database: receipts, silence, names that are taken, and nodes without a
//! cluster.

use std::{sync::Arc, time::Duration};

use tidings_cluster::Silence;
use tidings_core::{
    clock::ManualClock,
    entropy::{Entropy as _, SystemEntropy},
    log::{Incarnation, Join, Log as _, LogError, MemberFacts, Members as _, StartId},
};
use tidings_store::postgres::log::{Alone, PgLog, PgLogError, PgLogSettings, PgMembers};
use tidings_testkit::Server;

use crate::support::{Node, captured, key, settings_of, until};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_confirmed_once_every_members_handlers_have_run() {
    let database = captured(Server::shared()).await;
    let (a, b) = (
        Node::start(&database, "a", None).await,
        Node::start(&database, "b", None).await,
    );
    b.watched.hold(true);
    let mark = a.write(&database, 1, "alice").await;
    a.protocol.committed(mark, &[key("alice")], &[]).await;

    let early = a.protocol.confirm(mark, Duration::from_millis(300)).await;
    let silent = early.expect_err("the handlers of b have not run").silent;
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!((&*silent[0].node, silent[0].reason), ("b", Silence::Late));

    b.watched.hold(false);
    let confirmed = a.protocol.confirm(mark, PATIENCE).await.expect("confirmed");
    let mut names: Vec<_> = confirmed.applied.iter().map(|id| &*id.node).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(b.watched.now().changes, ["create 1 \"alice\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_died_is_waited_for_until_its_bound_has_run_out() {
    let database = captured(Server::shared()).await;
    let a = Node::start(&database, "a", None).await;
    let bound = Duration::from_millis(200);
    drop(Node::start(&database, "b", Some(bound)).await);
    drop(Node::start(&database, "c", None).await);

    let mark = a.write(&database, 1, "alice").await;
    let silent = a.protocol.confirm(mark, 5 * bound).await;
    let silent = silent.expect_err("c has no bound").silent;
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!(&*silent[0].node, "c");

    // An operator removes it; what is left are the living.
    database.psql("delete from tidings.members where node = 'c'");
    a.protocol.confirm(mark, PATIENCE).await.expect("confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_member_joins_again_and_serves_again() {
    let database = captured(Server::shared()).await;
    let node = Node::start(&database, "a", None).await;
    let before = node.protocol.member().expect("a member").incarnation;
    database.psql("update tidings.members set marked = true");
    let is_back = || {
        let member = node.protocol.member();
        let is_new = member.is_some_and(|member| member.incarnation != before);
        is_new && node.protocol.gate().is_open()
    };
    until(is_back).await;
    assert_eq!(
        database.psql("select marked from tidings.members").trim(),
        "f"
    );
    assert_eq!(node.watched.now().gaps, [], "its cursor was still good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_belongs_to_its_last_start() {
    let database = captured(Server::shared()).await;
    let first = Node::start(&database, "a", None).await;
    let second = Node::start(&database, "a", None).await;
    until(|| !first.protocol.gate().is_open()).await;
    assert!(second.protocol.gate().is_open());
    let rows = PgMembers::new(&settings_of(&database))
        .list()
        .await
        .expect("rows");
    assert_eq!(rows.len(), 1);
    assert_eq!(Some(&rows[0].id), second.protocol.member().as_ref());
    assert!(rows[0].id.incarnation > Incarnation(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_not_waited_for() {
    let database = captured(Server::shared()).await;
    let (a, b) = (
        Node::start(&database, "a", None).await,
        Node::start(&database, "b", None).await,
    );
    b.protocol.leave().await.expect("left");
    let mark = a.write(&database, 1, "alice").await;
    let confirmed = a.protocol.confirm(mark, PATIENCE).await.expect("confirmed");
    assert_eq!(confirmed.applied.len(), 1, "{confirmed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cluster_and_members_refuse_each_other() {
    let database = captured(Server::shared()).await;
    let settings = settings_of(&database);
    let alone = Alone::take(&settings).await.expect("no one is there");
    let refused = PgMembers::new(&settings).list().await;
    assert!(
        matches!(&refused, Err(LogError::Unfit { .. })),
        "{refused:?}"
    );
    drop(alone);

    let members = PgMembers::new(&settings);
    let let_in = async {
        // The server ends the dropped connection in its own time.
        while members.list().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, let_in).await;
    waited.expect("members are let in again");
    let refused = Alone::take(&settings).await;
    assert!(
        matches!(&refused, Err(PgLogError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_how_far_a_clock_was_off_and_of_what_program_it_is() {
    let database = captured(Server::shared()).await;
    let settings = settings_of(&database);
    let log = PgLog::new(settings.clone());
    // Its time of day is that of long ago.
    let clock = ManualClock::new();
    let members = PgMembers::new(&PgLogSettings {
        clock: Arc::new(clock),
        ..settings
    });
    let facts = MemberFacts {
        version: "0.9.0".into(),
        retention: Duration::from_secs(60),
        schemas: "0123".into(),
    };
    let join = |facts: Option<MemberFacts>| Join {
        node: "a".into(),
        start: StartId(SystemEntropy.uuid()),
        before: None,
        bound: None,
        facts,
    };

    let id = members
        .join(join(Some(facts.clone())))
        .await
        .expect("it joins");
    let row = members.list().await.expect("a list").remove(0);
    assert_eq!((row.facts, row.last), (Some(facts), None));
    let applied = log.head(None).await.expect("a log").cursor;
    let demands = members.demand().await.expect("it is asked");
    let reported = members.report(&id, &applied, demands[0].1).await;
    reported.expect("it reports");
    let row = members.list().await.expect("a list").remove(0);
    let last = row.last.expect("it has reported");
    let years = last.clock.expect("it is compared").millis / (365 * 24 * 3_600 * 1_000);
    assert!(years < -1, "{last:?}");
    assert!(last.took.is_some(), "{last:?}");

    // An older program, of which nothing is known, joins under the same name.
    members.join(join(None)).await.expect("it joins");
    let older =
        "update tidings.members set facts = 'an earlier start', reported_at = 1, clock_ahead = 1";
    database.psql(older);
    let row = members.list().await.expect("a list").remove(0);
    assert_eq!((row.facts, row.last), (None, None));
}
