//! [`Plan`]: what a seed does, and when.

use std::time::Duration;

use tidings_core::entropy::{Entropy, SeededEntropy};

use super::entity::{NAMES, ROWS};
use crate::kit::model::{Durability, Form};

/// How long the steps of a plan take at most, in the world's time.
pub(super) const LENGTH: Duration = Duration::from_millis(2_000);

/// Everything that follows from a seed, except the order of the tasks.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What stays the same for the whole run.
    pub profile: Profile,
    /// What is done, each at a time since the beginning.
    pub steps: Vec<(Duration, Step)>,
}

/// What stays the same for a whole run.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The seed.
    pub seed: u64,
    /// The form of the log.
    pub form: Form,
    /// For each node how long it serves entries without a proof, if there is a bound.
    pub bounds: Vec<Option<Duration>>,
    /// For each node whether its writes wait for its handlers.
    pub waits: Vec<Waits>,
    /// How many records a read returns.
    pub page: usize,
    /// How many changes wait for their handlers.
    pub queue: usize,
    /// How many questions in a hundred are lost, or their answers.
    pub loss: u64,
    /// How many wake-ups in a hundred are lost.
    pub wake_loss: u64,
    /// The longest ordinary delay of a message.
    pub delay: Duration,
    /// How often each node reads some key.
    pub reads: Duration,
    /// How often a node that nothing wakes reads the log.
    pub poll: Duration,
}

/// Whether a node's writes wait for its handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// They do: a handler could evict more than the write knows of.
    ForHandlers,
    /// They do not, as on a node without handlers.
    ForNothing,
}

/// One thing that is done.
#[derive(Clone, Debug)]
pub enum Step {
    /// A transaction.
    Write(Write),
    /// A node is not scheduled for a while.
    Pause(usize, Duration),
    /// A node's links are cut, then its process ends; it is started again after a while.
    Kill(usize, Duration),
    /// A node reaches no one over some of its links for a while.
    Cut(usize, Wire, Duration),
    /// A node's handlers are slow for a while.
    SlowHandlers(usize, Duration),
    /// The store loses what was not safe.
    Crash,
    /// The store is silently put back to what was safe.
    PutBack,
    /// The log begins another epoch.
    Promote,
    /// The log forgets what a reader at the head does not need.
    Prune,
}

/// A transaction.
#[derive(Clone, Debug)]
pub struct Write {
    /// The node; `None` if another program writes.
    pub node: Option<usize>,
    /// What it changes.
    pub rows: Vec<RowWrite>,
    /// Whether its commit is safe when it is acknowledged.
    pub durability: Durability,
    /// How long it stays open before it commits.
    pub open: Duration,
    /// What happens to the commit on its way.
    pub commit: CommitFate,
    /// Whether its records lack the field of a key.
    pub lacking: bool,
    /// What follows it.
    pub then: Then,
}

/// What a transaction does with one row.
#[derive(Clone, Copy, Debug)]
pub enum RowWrite {
    /// Writes a row with a name.
    Put(i64, usize),
    /// Deletes a row.
    Delete(i64),
    /// Deletes all rows.
    Truncate,
}

/// What happens to a commit on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFate {
    /// It is sent and answered.
    Ordinary,
    /// It arrives this much later, when its sender has long given up.
    Late(Duration),
}

/// What follows a write of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// Its receipt is awaited.
    Confirm,
    /// Another node is asked for nothing older.
    Token(usize),
}

/// Some of a node's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// That of the tail.
    Log,
    /// Those of loads, writes and members.
    Pool,
    /// All of them.
    All,
}

struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn percent(&self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn of<T: Copy, const N: usize>(&self, choices: [T; N]) -> T {
        choices[self.below(N as u64) as usize]
    }

    fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

impl Plan {
    /// Makes the plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let dice = Dice(SeededEntropy::new(seed ^ 0x7469_6469_6e67_7321));
        let nodes = 2 + dice.below(2) as usize;
        let bound = || (!dice.percent(30)).then(|| dice.millis(100, 300));
        let calm = dice.percent(40);
        let profile = Profile {
            seed,
            form: dice.of([Form::Counted, Form::Snapshot]),
            bounds: (0..nodes).map(|_| bound()).collect(),
            waits: (0..nodes)
                .map(|_| dice.of([Waits::ForHandlers, Waits::ForNothing]))
                .collect(),
            page: dice.of([1, 2, 3, 50]),
            queue: dice.of([1, 4, 50]),
            loss: if calm { 0 } else { dice.below(8) },
            wake_loss: dice.below(60),
            delay: dice.of([1, 3, 10]) * Duration::from_millis(1),
            reads: dice.millis(30, 90),
            poll: Duration::from_millis(40),
        };

        let count = 8 + dice.below(22);
        let length = LENGTH.as_micros() as u64;
        let mut steps: Vec<_> = (0..count)
            .map(|_| {
                let at = Duration::from_micros(dice.below(length));
                (at, step(&dice, nodes))
            })
            .collect();
        if dice.percent(25)
            && let Some(silent) = profile.bounds.iter().position(Option::is_some)
        {
            steps.extend(silence(&dice, &profile, silent));
        }

        // What comes right after the log breaks off is what a reader could lose.
        let breaks: Vec<_> = (steps.iter())
            .filter(|(_, step)| matches!(step, Step::Crash | Step::Promote | Step::Prune))
            .map(|(at, _)| *at)
            .collect();

        for at in breaks {
            steps.extend((0..3).map(|_| {
                let write = Write {
                    node: None,
                    ..write(&dice, nodes)
                };
                (at + dice.millis(1, 80), Step::Write(write))
            }));
        }

        // From dice of its own, so that the rest of a plan does not depend on it.
        let dice = Dice(SeededEntropy::new(seed ^ 0x7075_745f_6261_636b));
        if profile.form == Form::Counted && dice.percent(40) {
            let times = 1 + dice.below(2);
            steps.extend((0..times).flat_map(|_| put_back(&dice, nodes)));
        }

        steps.sort_by_key(|(at, _)| *at);
        Self { profile, steps }
    }
}

