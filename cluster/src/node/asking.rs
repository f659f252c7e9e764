//! Questions to the members, and the expiry of those that do not answer: one task of each node.
//!
//! A caller says, before it first waits, that it wants to know; one question answers every caller
//! that came before it was sent. The task asks whether or not a caller still waits, and goes on
//! looking at the answers: a member that is silent for longer than its bound is marked, and deleted
//! after twice the bound. Twice, because a load that begins within the bound of the member's last
//! sight of its own row may be served for another bound. A member without a bound is marked when it
//! is to be removed (`view.rs`), and never for its silence.
//!
//! While a caller waits, the task checks the rows at short intervals (`pace.rs`), since a report
//! wakes no one.
//!
//! It keeps one entry for each member that has not answered, and at most 4,096 of them. The next
//! question finds the others again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    Chain,
    clock::Tick,
    log::{Cursor, Demand, MemberId, MemberRow, Members, Read, Wake},
};

use super::shared::Shared;
use crate::{
    faults::{Rule, removed},
    floor::{Floor, Found},
    pace::Pace,
    questions::{Answers, Round},
    trail::InLog,
};

/// How many members are watched at a time.
const WATCHED: usize = 4_096;

/// How many rows are marked or deleted before the members are looked at again.
const AT_ONCE: usize = 16;

/// Returns how long a duration on another node's clock lasts at most on this node's.
pub(super) fn with_drift(time: Duration) -> Duration {
    time + time / 1_000 + Duration::from_millis(10)
}

/// Members that were asked and have not answered, by name.
#[derive(Debug, Default)]
struct Silent(BTreeMap<Arc<str>, Open>);

/// One of them.
#[derive(Debug)]
struct Open {
    id: MemberId,
    /// The last demand, which is still to be answered.
    asked: Demand,
    /// The last demand that it has answered, as far as this node has seen.
    answered: Option<Demand>,
    /// When its silence began.
    since: Tick,
    /// Since when this node has seen its mark.
    marked: Option<Tick>,
}

/// What is due for a silent member.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    Mark(MemberId),
    Delete(MemberId),
}

impl Silent {
    /// Notes a question that was sent at a moment.
    fn asked(&mut self, demands: Vec<(MemberId, Demand)>, at: Tick) {
        for (id, demand) in demands {
            let is_full = self.0.len() >= WATCHED;
            match self.0.get_mut(&id.node) {
                // Silence counts from the first question that it has not answered.
                Some(open) if open.id == id => open.asked = demand,
                None if is_full => {}
                Some(_) | None => {
                    let open = Open {
                        id,
                        asked: demand,
                        answered: None,
                        since: at,
                        marked: None,
                    };
                    self.0.insert(Arc::clone(&open.id.node), open);
                }
            }
        }
    }

    /// Forgets members that have answered, are gone, or never expire. Returns what is due for the
    /// rest.
    fn look(&mut self, rows: &[MemberRow], now: Tick) -> Vec<Due> {
        let rows: BTreeMap<&str, _> = rows.iter().map(|row| (&*row.id.node, row)).collect();
        let mut due = Vec::new();
        self.0.retain(|name, open| {
            let Some(row) = rows.get(&**name).filter(|row| row.id == open.id) else {
                return false;
            };
            let Some(bound) = row.bound else {
                return false;
            };

            match (open.marked, row.marked) {
                (Some(since), true) => {
                    if now.since(since) >= with_drift(bound * bounds()) {
                        due.push(Due::Delete(open.id.clone()));
                    }
                }
                // Another node's mark counts from when it is seen here.
                (None, true) => open.marked = Some(now),
                (_, false) if row.answered >= open.asked => return false,
                // A mark that the engine has lost.
                (Some(_), false) => (open.marked, open.since) = (None, now),
                (None, false) => {
                    if open.answered.is_some_and(|before| before < row.answered) {
                        open.since = now;
                    }
                    open.answered = Some(row.answered);
                    if now.since(open.since) >= with_drift(bound) {
                        due.push(Due::Mark(open.id.clone()));
                    }
                }
            }

            true
        });
        due.truncate(AT_ONCE);

        due
    }

