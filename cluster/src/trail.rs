//! [`Trail`]: which records a node has read, by their ids.
//!
//! A counted log that has lost its newest records hands their numbers out again, under the same
//! epoch, until a node that misses a record reads it. Until then a number at or below a node's
//! cursor proves nothing: its record may not be the one that the node has read. The id decides: a
//! commit whose record was read is covered, whatever happens to the log; about any other one the
//! node knows only that it must look.
//!
//! It remembers a bounded number of records. A commit that is older than those costs one read of
//! the log, and is remembered from then on; so does a record that another node has reported. On a
//! log whose records have no ids an epoch hands no number out twice, and nothing is remembered.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidings_core::log::{Cursor, Epoch, Mark, Position, Step};
use uuid::Uuid;

use crate::faults::{Rule, removed};

/// How many of the records that were read last are remembered.
const READ: usize = 4_096;
/// How many commits are remembered that a read of the log has covered.
const LOOKED_FOR: usize = 1_024;
/// How many older records are remembered that the log was asked for.
const ASKED_FOR: usize = 1_024;

/// What a node has read of one epoch of a log.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None` if the log's records have no ids.
    epoch: Option<Epoch>,
    /// In the order of their numbers.
    read: VecDeque<Step>,
    /// In the order in which they were looked for.
    looked_for: VecDeque<Step>,
    /// In the order in which they were asked for.
    asked_for: VecDeque<(Step, InLog)>,
}

/// Whether the log holds a record that another node has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InLog {
    Held,
    /// It was lost or pruned, and does not come back.
    Missing,
}

/// What is known of a commit at or below a node's cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its record was read.
    Read,
    /// Another record of its number was read: the log has lost that one or this one.
    Lost,
    /// Nothing: it is older than what is remembered, or has no id.
    No,
}

/// Whether a read is applied that began after a commit was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    Yes,
    No,
}

impl Trail {
    /// Begins at a cursor that was taken at the head.
    pub(crate) fn begin(&self, head: &Cursor) {
        let mut state = self.0.lock();
        *state = State::default();
        if let Position::Numbered { last: number, id } = *head.position() {
            state.epoch = Some(head.epoch());
            state.read.push_back(Step { number, id });
        }
    }

    /// Notes what was read, before the cursor moves beyond it.
    pub(crate) fn read(&self, steps: &[Step]) {
        let mut state = self.0.lock();
        if state.epoch.is_none() {
            return;
        }
        let excess = steps.len().saturating_sub(READ);
        state.read.extend(&steps[excess..]);
        let excess = state.read.len().saturating_sub(READ);
        state.read.drain(..excess);
    }

    /// Notes that a read of the log covers a commit, and began after a caller had asked for it.
    pub(crate) fn looked_for(&self, mark: Mark) {
        let mut state = self.0.lock();
        let Some(id) = mark.id().filter(|_| state.epoch == Some(mark.epoch())) else {
            return;
        };
        let step = step(mark.number(), id);
        if !state.looked_for.contains(&step) {
            remember(&mut state.looked_for, step, LOOKED_FOR);
        }
    }

    /// Returns whether the last record of a reported cursor is older than what is remembered, and
    /// the log was not asked for it.
    pub(crate) fn has_forgotten(&self, reported: &Cursor) -> bool {
        let Position::Numbered { last: number, id } = *reported.position() else {
            return false;
        };
        let state = self.0.lock();
        let is_older = state.read.front().is_some_and(|it| number < it.number);
        state.epoch == Some(reported.epoch()) && is_older && state.answer(number, id).is_none()
    }

    /// Notes whether the log holds the last record of a reported cursor.
    pub(crate) fn asked_for(&self, reported: &Cursor, answer: InLog) {
        let mut state = self.0.lock();
        if let Position::Numbered { last, id } = *reported.position()
            && state.epoch == Some(reported.epoch())
            && state.answer(last, id).is_none()
        {
            remember(&mut state.asked_for, (step(last, id), answer), ASKED_FOR);
        }
    }

