//! Members beside a stream.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    clock::{ManualClock, SystemClock},
    log::{
        Cursor, Demand, Join, JoinError, LastReport, Log as _, LogError, MemberId, MemberSight,
        Members, Read, StartId,
    },
};
use uuid::Uuid;

use super::head;
use crate::{
    engine::Expected,
    kit::Memory,
    members::{StreamMembers, row_of},
    secret::ClusterKey,
};

fn join(node: &str, start: u128) -> Join {
    Join {
        node: node.into(),
        start: StartId(Uuid::from_u128(start)),
        before: None,
        bound: Some(Duration::from_secs(1)),
        facts: None,
    }
}

async fn joined(members: &Arc<dyn Members>, node: &str, start: u128) -> MemberId {
    members.join(join(node, start)).await.expect("joined")
}

async fn sight(members: &Arc<dyn Members>, id: &MemberId) -> MemberSight {
    members.look(id).await.expect("it answers")
}

#[tokio::test]
async fn a_member_is_counted_marked_given_up_and_superseded() {
    let members = Memory::new().members();
    let a = joined(&members, "a", 1).await;
    assert_eq!(sight(&members, &a).await, MemberSight::Counted);

    assert!(
        !members.expire(&a).await.expect("asked"),
        "it is not marked"
    );
    assert!(members.mark(&a).await.expect("marked"));
    assert_eq!(sight(&members, &a).await, MemberSight::Marked);
    assert!(members.expire(&a).await.expect("removed"));
    assert_eq!(sight(&members, &a).await, MemberSight::Missing);

    // It joins again, and then another process with its name does.
    let again = Join {
        before: Some(a.incarnation),
        ..join("a", 1)
    };
    let again = members.join(again).await.expect("joined");
    assert!(again.incarnation > a.incarnation);
    assert_eq!(sight(&members, &a).await, MemberSight::Missing);
    let later = joined(&members, "a", 2).await;
    assert_eq!(sight(&members, &again).await, MemberSight::Superseded);
    let back = Join {
        before: Some(again.incarnation),
        ..join("a", 1)
    };
    let refused = members.join(back).await;
    assert!(
        matches!(refused, Err(JoinError::Superseded { .. })),
        "{refused:?}"
    );
    members.leave(&again).await.expect("nothing to leave");
    assert_eq!(sight(&members, &later).await, MemberSight::Counted);
}

#[tokio::test]
async fn a_node_that_joins_again_after_everything_was_deleted_has_another_incarnation() {
    let server = Memory::new();
    let members = server.members();
    let a = joined(&members, "a", 1).await;
    server.delete_all();
    let again = Join {
        before: Some(a.incarnation),
        ..join("a", 1)
    };
    let again = members.join(again).await.expect("joined");
    assert!(again.incarnation > a.incarnation);
}

#[tokio::test]
async fn a_demand_is_seen_with_the_records_and_its_report_by_all() {
    let server = Memory::new();
    let (members, log) = (server.members(), server.numbered("a"));
    let a = joined(&members, "a", 1).await;
    let b = joined(&members, "b", 2).await;
    let cursor = head(&log).await;

    let asked = members.demand().await.expect("asked");
    assert_eq!(asked, [(a.clone(), Demand(1)), (b.clone(), Demand(1))]);
    let Ok(Read::Batch(batch)) = log.read(&cursor, 10, Some(&a)).await else {
        panic!("no batch");
    };
    assert_eq!(batch.sight.demand, Some(Demand(1)));
    assert_eq!(batch.sight.member, MemberSight::Counted);

    members.report(&a, &cursor, Demand(1)).await.expect("told");
    let rows = members.list().await.expect("listed");
    let answered: Vec<_> = rows
        .iter()
        .map(|row| (&*row.id.node, row.answered))
        .collect();
    assert_eq!(answered, [("a", Demand(1)), ("b", Demand(0))]);
    assert_eq!(rows[0].reported, Some(cursor.clone()));

    // A report of an earlier incarnation has no effect, and a member that left leaves nothing
    // behind.
    let again = joined(&members, "a", 1).await;
    members
        .report(&a, &cursor, Demand(9))
        .await
        .expect("passed over");
    assert_eq!(members.list().await.expect("listed")[0].answered, Demand(0));
    members
        .report(&again, &cursor, Demand(1))
        .await
        .expect("told");
    for id in [&again, &b] {
        members.leave(id).await.expect("left");
    }
    assert_eq!(members.list().await.expect("listed"), []);
    let left = server.link(1).values().await.expect("listed");
    let names: Vec<_> = left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["demand", "incarnations"]);
}

