//! [`Questions`]: connects callers that want to know what the members have applied with the task
//! that asks them.
//!
//! A caller says so before it first waits. One question answers every caller that came before it
//! was sent, and it is sent even if all of them have left.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::log::{MemberId, MemberRow};
use tokio::sync::{Notify, futures::Notified};

use crate::floor::Found;

/// Names a question to the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Round(u64);

/// Connects callers that want to know with the task that asks.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    callers: Mutex<Callers>,
    /// Makes the task ask, or check the rows, at once.
    wanted: Notify,
    /// Makes the task check the rows as soon as its floor allows.
    hint: Notify,
    answers: Mutex<Answers>,
    /// Wakes callers in the order in which they came, which a watch channel does not.
    heard: Notify,
}

#[derive(Debug, Default)]
struct Callers {
    /// The last question that was wanted.
    last: Round,
    /// How many callers wait.
    waiting: usize,
}

/// The answers that the task has received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// The last question that the members' table has answered.
    pub(crate) round: Round,
    /// The members that it found.
    pub(crate) members: Arc<[MemberId]>,
    /// Rows, by a statement that began after that answer; `None` before.
    pub(crate) rows: Option<Arc<[MemberRow]>>,
}

/// One caller's question, as long as the caller waits.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    questions: &'a Questions,
    pub(crate) round: Round,
}

impl Questions {
    /// Asks for a question that is sent after this call. It is sent even if the caller leaves.
    pub(crate) fn ask(&self) -> Question<'_> {
        let mut callers = self.callers.lock();
        callers.last.0 += 1;
        callers.waiting += 1;
        let round = callers.last;
        drop(callers);

        self.wanted.notify_one();
        Question {
            questions: self,
            round,
        }
    }

    /// Returns the last question that was wanted.
    pub(crate) fn last(&self) -> Round {
        self.callers.lock().last
    }

    pub(crate) fn someone_waits(&self) -> bool {
        self.callers.lock().waiting > 0
    }

    /// Waits until another question is wanted.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Makes the task check the members' rows again, if a caller waits: this node has reported.
    pub(crate) fn look_again(&self) {
        if self.someone_waits() {
            self.wanted.notify_one();
        }
    }

    /// Does the same for a wake-up, which anything may have sent: another node may have reported.
    pub(crate) fn hint(&self) {
        if self.someone_waits() {
            self.hint.notify_one();
        }
    }

    /// Waits until there is a hint.
    pub(crate) async fn hinted(&self) {
        self.hint.notified().await;
    }

    /// Passes on the answer to a question.
    pub(crate) fn answer(&self, answers: Answers) {
        *self.answers.lock() = answers;
        self.nudge();
    }

    /// Shows callers the rows as they are now. Returns whether they show anything new.
    pub(crate) fn show(&self, rows: Vec<MemberRow>) -> Found {
        let mut answers = self.answers.lock();
        let says = |row: &MemberRow| (row.id.clone(), row.answered, row.reported.clone());
        let before = answers.rows.iter().flat_map(|rows| rows.iter().map(says));
        let is_news = answers.rows.is_none() || !before.eq(rows.iter().map(says));
        answers.rows = Some(rows.into());
        drop(answers);

        self.nudge();
        match is_news {
            true => Found::News,
            false => Found::Nothing,
        }
    }

    /// Makes callers check the time, although there are no rows.
    pub(crate) fn nudge(&self) {
        self.heard.notify_waiters();
    }
}

impl Question<'_> {
    /// Returns the answers so far, and a future that resolves when there are more.
    pub(crate) fn heard(&self) -> (Answers, Notified<'_>) {
        // First, or what comes in between would be missed.
        let more = self.questions.heard.notified();
        (self.questions.answers.lock().clone(), more)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.callers.lock().waiting -= 1;
    }
}