    /// Returns whether records have ids here.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.lock().epoch.is_some()
    }

    /// Returns what is known of a commit whose number this node has read.
    pub(crate) fn knows(&self, mark: Mark) -> Known {
        let state = self.0.lock();
        match state.epoch {
            _ if removed(Rule::HistoryIsChecked) => Known::Read,
            None if mark.id().is_none() => Known::Read,
            // A node that has not begun to read knows nothing.
            None => Known::No,
            Some(epoch) if epoch == mark.epoch() => state.knows(mark),
            Some(_) => Known::No,
        }
    }

    /// Returns whether another record of a commit's number was read.
    pub(crate) fn has_lost(&self, mark: Mark) -> bool {
        self.knows(mark) == Known::Lost
    }

    /// Returns whether a commit was read, or was looked for.
    pub(crate) fn covers(&self, mark: Mark) -> bool {
        match self.knows(mark) {
            Known::Read => true,
            Known::Lost | Known::No => {
                let step = mark.id().map(|id| step(mark.number(), id));
                let state = self.0.lock();
                let is_of_this_epoch = state.epoch == Some(mark.epoch());
                step.is_some_and(|step| is_of_this_epoch && state.looked_for.contains(&step))
            }
        }
    }

    /// Returns whether a commit is in the history that another node has read: the node has reported
    /// a cursor beyond it. That history is this node's too if this node has its last record, since
    /// each record exists once.
    pub(crate) fn shares(&self, reported: &Cursor, mark: Mark, looked: Looked) -> bool {
        let Position::Numbered { last, id } = *reported.position() else {
            return !self.is_kept() || removed(Rule::HistoryIsChecked);
        };
        if last == mark.number() && mark.id() == Some(id) {
            return true;
        }

        let end = Mark::new(reported.epoch(), last).with_id(id);
        let is_of_it = match self.knows(mark) {
            Known::Read => true,
            Known::Lost => false,
            Known::No => looked == Looked::Yes,
        };
        is_of_it && (self.knows(end) == Known::Read || self.is_in_log(end))
    }

    fn is_in_log(&self, mark: Mark) -> bool {
        let state = self.0.lock();
        let answer = mark.id().and_then(|id| state.answer(mark.number(), id));
        state.epoch == Some(mark.epoch()) && answer == Some(InLog::Held)
    }
}

impl State {
    fn knows(&self, mark: Mark) -> Known {
        let Some(id) = mark.id() else {
            return Known::No;
        };

        let step = step(mark.number(), id);
        let at = self
            .read
            .binary_search_by_key(&step.number, |step| step.number);

        match at {
            Ok(at) if self.read.get(at) == Some(&step) => Known::Read,
            Ok(_) => Known::Lost,
            Err(_) => Known::No,
        }
    }

    /// Returns what the log has said of a record that it was asked for.
    fn answer(&self, number: u64, id: Uuid) -> Option<InLog> {
        let step = step(number, id);
        let mut answers = self.asked_for.iter();
        answers.find_map(|(of, answer)| (*of == step).then_some(*answer))
    }
}

/// Adds an entry; at the bound it replaces the oldest one.
fn remember<T>(entries: &mut VecDeque<T>, entry: T, most: usize) {
    if entries.len() == most {
        entries.pop_front();
    }
    entries.push_back(entry);
}

