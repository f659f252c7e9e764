//! The harness: contestants alternate in small slices, medians decide, checksums must agree.
//!
//! How a subject is run:
//!
//! 1. Each of the subject's threads makes the state of every contestant (its thread-local cache,
//!    its receiver, ..) and keeps it until the subject ends, so that no round begins with an empty
//!    cache.
//! 2. A round is a number of slices. In each slice every contestant runs once, in an order that
//!    rotates from slice to slice; on several threads all of them start a contestant's turn
//!    together. Half a round runs first as a warm-up, and is thrown away.
//! 3. A turn gives nanoseconds per operation (the mean of its threads). A round's figure is the
//!    median of its slices, and the subject's is the median of its rounds. Another process that
//!    takes the core for some milliseconds spoils a few slices, but no median.
//! 4. The turns of one slice have the same input, so their checksums must be equal on every thread.
//!    If they are not, the run ends with an error that names the two contestants.
//!
//! # Examples
//!
//! ```
//! use tidings_benches::harness::{Bench, Contestant, Sample, Settings};
//!
//! let mut bench = Bench::new("sums", Settings::quick());
//! bench.subject("sum_1000", 1, vec![
//!     Contestant::new("tidings", |_thread| {
//!         move |_turn| Sample::time(1_000, || (0..1_000_u64).sum())
//!     }),
//!     Contestant::new("bare_loop", |_thread| {
//!         move |_turn| Sample::time(1_000, || (0..1_000_u64).fold(0, |sum, n| sum + n))
//!     }),
//! ])?;
//! assert_eq!(bench.rows().len(), 2);
//! # Ok::<(), tidings_benches::harness::BenchError>(())
//! ```

// Lowest first: a module imports from lines above it alone.
// How much is run.
mod settings;
// Why there is no result.
mod error;
// Medians and percentiles of plain numbers.
mod statistics;
// The machine, and the versions of the peers.
mod machine;
// A way to do a subject's work. Must not know another contestant.
mod contestant;
// Where threads wait for each other before a turn.
mod gate;
// One subject's rounds. Must not know tables.
mod rounds;
// Groups of subjects, their table and their JSON.
mod report;

pub use self::{
    contestant::{Contestant, Sample, Turn},
    error::BenchError,
    machine::{Machine, peer_version},
    report::{Bench, Row, write_json},
    settings::Settings,
    statistics::{median, percentile},
};