    fn forget(&mut self, id: &MemberId) {
        self.0.remove(&id.node);
    }
}

/// Returns how many of its bounds after its mark a member's row is deleted.
fn bounds() -> u32 {
    if removed(Rule::ExpiryAfterTwoBounds) {
        1
    } else {
        2
    }
}

impl Shared {
    /// Asks the members whenever that is wanted, and watches those that do not answer, until the
    /// task is dropped.
    pub(crate) async fn ask_on(self: Arc<Self>) {
        let Some(members) = self.members.clone() else {
            return;
        };

        let questions = &self.questions;
        let (mut silent, mut answered) = (Silent::default(), Round::default());
        let (mut floor, mut pace) = (Floor::default(), Pace::default());
        loop {
            let last = questions.last();
            if last == answered && silent.0.is_empty() && !questions.someone_waits() {
                questions.wanted().await;
                continue;
            }

            if last > answered {
                let at = self.clock.now();
                // The question itself lists the members, so none is missed that had joined before
                // it.
                pace.unanswered();

                if let Ok(asked) = members.demand().await {
                    pace.asked();
                    answered = last;
                    questions.answer(Answers {
                        round: last,
                        members: asked.iter().map(|(id, _)| id.clone()).collect(),
                        rows: None,
                    });
                    silent.asked(asked, at);
                    self.look.notify_one();

                    // The others would find the demand at their next poll.
                    self.log.wake(Wake::Look);
                }
            }

            let found = self.look_at_members(&*members, &mut silent).await;
            floor.read(found);
            pace.looked(found);

            let longest = self.settings.pause();
            let pause = match questions.someone_waits() {
                true => pace.pause(longest / 4),
                false => Some(longest),
            };
            let Some(pause) = pause else {
                continue;
            };
            let wanted = std::pin::pin!(questions.wanted());

            // Wake-ups come with every commit, and need not make a query each.
            let before = floor;
            let hint = std::pin::pin!(async {
                questions.hinted().await;
                before.pass(&*self.clock).await;
            });

            match select(select(wanted, hint), self.clock.sleep(pause)).await {
                Either::Left((Either::Right(_), _)) => floor.hinted(self.clock.now()),
                Either::Left((Either::Left(_), _)) | Either::Right(_) => {}
            }
        }
    }

    /// Reads the rows once, tells callers, and does what is due for silent members. Returns whether
    /// the rows say anything new.
    async fn look_at_members(&self, members: &dyn Members, silent: &mut Silent) -> Found {
        let rows = members.list().await;
        let (due, found) = match rows {
            Ok(rows) => {
                let due = silent.look(&rows, self.clock.now());
                let forgotten = self.forgotten(&rows);
                let found = self.questions.show(rows);
                // After the rows are shown, so that callers see the other members without waiting
                // for this.
                self.look_for(forgotten).await;
                (due, found)
            }
            Err(_) => {
                // Callers look at the clock, and at the epoch.
                self.questions.nudge();
                return Found::Nothing;
            }
        };
        for due in due {
            let (done, id) = match &due {
                Due::Mark(id) => (members.mark(id).await, id),
                Due::Delete(id) => (members.expire(id).await, id),
            };

            match (done, &due) {
                (Ok(true), Due::Mark(_)) => {
                    if let Some(open) = silent.0.get_mut(&id.node) {
                        open.marked = Some(self.clock.now());
                    }
                }
                // It is gone, or is no longer this node's concern: the next question finds it.
                (Ok(_), Due::Mark(_) | Due::Delete(_)) => silent.forget(id),
                (Err(error), _) => {
                    tracing::debug!(error = %Chain(&error), "a silent member's row could not be changed yet");
                }
            }
        }

        found
    }

    /// Returns the reports, while a caller waits, whose last records this node has read too long
    /// ago to remember: those members are far behind it, and may have applied what is asked for.
    fn forgotten(&self, rows: &[MemberRow]) -> Vec<Cursor> {
        if !self.questions.someone_waits() {
            return Vec::new();
        }
        let reported = rows.iter().filter_map(|row| row.reported.as_ref());
        let forgotten = reported.filter(|reported| self.trail.has_forgotten(reported));
        forgotten.cloned().collect()
    }

