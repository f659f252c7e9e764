//! What was written to each key and when, and which answers are impossible.
//!
//! A key has one writer, whose writes follow each other. A read may show any state that could be
//! the current one between its beginning and its end, and an earlier one only as long as its node
//! may serve that: not after a confirmed write, nor after one that was answered by the same node,
//! nor after one whose position the read has named, nor once the bound on staleness has run out
//! since. What a lost answer leaves open stays open: the key is not written to again.
//!
//! A database that was told not to wait for the disk may lose in a crash what it had acknowledged
//! shortly before, and one that was put back what it had acknowledged since. What it
//! [has then](History::came_back) counts as written by no node at that moment: what was lost may be
//! served for the bound from then on, and no longer. At no other moment may anything be lost. Until
//! it is known what the database has, reads wait for their judgement.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings::clock::Tick;

/// Clocks of one machine, read by two processes.
pub(super) const SLACK: Duration = Duration::from_millis(50);

/// How many writes of a key are remembered; later reads need none that is older.
const WRITES: usize = 512;

/// How many violations are described.
const DESCRIBED: usize = 20;

/// Whether a key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Present,
    Absent,
}

impl State {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Present => Self::Absent,
            Self::Absent => Self::Present,
        }
    }

    pub(super) fn of(key: &str, there: &BTreeSet<String>) -> Self {
        match there.contains(key) {
            true => Self::Present,
            false => Self::Absent,
        }
    }
}

/// Whether every member has confirmed a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Everywhere,
    OneNode,
}

/// What names a write on every node.
#[derive(Clone)]
pub(super) struct Position(pub(super) Arc<str>);

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// An answer to a write.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The node; `None` if the database itself was asked.
    pub(super) by: Option<usize>,
    pub(super) at: Tick,
    pub(super) reach: Reach,
    pub(super) position: Option<Position>,
}

#[derive(Clone, Debug)]
struct Write {
    state: State,
    sent: Tick,
    /// `None` if no answer came.
    answered: Option<Answer>,
}

/// A read of a key on one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) node: usize,
    pub(super) began: Tick,
    pub(super) ended: Tick,
    pub(super) state: State,
    /// When the write was sent that it asked for nothing older than.
    pub(super) after: Option<Tick>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its last write was answered, or it was never written.
    State(State),
    /// The answer to its last write was lost.
    Open,
}

#[derive(Debug)]
pub(super) struct History {
    bound: Duration,
    keys: Mutex<BTreeMap<String, Vec<Write>>>,
    /// Reads that are judged once it is known what the database has; `None` while it is known.
    waiting: Mutex<Option<Vec<(String, Read)>>>,
    violations: Mutex<(usize, Vec<String>)>,
}

