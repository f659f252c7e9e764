//! What was written to each key and when, and which answers are impossible.
//!
//! A key has one writer, whose writes follow each other. A read may show any state that could be
//! the current one between its beginning and its end, and an earlier one only as long as its node
//! may serve that: not after a confirmed write, nor after one that was answered by the same node,
//! nor once the bound on staleness has run out since. What a lost answer leaves open stays open:
//! the key is not written to again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
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
}

/// Whether every member has confirmed a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Everywhere,
    OneNode,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    state: State,
    sent: Tick,
    /// By which node, when, and who has applied it; none if no answer came.
    answered: Option<(usize, Tick, Reach)>,
}

/// A read of a key on one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) node: usize,
    pub(super) began: Tick,
    pub(super) ended: Tick,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) struct History {
    bound: Duration,
    keys: Mutex<BTreeMap<String, Vec<Write>>>,
    violations: Mutex<(usize, Vec<String>)>,
}

impl History {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            keys: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Notes that a write is about to be sent.
    pub(super) fn sends(&self, key: &str, state: State, sent: Tick) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = keys.entry(key.to_owned()).or_default();
        if writes.len() == WRITES {
            writes.drain(..WRITES / 2);
        }
        writes.push(Write {
            state,
            sent,
            answered: None,
        });
    }

    /// Notes the answer to the last write of a key.
    pub(super) fn answered(&self, key: &str, node: usize, at: Tick, reach: Reach) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = keys.get_mut(key).and_then(|writes| writes.last_mut()) {
            last.answered = Some((node, at, reach));
        }
    }

    /// Takes the last write of a key back: it was never sent.
    pub(super) fn was_not_sent(&self, key: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writes) = keys.get_mut(key) {
            writes.pop();
        }
    }

    /// Checks a read that has ended.
    pub(super) fn read(&self, key: &str, read: Read) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = keys.get(key).map_or(&[][..], Vec::as_slice);
        if is_possible(writes, read, self.bound) {
            return;
        }
        let near = writes.len().saturating_sub(6);
        let text = format!("{key}: {read:?} after {:?}", &writes[near..]);
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
}

fn is_possible(writes: &[Write], read: Read, bound: Duration) -> bool {
    // The last write that the read must not be older than.
    let floor = writes.iter().rposition(|write| {
        write.answered.is_some_and(|(node, at, reach)| {
            let counts_from = match reach {
                Reach::Everywhere => at,
                Reach::OneNode if node == read.node => at,
                Reach::OneNode => at.plus(bound + SLACK),
            };
            counts_from <= read.began
        })
    });
    let (first, rest) = match floor {
        Some(index) => (writes[index].state, &writes[index + 1..]),
        // What was forgotten since is older than this; a key begins as an unknown one.
        None if writes.len() * 2 > WRITES => return true,
        None => (State::Absent, writes),
    };
    let later = rest.iter().filter(|write| write.sent <= read.ended);
    first == read.state || later.into_iter().any(|write| write.state == read.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Tick {
        Tick(0).plus(Duration::from_millis(millis))
    }

    /// A history in which node 0 answered "present" from 100 to 110, and "absent" from 200 to 210.
    fn history(reach: Reach) -> History {
        let history = History::new(BOUND);
        history.sends("k", State::Present, at(100));
        history.answered("k", 0, at(110), Reach::Everywhere);
        history.sends("k", State::Absent, at(200));
        history.answered("k", 0, at(210), reach);
        history
    }

    fn is_violated(history: &History, node: usize, began: u64, ended: u64, state: State) -> bool {
        let before = history.violations().0;
        let (began, ended) = (at(began), at(ended));
        history.read(
            "k",
            Read {
                node,
                began,
                ended,
                state,
            },
        );
        history.violations().0 > before
    }

    #[test]
    fn an_old_state_is_served_within_the_bound_by_other_nodes_alone() {
        let history = history(Reach::OneNode);
        let old = State::Present;
        assert!(!is_violated(&history, 0, 205, 215, old), "not answered yet");
        assert!(is_violated(&history, 0, 211, 215, old), "it answered this");
        assert!(!is_violated(&history, 1, 1_200, 1_300, old));
        assert!(is_violated(&history, 1, 1_261, 1_300, old));
        assert!(!is_violated(&history, 1, 1_261, 1_300, State::Absent));
    }

    #[test]
    fn a_confirmed_write_ends_the_old_state_everywhere() {
        let history = history(Reach::Everywhere);
        assert!(!is_violated(&history, 1, 209, 300, State::Present));
        assert!(is_violated(&history, 1, 210, 300, State::Present));
    }

    #[test]
    fn a_state_is_seen_from_when_it_was_sent_and_a_lost_answer_leaves_both() {
        let history = history(Reach::Everywhere);
        history.sends("k", State::Present, at(400));
        assert!(is_violated(&history, 2, 300, 399, State::Present));
        for state in [State::Present, State::Absent] {
            assert!(!is_violated(&history, 2, 300, 400, state));
            assert!(!is_violated(&history, 2, 90_000, 90_001, state));
        }
        history.was_not_sent("k");
        assert!(is_violated(&history, 2, 300, 500, State::Present));
    }
}
