//! Receipts: whether every member has applied a commit, or must have stopped serving values from
//! before it.
//!
//! A task of its own asks the members and lets silent ones expire (`asking.rs`), whether or not a
//! caller still waits. A member without a bound is named until it comes back, leaves, or is
//! removed.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    clock::Tick,
    log::{Cursor, Mark, MemberId, MemberRow},
};

use super::{asking::with_drift, shared::Shared};
use crate::{reached::Pass, trail::Looked};

/// Every member has applied a commit, or must have stopped serving values from before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The members that have applied it: evicted, and their handlers have run.
    pub applied: Vec<MemberId>,
    /// The members that were silent until their bound had passed.
    pub run_out: Vec<MemberId>,
    /// The members that left, were removed, or joined again since.
    pub gone: Vec<MemberId>,
}

/// Some members may still serve values from before a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not confirmed by {}", names(.silent))]
#[non_exhaustive]
pub struct Unconfirmed {
    /// The members, each with a reason.
    pub silent: Vec<Silent>,
    /// The number of members that were asked; at least one.
    pub asked: usize,
}

impl Unconfirmed {
    /// Makes the answer of a node that has no others to ask.
    #[must_use]
    pub fn alone(node: Arc<str>, reason: Silence) -> Self {
        Self {
            silent: vec![Silent { node, reason }],
            asked: 1,
        }
    }
}

/// A member that did not confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Its name.
    pub node: Arc<str>,
    /// Why it did not.
    pub reason: Silence,
}

/// Why a member did not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It has not reported in time.
    Late,
    /// The log began another epoch, so the commit itself may be lost.
    Epoch,
    /// The members could not be asked.
    Unreachable,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "late",
            Self::Epoch => "epoch",
            Self::Unreachable => "unreachable",
        })
    }
}

fn names(silent: &[Silent]) -> String {
    let names = silent
        .iter()
        .map(|silent| format!("{} ({})", silent.node, silent.reason));
    names.collect::<Vec<_>>().join(", ")
}

/// What is known of one member while a receipt waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Applied,
    RunOut,
    Gone,
    Open,
}

/// What a caller wants to know.
#[derive(Clone, Copy, Debug)]
struct Asked {
    mark: Mark,
    since: Tick,
    looked: Looked,
}