impl History {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            keys: Mutex::default(),
            waiting: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Notes that a write is about to be sent.
    pub(super) fn sends(&self, key: &str, state: State, sent: Tick) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = keys.entry(key.to_owned()).or_default();
        note(writes, state, sent, None);
    }

    /// Notes the answer to the last write of a key.
    pub(super) fn answered(&self, key: &str, answer: Answer) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = keys.get_mut(key).and_then(|writes| writes.last_mut()) {
            last.answered = Some(answer);
        }
    }

    /// Takes the last write of a key back: it was never sent.
    pub(super) fn was_not_sent(&self, key: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writes) = keys.get_mut(key) {
            writes.pop();
        }
    }

    /// Notes that a database is about to lose what it has acknowledged, until it
    /// [has come back](Self::came_back).
    pub(super) fn may_lose(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get_or_insert_default();
    }

    /// Notes what a database has that may have lost what it had acknowledged since `since`, from
    /// some moment between `from` and `at` on. To be called while no one writes. Returns how many
    /// keys have lost a write.
    pub(super) fn came_back(
        &self,
        there: &BTreeSet<String>,
        since: Tick,
        (from, at): (Tick, Tick),
    ) -> usize {
        let mut lost = 0;
        let mut violations = Vec::new();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, writes) in &mut *keys {
            let Some(Write {
                answered, state, ..
            }) = writes.last()
            else {
                continue;
            };
            if answered.is_none() {
                may_have_lost(writes, since, from);
                continue;
            }
            let last = *state;
            let state = State::of(key, there);
            if !is_held(writes, state, since) {
                violations.push(format!(
                    "{key}: {state:?} in the database at {at:?} after {:?}, where nothing from before {since:?} can be lost",
                    latest(writes)
                ));
            }
            if state != last {
                lost += 1;
                let found = Answer {
                    by: None,
                    at,
                    reach: Reach::OneNode,
                    position: None,
                };
                note(writes, state, from, Some(found));
            }
        }
        drop(keys);
        violations.into_iter().for_each(|text| self.violated(text));

        let waiting = self.waiting.lock();
        let waited = waiting.unwrap_or_else(PoisonError::into_inner).take();
        for (key, read) in waited.into_iter().flatten() {
            self.judge(&key, read);
        }
        lost
    }

    /// Checks that a database has lost nothing that it has acknowledged.
    pub(super) fn is_whole(&self, there: &BTreeSet<String>, now: Tick) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |(key, writes): (&String, &Vec<Write>)| {
            let state = State::of(key, there);
            let text = || {
                format!(
                    "{key}: {state:?} in the database after {:?}",
                    latest(writes)
                )
            };
            (!is_held(writes, state, now)).then(text)
        };
        let violations: Vec<_> = keys.iter().filter_map(wrong).collect();
        drop(keys);
        violations.into_iter().for_each(|text| self.violated(text));
    }

    /// Checks a read that has ended, or keeps it until it can be checked.
    pub(super) fn read(&self, key: &str, read: Read) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(waiting) => waiting.push((key.to_owned(), read)),
            None => {
                drop(waiting);
                self.judge(key, read);
            }
        }
    }

    fn judge(&self, key: &str, read: Read) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = keys.get(key).map_or(&[][..], Vec::as_slice);
        if is_possible(writes, read, self.bound) {
            return;
        }
        let text = format!("{key}: {read:?} after {:?}", latest(writes));
        drop(keys);
        self.violated(text);
    }

    pub(super) fn violated(&self, text: String) {
        let mut violations = self
            .violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        violations.0 += 1;
        if violations.1.len() < DESCRIBED {
            violations.1.push(text);
        }
    }

    /// How many violations there were, and the first of them.
    pub(super) fn violations(&self) -> (usize, Vec<String>) {
        let violations = self.violations.lock();
        violations.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every key that was ever written.
    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.keys().cloned().collect()
    }

    pub(super) fn known(&self, key: &str) -> Known {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(key).and_then(|writes| writes.last()) {
            None => Known::State(State::Absent),
            Some(last) if last.answered.is_some() => Known::State(last.state),
            Some(_) => Known::Open,
        }
    }

    /// What names the newest write of a key that has a position, and when it was sent.
    pub(super) fn position(&self, key: &str) -> Option<(Position, Tick)> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |write: &Write| {
            let answer = write.answered.as_ref()?;
            Some((answer.position.clone()?, write.sent))
        };
        keys.get(key)?.iter().rev().find_map(named)
    }
}

/// Notes that a database may have lost the last answered write, if a later one was not answered:
/// what it has now says nothing about the loss, since it may be due to either write. From then on
/// both states stay possible, as they do from the later write on.
fn may_have_lost(writes: &mut Vec<Write>, since: Tick, from: Tick) {
    let later = writes.len() - 1;
    let Some(before) = writes[..later].last().map(|last| last.state.other()) else {
        return;
    };
    if is_held(&writes[..later], before, since) {
        let found = Write {
            state: before,
            sent: from,
            answered: None,
        };
        writes.insert(later, found);
    }
}

fn note(writes: &mut Vec<Write>, state: State, sent: Tick, answered: Option<Answer>) {
    if writes.len() == WRITES {
        writes.drain(..WRITES / 2);
    }
    writes.push(Write {
        state,
        sent,
        answered,
    });
}

/// The writes that a violation shows.
fn latest(writes: &[Write]) -> &[Write] {
    &writes[writes.len().saturating_sub(6)..]
}

/// Whether a database may have a state that has kept what was acknowledged up to a moment.
fn is_held(writes: &[Write], state: State, until: Tick) -> bool {
    let answered = |write: &Write| write.answered.as_ref().is_some_and(|it| it.at <= until);
    is_at_or_after(writes, writes.iter().rposition(answered), state, |_| true)
}

fn is_possible(writes: &[Write], read: Read, bound: Duration) -> bool {
    // The last write that the read must not be older than.
    let floor = writes.iter().rposition(|write| {
        let binds = write.answered.as_ref().is_some_and(|answer| {
            let counts_from = match answer.reach {
                Reach::Everywhere => answer.at,
                Reach::OneNode if answer.by == Some(read.node) => answer.at,
                Reach::OneNode => answer.at.plus(bound + SLACK),
            };
            counts_from <= read.began
        });
        binds || read.after == Some(write.sent)
    });
    is_at_or_after(writes, floor, read.state, |write| write.sent <= read.ended)
}

/// Whether a state is that of a write, or of a later one that could be seen.
fn is_at_or_after(
    writes: &[Write],
    floor: Option<usize>,
    state: State,
    could_be_seen: impl Fn(&Write) -> bool,
) -> bool {
    let (first, rest) = match floor {
        Some(index) => (writes[index].state, &writes[index + 1..]),
        // What was forgotten since is older than this; a key begins as an unknown one.
        None if writes.len() * 2 > WRITES => return true,
        None => (State::Absent, writes),
    };
    let mut later = rest.iter().filter(|write| could_be_seen(write));
    first == state || later.any(|write| write.state == state)
}

#[cfg(test)]
mod tests;
