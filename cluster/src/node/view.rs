//! [`View`]: the cluster as one node sees it, for people and for monitoring.

use std::{sync::Arc, time::Duration};

use tidings_core::log::{
    ClockOffset, Cursor, Demand, LogError, MemberFacts, MemberId, MemberRow, Wake,
};

use super::{
    protocol::Protocol,
    shared::{ClusterStats, Progress, Shared},
    wake_link::WakeLink,
};

/// The maximum age of the last proof of a fresh node without a bound.
const FRESH: Duration = Duration::from_secs(1);

/// The state of a node's connection to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It follows the log.
    Connected,
    /// It reads what it has missed, or its handlers are behind.
    CatchingUp,
    /// The log does not answer, or the node has left.
    Disconnected,
    /// Changes are not recorded.
    Capture,
    /// It follows the log, without a cluster.
    Alone,
}

impl Standing {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::CatchingUp => "catching up",
            Self::Disconnected => "disconnected",
            Self::Capture => "capture",
            Self::Alone => "alone",
        }
    }
}

/// The cluster as one node sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// The state of the node.
    pub standing: Standing,
    /// The position that it has applied: it has evicted, and its handlers have run.
    pub position: Option<Cursor>,
    /// The number of records that it knows of but has not applied.
    pub behind: usize,
    /// The time since the last proof that it had applied everything; `None` if there was none.
    pub proven: Option<Duration>,
    /// Whether that proof is recent enough.
    pub fresh: bool,
    /// The members, including this node; empty if they could not be asked.
    pub members: Vec<MemberView>,
    /// The counts.
    pub stats: ClusterStats,
}

/// A member as the other nodes see it.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Its name.
    pub node: Arc<str>,
    /// Its state.
    pub state: MemberState,
    /// The position that it last reported as applied.
    pub position: Option<Cursor>,
    /// The time that its last report took, from the question to the report; `None` if no report has
    /// come.
    pub lag: Option<Duration>,
    /// The time since its last report.
    pub reported: Option<Duration>,
    /// The facts that it reports about itself; `None` if its program reports none.
    pub facts: Option<MemberFacts>,
    /// The offset of its clock from the database's at its last report.
    pub clock: Option<ClockOffset>,
    /// The time for which it serves entries without a proof; `None` if it has no bound.
    pub bound: Option<Duration>,
}

/// The state of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has answered.
    Live,
    /// It has not answered in time.
    Late,
    /// Other nodes have given it up.
    Gone,
}

impl MemberState {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Late => "late",
            Self::Gone => "gone",
        }
    }

    /// Returns why it is not live.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Live => None,
            Self::Late => Some("it did not report in time"),
            Self::Gone => Some("it was silent for longer than its bound"),
        }
    }
}

impl Protocol {
    /// Returns the cluster as this node sees it. Asks every member for a report, and waits up to
    /// `patience` for the reports.
    pub async fn view(&self, patience: Duration) -> View {
        let shared = self.shared();
        let members = shared.ask_members(patience).await;
        let proven = shared.gate.unproven_for();
        View {
            standing: self.standing(),
            position: shared.applied.get(),
            behind: shared.queue.records(),
            proven,
            fresh: shared.is_fresh(),
            members: members.unwrap_or_default(),
            stats: self.stats(),
        }
    }

    /// Returns the state of this node's connection to the log.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let shared = self.shared();
        let progress = *shared.progress.lock();

