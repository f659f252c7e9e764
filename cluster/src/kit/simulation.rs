//! Several nodes, their clocks, their links and their clients, from one seed.
//!
//! Everything runs on one thread. Each node has a queue of tasks that are ready; the seed picks
//! which queue is served next, so every await is a step at which another node may act. A node's
//! tasks, cache, bus and protocol are the real ones; the store is the [model](super::ModelStore),
//! and links lose, delay, duplicate and reorder what they carry. A node that is killed loses its
//! links first and its tasks then, so that no `Drop` sends anything. Each node's clock has an
//! offset and a rate of its own.
//!
//! The [`Plan`] of a run follows from its seed: what is written, read, cut, paused, killed, crashed
//! and pruned, and when. A history is checked while it is made, with begin and end of each read and
//! write stamped from one counter: a read is impossible if it returns a value that had been
//! replaced before it could have been served. [`shortest`] leaves steps out of a plan that fails,
//! as long as it still fails.
//!
//! Not covered: what happens inside the cache and between several L1s of a node, which the cache's
//! own models check; SQL text and engines.

// Time, and which task is polled next. Must not know what the tasks do.
mod world;

// A process's clock. Must not know the process.
mod clock;

// The rows that are written, and the keys by which they are read.
mod entity;

// What was written and read, and what was impossible. Must not know how it came about.
mod history;

// What a seed does. Must not know how it is done.
mod plan;

// What passes over the links. Must not know why.
mod traffic;

// The links. Must not know what they carry it for.
mod net;

// Handlers that are slow for a while. Must not know the rest of a node.
mod slow;

// One process. Must not know the others.
mod node;

// Carries a plan out.
mod run;

// The shortest plan that fails.
mod shrink;

// What a change costs many nodes.
mod spread;

// Every rule that is left out is found.
#[cfg(all(test, tidings_faults))]
mod rules;

pub use self::{
    entity::Key,
    history::{Verbosity, Violation},
    plan::{CommitFate, Plan, Profile, RowWrite, Step, Then, Waits, Wire, Write},
    run::{Outcome, run},
    shrink::shortest,
    spread::{DELAY, Receipts, Spread, spread},
};
