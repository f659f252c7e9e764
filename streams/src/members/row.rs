//! Members' rows and reports as text, and what a reader learns from them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{
    TimestampMicros,
    log::{
        Capture, Demand, Incarnation, LastReport, LogError, MemberFacts, MemberId, MemberRow,
        MemberSight, Sight, StartId,
    },
};
use uuid::Uuid;

use crate::wire::text::hex;

/// The version of rows and reports.
pub(super) const VERSION: u32 = 1;
/// The name of the value that counts demands.
pub(crate) const DEMAND: &str = "demand";
/// The beginning of the names of rows.
pub(super) const ROW: &str = "member.";
/// The beginning of the names of reports.
pub(super) const REPORT: &str = "report.";

/// Returns the name of a member's row.
pub(crate) fn row_of(node: &str) -> String {
    format!("{ROW}{}", hex(node.as_bytes()))
}

/// Returns the name of a member's report.
pub(super) fn report_of(node: &str) -> String {
    format!("{REPORT}{}", hex(node.as_bytes()))
}

/// Returns what a reader gets besides the records, from the values of its own row and of the
/// demand, in this order. The values are empty if it does not read as a member.
pub(crate) fn sight(
    member: Option<&MemberId>,
    values: &[Option<String>],
) -> Result<Sight, LogError> {
    let Some(member) = member else {
        return Ok(Sight::alone());
    };
    let [row, demand] = values else {
        return Err(unreadable(
            "what was asked for beside the records is missing",
        ));
    };

    let demand = demand.as_deref().map(count_of).transpose()?;
    Ok(Sight {
        capture: Capture::InPlace,
        member: seen(row.as_deref(), member)?,
        demand: demand.filter(|demand| *demand > 0).map(Demand),
    })
}

pub(super) fn seen(row: Option<&str>, member: &MemberId) -> Result<MemberSight, LogError> {
    let Some(row) = row else {
        return Ok(MemberSight::Missing);
    };

    let row = Row::read(row)?;
    Ok(if row.start != member.start.0 {
        MemberSight::Superseded
    } else if row.incarnation != member.incarnation.0 {
        MemberSight::Missing
    } else {
        match row.marked {
            true => MemberSight::Marked,
            false => MemberSight::Counted,
        }
    })
}

pub(super) fn count_of(text: &str) -> Result<u64, LogError> {
    text.parse()
        .map_err(|_| unreadable("a number beside the stream is none"))
}

/// Makes the error for a value of a later version or of another program.
pub(super) fn unreadable(what: &str) -> LogError {
    LogError::Unfit {
        reason: format!(
            "{what}: a later version of Tidings, or another program, has written it; stop that, or \
             give this cluster a name of its own"
        ),
    }
}

/// A member's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) v: u32,
    pub(super) node: String,
    pub(super) start: Uuid,
    pub(super) incarnation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bound_ms: Option<u64>,
    #[serde(default)]
    pub(super) marked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) facts: Option<String>,
}

/// What a member has reported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) v: u32,
    pub(super) incarnation: u64,
    pub(super) answers: u64,
    pub(super) applied: String,
    /// When it reported, in microseconds since 1970 by the member's clock; `None` from an older
    /// program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at_us: Option<i64>,
}

impl Report {
    /// Returns what is known about the report itself. The server's time is not read with every
    /// report, so how long it took and how far the member's clock is off stay unknown, and its age
    /// is as accurate as the two clocks.
    fn last(&self, now: TimestampMicros) -> Option<LastReport> {
        let ago = now.as_micros().saturating_sub(self.at_us?);
        Some(LastReport {
            ago: Duration::from_micros(u64::try_from(ago).unwrap_or(0)),
            took: None,
            clock: None,
        })
    }
}

impl Row {
    pub(super) fn read(text: &str) -> Result<Self, LogError> {
        let row: Option<Self> = serde_json::from_str(text).ok();
        row.filter(|row| row.v == VERSION)
            .ok_or_else(|| unreadable("a member's row cannot be read"))
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers")
    }

    pub(super) fn id(&self) -> MemberId {
        MemberId {
            node: self.node.as_str().into(),
            start: StartId(self.start),
            incarnation: Incarnation(self.incarnation),
        }
    }

    pub(super) fn is_of(&self, member: &MemberId) -> bool {
        self.start == member.start.0 && self.incarnation == member.incarnation.0
    }

    /// Returns what others see of the member at a moment.
    pub(super) fn member(&self, report: Option<&Report>, now: TimestampMicros) -> MemberRow {
        let start = StartId(self.start);
        let facts = self.facts.as_deref();

        // A report of another version or incarnation is ignored: the member counts as silent.
        let report = report.filter(|it| it.v == VERSION && it.incarnation == self.incarnation);
        MemberRow {
            id: self.id(),
            bound: self.bound_ms.map(Duration::from_millis),
            reported: report.and_then(|report| report.applied.parse().ok()),
            answered: report.map_or(Demand(0), |report| Demand(report.answers)),
            marked: self.marked,
            facts: facts.and_then(|facts| MemberFacts::of_text(facts, start)),
            last: report.and_then(|report| report.last(now)),
        }
    }
}