#[tokio::test]
async fn a_row_of_a_later_version_is_refused_at_the_join() {
    let server = Memory::new();
    let members = server.members();
    let row = r#"{"v":2,"node":"z","start":"x","incarnation":1}"#;
    let name = row_of("z");
    let engine = server.link(1);
    engine
        .replace(&name, Expected::Absent, Some(row))
        .await
        .expect("written");
    let refused = members.join(join("a", 1)).await;
    let Err(JoinError::Log(LogError::Unfit { reason })) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("later version"), "{reason}");
}

#[tokio::test]
async fn a_node_with_another_key_or_with_none_is_refused_at_the_join() {
    let server = Memory::new();
    let members = |key: Option<&str>| -> Arc<dyn Members> {
        let key = key.map(|key| ClusterKey::new(key).expect("long enough").check());
        Arc::new(StreamMembers::new(
            server.link(1),
            key,
            Arc::new(SystemClock::new()),
        ))
    };
    let ours = "a secret that nodes share";
    joined(&members(Some(ours)), "a", 1).await;
    joined(&members(Some(ours)), "b", 2).await;
    for other in [Some("a secret of other nodes"), None] {
        let refused = members(other).join(join("c", 3)).await;
        let Err(JoinError::Log(LogError::Unfit { reason })) = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("cluster's key"), "{reason}");
    }
}

/// A late member is shown with the time of its last report.
#[tokio::test]
async fn a_row_tells_how_long_ago_its_member_has_reported() {
    let (server, clock) = (Memory::new(), ManualClock::new());
    let engine = server.link(1);
    let members: Arc<dyn Members> = Arc::new(StreamMembers::new(
        Arc::clone(&engine) as _,
        None,
        Arc::new(clock.clone()),
    ));
    let a = joined(&members, "a", 1).await;
    let last = async || members.list().await.expect("listed")[0].last;
    assert_eq!(last().await, None, "it has not reported");

    let cursor = head(&server.numbered("a")).await;
    members.report(&a, &cursor, Demand(1)).await.expect("told");
    let seconds = Duration::from_secs(3);
    clock.advance(seconds);
    let reported = LastReport {
        ago: seconds,
        took: None,
        clock: None,
    };
    assert_eq!(last().await, Some(reported));

    // An older program does not store it.
    let before = r#"{"v":1,"incarnation":1,"answers":1,"applied":"9.x"}"#;
    let spoilt = engine.replace("report.61", Expected::Any, Some(before));
    spoilt.await.expect("written");
    assert_eq!(last().await, None);
}

#[tokio::test]
async fn a_report_that_is_no_cursor_is_silence() {
    let server = Memory::new();
    let (members, log) = (server.members(), server.numbered("a"));
    let a = joined(&members, "a", 1).await;
    let cursor: Cursor = head(&log).await;
    members.report(&a, &cursor, Demand(1)).await.expect("told");
    let name = "report.61"; // of a
    let spoilt = r#"{"v":1,"incarnation":1,"answers":1,"applied":"9.x"}"#;
    let engine = server.link(1);
    engine
        .replace(name, Expected::Any, Some(spoilt))
        .await
        .expect("written");
    assert_eq!(members.list().await.expect("listed")[0].reported, None);
}