impl Shared {
    /// Waits until every member has applied a commit or has run out of its bound. Call it once the
    /// commit has been acknowledged.
    pub(crate) async fn confirm(
        self: &Arc<Self>,
        mark: Mark,
        timeout: Duration,
    ) -> Result<Confirmed, Unconfirmed> {
        if self.members.is_none() {
            return self.confirm_alone(mark, timeout).await;
        }
        let since = self.clock.now();
        let until = since.plus(timeout);
        let last = self.passes.last();
        // Before anything is awaited: the question goes on without its caller.
        let question = self.questions.ask();

        let mut over = self.clock.sleep(timeout);
        let mut confirmed = Confirmed::default();
        let mut asked: Option<Arc<[MemberId]>> = None;
        let mut open = Vec::new();
        loop {
            let (answers, more) = question.heard();
            let further = self.further();
            let looked = self.looked_since(last);
            if answers.round >= question.round {
                let members = asked.get_or_insert_with(|| {
                    open = answers.members.to_vec();
                    Arc::clone(&answers.members)
                });
                let count = members.len();

                // Before the answers: an epoch that has ended may have taken the commit along.
                if self.is_over(mark) || self.is_lost(mark, looked) {
                    return Err(self.unconfirmed(&[], count, Silence::Epoch));
                }
                if let Some(rows) = &answers.rows {
                    let asked = Asked {
                        mark,
                        since,
                        looked,
                    };
                    self.close(rows, asked, &mut open, &mut confirmed);
                    if open.is_empty() {
                        return Ok(confirmed);
                    }
                }

                if self.clock.now() >= until {
                    return Err(self.unconfirmed(&open, count, Silence::Late));
                }
            } else if self.clock.now() >= until {
                return Err(self.unconfirmed(&[], 1, Silence::Unreachable));
            }

            let (more, further) = (std::pin::pin!(more), std::pin::pin!(further));
            match select(select(more, further), &mut over).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    /// Takes out of the open members those that need not be waited for any more.
    fn close(
        &self,
        rows: &[MemberRow],
        asked: Asked,
        open: &mut Vec<MemberId>,
        confirmed: &mut Confirmed,
    ) {
        let now = self.clock.now();
        open.retain(|id| {
            let row = rows.iter().find(|row| row.id == *id);
            let shares = |reported: &Cursor| {
                let Asked { mark, looked, .. } = asked;
                reported.covers(mark) && self.trail.shares(reported, mark, looked)
            };
            let list = match answer(row, shares, asked.since, now) {
                Answer::Open => return true,
                Answer::Applied => &mut confirmed.applied,
                Answer::RunOut => &mut confirmed.run_out,
                Answer::Gone => &mut confirmed.gone,
            };
            list.push(id.clone());

            false
        });
    }

    /// Waits until this node has applied a commit: no one else counts.
    async fn confirm_alone(&self, mark: Mark, timeout: Duration) -> Result<Confirmed, Unconfirmed> {
        let alone = |reason| Err(Unconfirmed::alone(Arc::clone(&self.node), reason));
        let asked = self.passes.last();
        self.look.notify_one();

        let applied = std::pin::pin!(self.until_reached(mark, asked));
        match select(applied, self.clock.sleep(timeout)).await {
            // An epoch that has ended may have taken the commit along.
            Either::Left(_) if self.is_over(mark) => alone(Silence::Epoch),
            Either::Left(_) if self.is_lost(mark, Looked::Yes) => alone(Silence::Epoch),
            Either::Left(_) => Ok(Confirmed::default()),
            Either::Right(_) => alone(Silence::Late),
        }
    }

    fn unconfirmed(&self, open: &[MemberId], asked: usize, reason: Silence) -> Unconfirmed {
        let silent = |node: &Arc<str>| Silent {
            node: Arc::clone(node),
            reason,
        };
        let mut silent: Vec<_> = open.iter().map(|id| silent(&id.node)).collect();
        if silent.is_empty() {
            silent.push(Silent {
                node: Arc::clone(&self.node),
                reason,
            });
        }

        Unconfirmed {
            silent,
            asked: asked.max(1),
        }
    }

    /// Waits until this node has read further than now: what a member has reported may be known by
    /// then.
    fn further(&self) -> impl Future<Output = ()> + '_ {
        let now = self.trail.is_kept().then(|| self.seen.get());
        async move {
            match now {
                Some(now) => drop(self.seen.until(|seen| now.as_ref() != Some(seen)).await),
                None => std::future::pending().await,
            }
        }
    }

    fn looked_since(&self, last: Pass) -> Looked {
        match self.passes.is_later(last) {
            true => Looked::Yes,
            false => Looked::No,
        }
    }

    /// Returns whether the log has another record in the commit's place, although this node has
    /// read the log since it was asked.
    fn is_lost(&self, mark: Mark, looked: Looked) -> bool {
        looked == Looked::Yes && self.has_passed(mark) && self.trail.has_lost(mark)
    }

    /// Returns whether the epoch of a commit has ended, as far as this node knows. A later one may
    /// be known to another node first.
    fn is_over(&self, mark: Mark) -> bool {
        self.seen.is(|seen| {
            let (now, then) = (seen.epoch(), mark.epoch());
            now != then && then.number <= now.number
        })
    }
}

/// Returns what is known of a member, by whether a report of it covers the commit.
fn answer(
    row: Option<&MemberRow>,
    covers: impl FnOnce(&Cursor) -> bool,
    since: Tick,
    now: Tick,
) -> Answer {
    let Some(row) = row else {
        return Answer::Gone;
    };
    if row.reported.as_ref().is_some_and(covers) {
        return Answer::Applied;
    }

    match row.bound {
        Some(bound) if now.since(since) >= with_drift(bound) => Answer::RunOut,
        Some(_) | None => Answer::Open,
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::log::{Demand, Incarnation, StartId};
    use uuid::Uuid;

    use super::*;

    /// A clock that runs faster than the member's is no reason to give it up.
    #[test]
    fn a_member_has_stopped_serving_once_its_bound_and_the_drift_have_passed() {
        let bound = Duration::from_secs(10);
        let row = |bound| MemberRow {
            id: MemberId {
                node: "b".into(),
                start: StartId(Uuid::nil()),
                incarnation: Incarnation(1),
            },
            bound,
            reported: None,
            answered: Demand(0),
            marked: false,
            facts: None,
            last: None,
        };
        let since = Tick(1_000);
        let covers = |_: &Cursor| false;
        let answer = |bound, after| answer(Some(&row(bound)), covers, since, since.plus(after));
        let drift = Duration::from_millis(20);
        let moment = Duration::from_nanos(1);
        assert_eq!(answer(Some(bound), bound + drift - moment), Answer::Open);
        assert_eq!(answer(Some(bound), bound + drift), Answer::RunOut);
        assert_eq!(answer(None, bound * 1_000), Answer::Open);
    }
}
