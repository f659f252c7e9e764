//! Reads the row of a member: its state, and its last report.

use std::time::Duration;

use tidings_core::log::{
    Capture, ClockOffset, Demand, Incarnation, LastReport, MemberId, MemberSight, Sight,
};

/// Returns the state of a member by its own row, and the last report that it was asked for; `None`
/// if the row cannot be read. A row is the text `start incarnation marked demand`.
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

/// The state of a reader by its own row as a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnRow {
    member: MemberSight,
    demand: Option<Demand>,
}

impl OwnRow {
    /// Reads the row of the member that reads, if a member does. `None` if that row cannot be read.
    pub(crate) fn read(member: Option<&MemberId>, row: Option<&str>) -> Option<Self> {
        let (member, demand) = match member {
            Some(member) => sight_of(row, member)?,
            None => (MemberSight::NotAsked, None),
        };
        Some(Self { member, demand })
    }

    /// Returns what the reader gets besides the records.
    pub(crate) fn with_capture(self, capture: Capture) -> Sight {
        Sight {
            capture,
            member: self.member,
            demand: self.demand,
        }
    }
}

/// Returns the last report of a member, from milliseconds by the database's time; `None` if it has
/// not reported.
pub(crate) fn last_report(
    ago: Option<i64>,
    took: Option<i64>,
    ahead: Option<i64>,
) -> Option<LastReport> {
    // If the clock was set back since, the report appears to come from the future.
    let span = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    ago.zip(ahead).map(|(ago, millis)| LastReport {
        ago: span(ago),
        took: took.map(span),
        clock: Some(ClockOffset { millis }),
    })
}

#[cfg(test)]
mod tests {
    use tidings_core::log::StartId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_row_of_another_start_incarnation_or_mark_is_not_counted() {
        let own = Uuid::from_u128(1);
        let member = MemberId {
            node: "a".into(),
            start: StartId(own),
            incarnation: Incarnation(2),
        };
        let sight = |start: Uuid, rest: &str| sight_of(Some(&format!("{start} {rest}")), &member);
        let asked = Some(Demand(7));
        let counted = Some((MemberSight::Counted, asked));
        assert_eq!(sight(own, "2 f 7"), counted);
        assert_eq!(sight(own, "2 0 0"), Some((MemberSight::Counted, None)));
        for marked in ["2 t 7", "2 true 7", "2 1 7"] {
            assert_eq!(sight(own, marked), Some((MemberSight::Marked, asked)));
        }
        // It was removed, and has joined again since.
        assert_eq!(sight(own, "3 f 7"), Some((MemberSight::Missing, asked)));
        assert_eq!(sight_of(None, &member), Some((MemberSight::Missing, None)));
        let superseded = Some((MemberSight::Superseded, asked));
        assert_eq!(sight(Uuid::from_u128(2), "2 f 7"), superseded);
        assert_eq!(sight(own, "2 f"), None);
    }
}