/// Returns the steps of a node that is silent until others have given it up, while another writes
/// and asks for receipts: throughout, and often around the moment at which the silent one comes
/// back.
fn silence(dice: &Dice, profile: &Profile, silent: usize) -> Vec<(Duration, Step)> {
    let nodes = profile.bounds.len();
    let bound = profile.bounds.get(silent).copied().flatten();
    let bound = bound.unwrap_or_default();
    let (begin, length) = (dice.millis(50, 600), 4 * bound + dice.millis(60, 200));
    let back = begin + length;
    let wire = dice.of([Wire::Log, Wire::Log, Wire::All]);
    let mut steps = vec![(begin, Step::Cut(silent, wire, length))];

    let all_the_time = (0..).map(|count| begin + bound * count / 3);
    let around_the_end = (0..9).map(|count| back + Duration::from_millis(12 * count));
    let times = all_the_time
        .take_while(|at| *at < back)
        .chain(around_the_end);

    for at in times.filter(|at| *at < LENGTH) {
        let row = dice.below(ROWS as u64) as i64;
        let write = Write {
            node: Some((silent + 1) % nodes),
            rows: vec![RowWrite::Put(row, dice.below(NAMES.len() as u64) as usize)],
            durability: Durability::Synchronous,
            open: Duration::ZERO,
            commit: CommitFate::Ordinary,
            lacking: false,
            then: Then::Confirm,
        };
        steps.push((at, Step::Write(write)));
    }

    steps
}

/// Returns the steps of a store that is put back: what is lost with that, and writes right after it
/// whose writers or readers may not know of it.
fn put_back(dice: &Dice, nodes: usize) -> Vec<(Duration, Step)> {
    let at = dice.millis(100, 1_900);
    let row = dice.below(ROWS as u64) as i64;
    let write = |node, durability, then| {
        let name = dice.below(NAMES.len() as u64) as usize;
        let open = Duration::ZERO;
        Step::Write(Write {
            node,
            rows: vec![RowWrite::Put(row, name)],
            durability,
            open,
            commit: CommitFate::Ordinary,
            lacking: false,
            then,
        })
    };
    let node = || dice.below(nodes as u64) as usize;

    let mut steps = vec![(at, Step::PutBack)];
    for _ in 0..2 {
        let writer = dice.percent(50).then(node);
        let lost = write(writer, Durability::Asynchronous, Then::Nothing);
        steps.push((at - dice.millis(2, 80), lost));
    }

    for _ in 0..3 {
        let then = match dice.percent(50) {
            true => Then::Token(node()),
            false => Then::Confirm,
        };
        let next = write(Some(node()), Durability::Synchronous, then);
        steps.push((at + dice.millis(0, 50), next));
    }

    steps
}

fn step(dice: &Dice, nodes: usize) -> Step {
    let node = dice.below(nodes as u64) as usize;
    match dice.below(100) {
        0..62 => Step::Write(write(dice, nodes)),
        62..68 => Step::Pause(node, dice.millis(5, 500)),
        68..73 => Step::Kill(node, dice.millis(5, 300)),
        73..87 => {
            let wire = dice.of([Wire::Log, Wire::Log, Wire::Pool, Wire::All]);
            Step::Cut(node, wire, dice.millis(50, 1_200))
        }
        87..91 => Step::SlowHandlers(node, dice.millis(20, 500)),
        91..95 => Step::Crash,
        95..97 => Step::Promote,
        _ => Step::Prune,
    }
}

fn write(dice: &Dice, nodes: usize) -> Write {
    let node = dice.percent(75).then(|| dice.below(nodes as u64) as usize);
    let count = 1 + dice.below(3) * dice.below(2);
    let one = dice.below(ROWS as u64) as i64;
    let row = || {
        // Often the same row, so that a transaction changes it more than once.
        let id = if dice.percent(60) {
            one
        } else {
            dice.below(ROWS as u64) as i64
        };

        match dice.below(100) {
            0..80 => RowWrite::Put(id, dice.below(NAMES.len() as u64) as usize),
            80..97 => RowWrite::Delete(id),
            _ if node.is_none() => RowWrite::Truncate,
            _ => RowWrite::Delete(id),
        }
    };
    Write {
        node,
        rows: (0..count).map(|_| row()).collect(),
        durability: dice.of([Durability::Synchronous, Durability::Asynchronous]),
        open: match dice.below(10) {
            0..6 => Duration::ZERO,
            6..9 => dice.millis(1, 60),
            _ => dice.millis(100, 900),
        },
        commit: if dice.percent(12) {
            CommitFate::Late(dice.millis(60, 400))
        } else {
            CommitFate::Ordinary
        },
        lacking: dice.percent(8),
        then: match dice.below(10) {
            0..3 => Then::Nothing,
            3..8 => Then::Confirm,
            _ => Then::Token(dice.below(nodes as u64) as usize),
        },
    }
}
