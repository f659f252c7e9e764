//! The harness: contestants alternate in small slices, medians decide, checksums must agree.
//!
//! How a subject is run:
//!
//! 1. Each of the subject's threads makes the state of every contestant (its thread-local cache, its
//!    receiver, ..) and keeps it until the subject ends, so that no round begins with an empty cache.
//! 2. A round is a number of slices. In each slice every contestant runs once, in an order that rotates
//!    from slice to slice; on several threads all of them start a contestant's turn together. The first
//!    round warms up and is thrown away.
//! 3. A turn gives nanoseconds per operation (the mean of its threads). A round's figure is the median
//!    of its slices, the subject's the median of its rounds: a neighbour on the machine who takes the
//!    core for some milliseconds spoils a few slices and no median.
//! 4. The turns of one slice have the same input, so their checksums must be equal on every thread;
//!    the run ends with an error that names the two contestants when they are not.
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

mod contestant;
mod gate;
mod machine;
mod report;
mod rounds;
mod statistics;

pub use self::{
    contestant::{Contestant, Sample, Turn},
    machine::{Machine, peer_version},
    report::{Bench, BenchError, Row, Settings, write_json},
    statistics::{median, percentile},
};
