//! A member that reports its position, and what the others see of the report.

use std::{sync::Arc, time::Duration};

use tidings_core::log::{Cursor, Demand, Join, LastReport, MemberFacts, Members, StartId};
use uuid::Uuid;

/// Joins, reports and leaves; returns what the others saw of the report.
pub(crate) async fn last_report(members: &dyn Members, applied: &Cursor) -> LastReport {
    let join = Join {
        node: "off".into(),
        start: StartId(Uuid::from_u128(7)),
        before: None,
        bound: None,
        facts: Some(MemberFacts {
            version: Arc::from("1"),
            retention: Duration::from_secs(3_600),
            schemas: Arc::from("all"),
        }),
    };
    let member = members.join(join).await.expect("a member");
    let reported = members.report(&member, applied, Demand(0)).await;
    reported.expect("a report");
    let rows = members.list().await.expect("the members");
    let row = rows.into_iter().find(|row| row.id == member);
    members.leave(&member).await.expect("the end");
    row.and_then(|row| row.last).expect("its last report")
}