fn step(number: u64, id: Uuid) -> Step {
    Step { number, id }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(number: u64) -> Epoch {
        Epoch::new(number, Uuid::nil())
    }

    fn step(number: u64, id: u64) -> Step {
        super::step(number, Uuid::from_u128(id.into()))
    }

    fn mark(step: Step) -> Mark {
        Mark::new(epoch(1), step.number).with_id(step.id)
    }

    fn cursor(step: Step) -> Cursor {
        Cursor::numbered(epoch(1), step.number, step.id)
    }

    #[test]
    fn a_commit_is_known_by_the_record_that_was_read_and_by_no_other_of_its_number() {
        let trail = Trail::default();
        trail.begin(&cursor(step(5, 5)));
        trail.read(&[step(6, 6), step(7, 7)]);
        assert_eq!(trail.knows(mark(step(6, 6))), Known::Read);
        assert_eq!(trail.knows(mark(step(5, 5))), Known::Read);
        assert_eq!(trail.knows(mark(step(6, 60))), Known::Lost);
        assert_eq!(trail.knows(mark(step(4, 4))), Known::No);
        assert_eq!(trail.knows(Mark::new(epoch(1), 6)), Known::No);
        assert_eq!(trail.knows(Mark::new(epoch(2), 6)), Known::No);
    }

    #[test]
    fn a_commit_that_was_looked_for_is_known_until_the_next_epoch() {
        let trail = Trail::default();
        trail.begin(&cursor(step(5, 5)));
        for old in [step(2, 2), step(2, 2), step(5, 50)] {
            trail.looked_for(mark(old));
            assert!(trail.covers(mark(old)));
        }
        assert_eq!(trail.knows(mark(step(5, 50))), Known::Lost, "nonetheless");
        trail.begin(&Cursor::numbered(epoch(2), 9, Uuid::nil()));
        assert!(!trail.covers(mark(step(2, 2))));
        trail.looked_for(mark(step(2, 2)));
        assert!(!trail.covers(mark(step(2, 2))));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let trail = Trail::default();
        trail.begin(&cursor(step(0, 0)));
        let most = READ as u64;
        let steps: Vec<_> = (1..=2 * most).map(|it| step(it, it)).collect();
        trail.read(&steps[..10]);
        trail.read(&steps[10..]);
        assert_eq!(trail.knows(mark(step(most, most))), Known::No);
        assert_eq!(trail.knows(mark(step(most + 1, most + 1))), Known::Read);
        for number in 0..=LOOKED_FOR as u64 {
            trail.looked_for(mark(step(number, 1)));
        }
        assert!(!trail.covers(mark(step(0, 1))));
        assert!(trail.covers(mark(step(1, 1))));
        let state = trail.0.lock();
        assert_eq!(
            (state.read.len(), state.looked_for.len()),
            (READ, LOOKED_FOR)
        );
    }

    #[test]
    fn a_report_counts_if_its_last_record_and_the_commit_were_read_here() {
        let trail = Trail::default();
        trail.begin(&cursor(step(5, 5)));
        trail.read(&[step(6, 6), step(7, 7)]);
        let shares = |reported, of| trail.shares(&cursor(reported), mark(of), Looked::No);
        assert!(shares(step(7, 7), step(6, 6)));
        assert!(!shares(step(7, 70), step(6, 6)), "it has read another");
        assert!(!shares(step(7, 7), step(6, 60)), "this node has");
        assert!(!shares(step(8, 8), step(6, 6)), "it is not known here yet");
        assert!(shares(step(9, 9), step(9, 9)), "the commit itself");
        let older = |looked| trail.shares(&cursor(step(7, 7)), mark(step(2, 2)), looked);
        assert!(!older(Looked::No) && older(Looked::Yes));
        let counted = Cursor::counted(epoch(1), 7);
        assert!(!trail.shares(&counted, mark(step(6, 6)), Looked::Yes));
    }

    #[test]
    fn a_report_that_is_older_than_what_is_remembered_counts_if_the_log_holds_it() {
        let trail = Trail::default();
        trail.begin(&cursor(step(5, 5)));
        let of = |reported| trail.shares(&cursor(reported), mark(step(2, 2)), Looked::Yes);
        for number in 0..=ASKED_FOR as u64 {
            assert!(!of(step(4, number)) && trail.has_forgotten(&cursor(step(4, number))));
            trail.asked_for(&cursor(step(4, number)), InLog::Held);
            assert!(of(step(4, number)) && !trail.has_forgotten(&cursor(step(4, number))));
        }
        assert!(
            !of(step(4, 0)) && of(step(4, 1)),
            "what is remembered is bounded"
        );
        assert!(
            !trail.has_forgotten(&cursor(step(5, 50))),
            "it has read another"
        );
        assert!(!trail.has_forgotten(&Cursor::counted(epoch(1), 4)));

        let missing = cursor(step(3, 3));
        trail.asked_for(&missing, InLog::Missing);
        assert!(!trail.has_forgotten(&missing), "it is asked for once");
        assert!(!of(step(3, 3)));

        let later = Cursor::numbered(epoch(2), 4, Uuid::from_u128(1));
        assert!(!trail.has_forgotten(&later));
        trail.asked_for(&later, InLog::Held);
        trail.begin(&Cursor::numbered(epoch(2), 9, Uuid::nil()));
        assert!(trail.has_forgotten(&later));
        assert!(trail.has_forgotten(&Cursor::numbered(epoch(2), 4, Uuid::from_u128(9))));
    }

    #[test]
    fn a_node_that_has_not_begun_to_read_knows_of_no_commit() {
        let trail = Trail::default();
        assert_eq!(trail.knows(mark(step(1, 1))), Known::No);
        for looked in [Looked::No, Looked::Yes] {
            assert!(!trail.shares(&cursor(step(2, 20)), mark(step(1, 1)), looked));
        }
    }

    #[test]
    fn a_log_without_ids_is_taken_at_its_word() {
        let trail = Trail::default();
        let head = Cursor::counted(epoch(1), 5);
        trail.begin(&head);
        trail.read(&[]);
        assert_eq!(trail.knows(Mark::new(epoch(1), 3)), Known::Read);
        assert!(trail.shares(&head, Mark::new(epoch(1), 3), Looked::No));
    }
}