    /// Asks the log for the last records of reports, and makes callers look at the rows again if it
    /// holds one.
    async fn look_for(&self, reports: Vec<Cursor>) {
        for reported in reports {
            match self.log.read(&reported, 1, None).await {
                Ok(Read::Batch(_)) => {
                    self.trail.asked_for(&reported, InLog::Held);
                    self.questions.nudge();
                }
                Ok(Read::Gap(_)) => self.trail.asked_for(&reported, InLog::Missing),
                // It would not answer for the others either. The next check of the rows asks again.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::log::{Incarnation, StartId};
    use uuid::Uuid;

    use super::*;

    const BOUND: Duration = Duration::from_secs(1);

    fn id(node: &str, incarnation: u64) -> MemberId {
        MemberId {
            node: node.into(),
            start: StartId(Uuid::nil()),
            incarnation: Incarnation(incarnation),
        }
    }

    fn row(node: &str, answered: u64) -> MemberRow {
        MemberRow {
            id: id(node, 1),
            bound: Some(BOUND),
            reported: None,
            answered: Demand(answered),
            marked: false,
            facts: None,
            last: None,
        }
    }

    fn at(millis: u64) -> Tick {
        Tick(0).plus(Duration::from_millis(millis))
    }

    fn asked(node: &str, demand: u64) -> Silent {
        let mut silent = Silent::default();
        silent.asked(vec![(id(node, 1), Demand(demand))], at(0));
        silent
    }

    #[test]
    fn silence_counts_from_the_first_question_that_was_not_answered() {
        let mut silent = asked("b", 4);
        silent.asked(vec![(id("b", 1), Demand(5))], at(900));
        assert_eq!(silent.look(&[row("b", 3)], at(1_010)), []);
        let due = silent.look(&[row("b", 3)], at(1_011));
        assert_eq!(due, [Due::Mark(id("b", 1))]);

        // An answer to the first of two questions is a sign of life.
        let mut silent = asked("b", 4);
        silent.asked(vec![(id("b", 1), Demand(5))], at(900));
        assert_eq!(silent.look(&[row("b", 3)], at(950)), []);
        assert_eq!(silent.look(&[row("b", 4)], at(1_000)), []);
        assert_eq!(silent.look(&[row("b", 4)], at(2_000)), []);
        assert_eq!(silent.look(&[row("b", 4)], at(2_011)).len(), 1);
    }

    #[test]
    fn a_mark_is_seen_for_twice_the_bound_before_its_row_is_deleted() {
        let mut silent = asked("b", 1);
        let marked = MemberRow {
            marked: true,
            ..row("b", 0)
        };
        assert_eq!(silent.look(std::slice::from_ref(&marked), at(500)), []);
        assert_eq!(silent.look(std::slice::from_ref(&marked), at(2_511)), []);
        let due = silent.look(&[marked], at(2_512));
        assert_eq!(due, [Due::Delete(id("b", 1))]);
    }

    #[test]
    fn members_that_answer_join_again_leave_or_have_no_bound_are_forgotten() {
        let unbounded = MemberRow {
            bound: None,
            ..row("b", 0)
        };
        let again = MemberRow {
            id: id("b", 2),
            ..row("b", 0)
        };
        for rows in [vec![row("b", 1)], vec![again], vec![], vec![unbounded]] {
            let mut silent = asked("b", 1);
            assert_eq!(silent.look(&rows, at(60_000)), [], "{rows:?}");
            assert!(silent.0.is_empty(), "{rows:?}");
        }
    }

    #[test]
    fn no_more_members_are_watched_than_may_be() {
        let mut silent = Silent::default();
        for node in 0..WATCHED + 9 {
            silent.asked(vec![(id(&node.to_string(), 1), Demand(1))], at(0));
        }
        assert_eq!(silent.0.len(), WATCHED);
    }
}
