//! Receipts: whether every member has applied a commit, or must have stopped serving what was
//! before it.
//!
//! A member that is silent for longer than its bound is marked, whether or not a caller still
//! waits; after twice the bound its row is deleted, and it is not counted any more. Twice, because
//! a load that begins within the bound of the member's last sight of its own row may be served for
//! another bound. A member without a bound is named until it comes back, leaves, or is removed.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{
    Chain,
    clock::Tick,
    log::{Mark, MemberId, MemberRow},
};

use super::shared::Shared;
use crate::faults::{Rule, removed};

/// Every member has applied a commit, or must have stopped serving what was before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The members that have applied it: evicted, and their handlers have run.
    pub applied: Vec<MemberId>,
    /// The members that were silent until their bound had run out.
    pub run_out: Vec<MemberId>,
    /// The members that left, were removed, or joined again since.
    pub gone: Vec<MemberId>,
}

/// Some members may still serve what was before a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not confirmed by {}", names(.silent))]
#[non_exhaustive]
pub struct Unconfirmed {
    /// The members, each with a reason.
    pub silent: Vec<Silent>,
    /// How many members were asked; at least one.
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

/// How long something lasts at most on this node's clock that lasts a time on another's.
fn with_drift(time: Duration) -> Duration {
    time + time / 1_000 + Duration::from_millis(10)
}

/// What is known of one member while a receipt waits.
enum Answer {
    Applied,
    RunOut,
    Gone,
    Open,
}

impl Shared {
    /// Waits until every member has applied a commit or has run out of its bound. To be called once
    /// the commit was acknowledged.
    pub(crate) async fn confirm(
        self: &Arc<Self>,
        mark: Mark,
        timeout: Duration,
    ) -> Result<Confirmed, Unconfirmed> {
        let Some(members) = &self.members else {
            return self.confirm_alone(mark, timeout).await;
        };
        let since = self.clock.now();
        let until = since.plus(timeout);
        // The question itself lists the members, so none is missed that had joined before it.
        let mut open = loop {
            match members.demand().await {
                Ok(asked) => break asked.into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
                Err(_) if self.clock.now() >= until => {
                    return Err(self.unconfirmed(&[], 1, Silence::Unreachable));
                }
                Err(_) => self.clock.sleep(self.settings.pause()).await,
            }
        };
        self.look.notify_one();
        let asked = open.len();

        let mut confirmed = Confirmed::default();
        loop {
            if let Ok(rows) = members.list().await {
                let now = self.clock.now();
                open.retain(|id| {
                    let row = rows.iter().find(|row| row.id == *id);
                    let list = match answer(row, mark, since, now) {
                        Answer::Open => return true,
                        Answer::Applied => &mut confirmed.applied,
                        Answer::RunOut => &mut confirmed.run_out,
                        Answer::Gone => &mut confirmed.gone,
                    };
                    list.push(id.clone());
                    false
                });
            }
            if open.is_empty() {
                for id in &confirmed.run_out {
                    self.give_up(id.clone());
                }
                return Ok(confirmed);
            }
            if self.is_over(mark) {
                return Err(self.unconfirmed(&[], asked, Silence::Epoch));
            }
            if self.clock.now() >= until {
                // Its bound runs on without a caller.
                self.watch(open.clone(), mark, since);
                return Err(self.unconfirmed(&open, asked, Silence::Late));
            }
            self.clock.sleep(self.settings.pause() / 4).await;
        }
    }

    /// Waits until this node has applied a commit: no one else counts.
    async fn confirm_alone(&self, mark: Mark, timeout: Duration) -> Result<Confirmed, Unconfirmed> {
        let alone = |reason| Err(Unconfirmed::alone(Arc::clone(&self.node), reason));
        self.look.notify_one();
        let applied = std::pin::pin!(self.until_reached(mark));
        match select(applied, self.clock.sleep(timeout)).await {
            // An epoch that has ended may have taken the commit along.
            Either::Left(_) if self.is_over(mark) => alone(Silence::Epoch),
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

    /// Whether the epoch of a commit has ended, as far as this node knows.
    fn is_over(&self, mark: Mark) -> bool {
        let seen = self.seen.borrow();
        seen.as_ref()
            .is_some_and(|seen| seen.epoch() != mark.epoch())
    }

    /// Goes on waiting for members after a receipt's caller has gone, and gives up those whose
    /// bound runs out.
    fn watch(self: &Arc<Self>, mut open: Vec<MemberId>, mark: Mark, since: Tick) {
        let shared = Arc::clone(self);
        let watch = async move {
            let Some(members) = shared.members.clone() else {
                return;
            };
            while !open.is_empty() && !shared.is_over(mark) {
                shared.clock.sleep(shared.settings.pause()).await;
                let Ok(rows) = members.list().await else {
                    continue;
                };
                let now = shared.clock.now();
                open.retain(|id| {
                    let row = rows.iter().find(|row| row.id == *id);
                    match answer(row, mark, since, now) {
                        // Nothing runs out for a member without a bound.
                        Answer::Open => row.is_some_and(|row| row.bound.is_some()),
                        Answer::Applied | Answer::Gone => false,
                        Answer::RunOut => {
                            shared.give_up(id.clone());
                            false
                        }
                    }
                });
            }
        };
        drop(self.spawn.spawn(Box::pin(watch)));
    }

    /// Marks a member that was silent for longer than its bound, and deletes its row once it cannot
    /// serve anything old any more.
    fn give_up(self: &Arc<Self>, id: MemberId) {
        let shared = Arc::clone(self);
        let expire = async move {
            let Some(members) = shared.members.clone() else {
                return;
            };
            let row = match members.list().await {
                Ok(rows) => rows.into_iter().find(|row| row.id == id),
                Err(_) => return,
            };
            let Some(bound) = row.and_then(|row| row.bound) else {
                return;
            };
            match members.mark(&id).await {
                Ok(true) => {}
                // It is gone, or cannot be marked now: the next receipt finds it again.
                Ok(false) | Err(_) => return,
            }

            let bounds = if removed(Rule::ExpiryAfterTwoBounds) {
                1
            } else {
                2
            };
            let wait = with_drift(bound * bounds);
            shared.clock.sleep(wait).await;
            if let Err(error) = members.expire(&id).await {
                tracing::debug!(error = %Chain(&error), "a silent member's row could not be deleted");
            }
        };
        drop(self.spawn.spawn(Box::pin(expire)));
    }
}

fn answer(row: Option<&MemberRow>, mark: Mark, since: Tick, now: Tick) -> Answer {
    let Some(row) = row else {
        return Answer::Gone;
    };
    let applied = row.reported.as_ref();
    if applied.is_some_and(|cursor| cursor.covers(mark)) {
        return Answer::Applied;
    }
    match row.bound {
        Some(bound) if now.since(since) >= with_drift(bound) => Answer::RunOut,
        Some(_) | None => Answer::Open,
    }
}
