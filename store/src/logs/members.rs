//! What a reader is told beside the records: of capture, and of its own row as a member.

use tidings_core::log::{Capture, Demand, Incarnation, MemberId, MemberSight, Sight};

/// Returns what a member's own row says of it, and the last report that it was asked for; none if
/// the row cannot be read. A row is told as `start incarnation marked demand`.
pub(crate) fn sight_of(
    row: Option<&str>,
    member: &MemberId,
) -> Option<(MemberSight, Option<Demand>)> {
    let Some(row) = row else {
        return Some((MemberSight::Missing, None));
    };
    let parts: Vec<&str> = row.split(' ').collect();
    let [start, incarnation, marked, demand] = parts.as_slice() else {
        return None;
    };
    let incarnation = Incarnation(incarnation.parse().ok()?);
    let demand = Demand(demand.parse().ok()?);

    let sight = if *start != member.start.0.to_string() {
        MemberSight::Superseded
    } else if incarnation != member.incarnation {
        MemberSight::Missing
    } else if matches!(*marked, "t" | "true" | "1") {
        MemberSight::Marked
    } else {
        MemberSight::Counted
    };
    Some((sight, (demand > Demand(0)).then_some(demand)))
}

/// Returns what a reader is told beside the records; as a member, also what its own row says. None
/// if that row cannot be read.
pub(crate) fn sight(
    capture: Capture,
    member: Option<&MemberId>,
    own: Option<&str>,
) -> Option<Sight> {
    let (member, demand) = match member {
        Some(member) => sight_of(own, member)?,
        None => (MemberSight::NotAsked, None),
    };
    Some(Sight {
        capture,
        member,
        demand,
    })
}