        match progress {
            Progress::Uncaptured => Standing::Capture,
            Progress::Starting | Progress::Unanswered | Progress::Over => Standing::Disconnected,
            Progress::Behind => Standing::CatchingUp,
            Progress::Following if shared.queue.records() > 0 => Standing::CatchingUp,
            Progress::Following if shared.members.is_none() => Standing::Alone,
            Progress::Following => Standing::Connected,
        }
    }

    /// Returns whether there is a recent proof that this node has applied everything.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.shared().is_fresh()
    }

    /// Returns whether another process was started under this node's name. Then this node never
    /// serves anything from its cache again.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.shared().gate.is_superseded()
    }

    /// Returns the state of this node's wake-ups, and since when.
    #[must_use]
    pub fn wake_link(&self) -> WakeLink {
        *self.shared().wake_link.lock()
    }

    /// Returns whether the node has a bound on staleness and no proof within it. Then it only
    /// serves values that it has loaded within the bound.
    #[must_use]
    pub fn is_past_bound(&self) -> bool {
        self.shared().settings.bound.is_some() && !self.is_fresh()
    }

    /// Removes a member that will not come back, so that no receipt waits for it. Returns whether
    /// there was such a member.
    ///
    /// First the member's row is marked, and receipts still wait for it. If the member is alive, it
    /// finds the mark, serves nothing that it had cached, and joins again. The row of a member with
    /// a bound is deleted once twice the bound has passed. The row of a member without a bound is
    /// deleted if the member gives no sign of life for ten polls, and for a second at least.
    ///
    /// # Errors
    ///
    /// See [`LogError`].
    pub async fn remove_member(&self, node: &str) -> Result<bool, LogError> {
        let shared = self.shared();
        let Some(members) = &shared.members else {
            return Ok(false);
        };
        let rows = members.list().await?;
        let Some(row) = rows.into_iter().find(|row| &*row.id.node == node) else {
            return Ok(false);
        };

        members.mark(&row.id).await?;
        shared.log.wake(Wake::Look);
        if row.bound.is_some() {
            // The task that asks finds the mark, and deletes the row when that is due.
            drop(shared.questions.ask());
            return Ok(true);
        }

        let until = shared.clock.now().plus(patience(shared.settings.pause()));
        while shared.clock.now() < until {
            shared.clock.sleep(shared.settings.pause() / 4).await;
            let rows = members.list().await?;
            if rows.iter().all(|now| now.id != row.id) {
                return Ok(true);
            }
        }

        members.leave(&row.id).await?;
        Ok(true)
    }
}

/// Returns how long a member without a bound may be silent once it was marked.
fn patience(poll: Duration) -> Duration {
    (poll * 10).max(Duration::from_secs(1))
}

impl Shared {
    fn is_fresh(&self) -> bool {
        let bound = self.settings.bound.unwrap_or(FRESH);
        let proven = self.gate.unproven_for();
        self.gate.is_open() && proven.is_some_and(|proven| proven <= bound)
    }

    async fn ask_members(&self, patience: Duration) -> Result<Vec<MemberView>, LogError> {
        let Some(members) = &self.members else {
            return Ok(Vec::new());
        };
        let asked = self.clock.now();
        let until = asked.plus(patience);
        let demands = members.demand().await?;
        self.log.wake(Wake::Look);
        self.look.notify_one();

        let mut seen: Vec<(MemberId, Duration)> = Vec::new();
        loop {
            let rows = members.list().await?;
            let now = self.clock.now();
            for row in &rows {
                let known = seen.iter().any(|(id, _)| *id == row.id);
                if !known && has_answered(row, &demands) {
                    seen.push((row.id.clone(), now.since(asked)));
                }
            }

            let open = rows.iter().filter(|row| !row.marked);
            let all = open
                .filter(|row| demands.iter().any(|(id, _)| *id == row.id))
                .all(|row| seen.iter().any(|(id, _)| *id == row.id));
            if all || now >= until {
                let view = |row| view_of(row, &seen, now.since(asked));
                return Ok(rows.iter().map(view).collect());
            }

            let pause = (self.settings.pause() / 4).min(Duration::from_millis(5));
            self.clock.sleep(pause).await;
        }
    }
}

fn has_answered(row: &MemberRow, demands: &[(MemberId, Demand)]) -> bool {
    // One that has joined since was not asked.
    let asked = demands.iter().find(|(id, _)| *id == row.id);
    asked.is_some_and(|(_, demand)| row.answered >= *demand)
}

fn view_of(row: &MemberRow, seen: &[(MemberId, Duration)], now: Duration) -> MemberView {
    let answer = seen.iter().find(|(id, _)| *id == row.id);
    let answer = answer.map(|(_, lag)| *lag);
    MemberView {
        node: Arc::clone(&row.id.node),
        state: match (row.marked, answer) {
            (true, _) => MemberState::Gone,
            (false, Some(_)) => MemberState::Live,
            (false, None) => MemberState::Late,
        },
        position: row.reported.clone(),
        // For a member that is late, the lag of its last report.
        lag: answer.or(row.last.and_then(|last| last.took)),
        reported: match answer {
            Some(answer) => Some(now.saturating_sub(answer)),
            None => row.last.map(|last| last.ago),
        },
        facts: row.facts.clone(),
        clock: row.last.and_then(|last| last.clock),
        bound: row.bound,
    }
}
