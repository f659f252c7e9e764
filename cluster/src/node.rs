//! The protocol of one node.

// Turns of readers that return to the log. Must not know what they read.
pub(crate) mod replays;

// The state of the link by which a node is woken. Must not know what a wake-up leads to.
pub(crate) mod wake_link;

// What the tasks of a node share. Must not know the tasks.
pub(crate) mod shared;

// Evictions: of records, of wake-ups, of own writes. Must not know in which order records come.
pub(crate) mod apply;

// Panics of an application's code. Must not know what the tasks do.
pub(crate) mod guard;

// Joins. Must not know the tail.
pub(crate) mod joining;

// Children of updated rows. Must not know in which order records come.
pub(crate) mod children;

// Questions to the members, and the expiry of silent ones. Must not know what callers do with the
// answers.
pub(crate) mod asking;

// Receipts. Must not know how a node applies.
pub(crate) mod confirm;

// What callers invalidate by hand, on its way to the log. Must not know the tail.
pub(crate) mod carry;

// Rows whose records are on several pages. Must not know what is done with them.
mod groups;

// Reads what did not fit into a queue. Must not know what is done with it.
mod catch_up;

// Passes the contents of the log to its watchers. Must not know the tail.
pub(crate) mod tell;

// The task that runs handlers. Must not know the tail.
pub(crate) mod dispatch;

// The task that follows the log. Must not know the dispatcher.
pub(crate) mod tail;

// What a node is made of. Must not know what becomes of it.
pub(crate) mod parts;

// Puts the parts together.
pub(crate) mod protocol;

// Reads the log beyond a place, for a reader that returns.
pub(crate) mod replay;

// The cluster as a node sees it.
pub(crate) mod view;

// Probes every member through the log.
pub(crate) mod probe;
