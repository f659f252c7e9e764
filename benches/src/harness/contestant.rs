//! [`Contestant`]: a name, and a function that makes its state on each thread.

use std::{
    fmt,
    hint::black_box,
    time::{Duration, Instant},
};

/// Which turn is being run; the same for every contestant of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The round, counted from 0. The warm-up has this number too.
    pub round: usize,
    /// The slice within the round.
    pub slice: usize,
    /// Counts the slices of the subject, those of the warm-up included. Choose the input by it.
    pub number: usize,
}

/// The work of one contestant in one turn on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sample {
    /// How long the operations took.
    pub elapsed: Duration,
    /// How many there were.
    pub operations: u64,
    /// A digest of their results. Contestants of one slice must agree.
    pub checksum: u64,
}

impl Sample {
    /// Times a closure that does `operations` operations and returns the checksum of their results.
    pub fn time(operations: u64, work: impl FnOnce() -> u64) -> Self {
        let start = Instant::now();
        let checksum = black_box(work());
        Self {
            elapsed: start.elapsed(),
            operations,
            checksum,
        }
    }

    /// Returns the nanoseconds per operation.
    #[must_use]
    pub fn nanoseconds(&self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.operations.max(1) as f64
    }
}

/// Runs one contestant's turns on one thread.
pub(crate) type Runner<'a> = Box<dyn FnMut(Turn) -> Sample + 'a>;

/// One way to do a subject's work.
pub struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) prepare: Box<dyn Fn(usize) -> Runner<'a> + Sync + 'a>,
}

impl<'a> Contestant<'a> {
    /// Makes a contestant. Ours is called `tidings`; a peer has its crate's name.
    ///
    /// `prepare` is called once on each of the subject's threads, with the thread's index, and
    /// makes the runner of the turns there, which may be `!Send`. Work that must not be timed
    /// belongs in the runner, outside [`Sample::time`].
    pub fn new<R>(name: impl Into<String>, prepare: impl Fn(usize) -> R + Sync + 'a) -> Self
    where
        R: FnMut(Turn) -> Sample + 'a,
    {
        Self {
            name: name.into(),
            prepare: Box::new(move |thread| Box::new(prepare(thread))),
        }
    }
}

impl fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contestant")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_nanoseconds_per_operation() {
        let sample = Sample {
            elapsed: Duration::from_micros(3),
            operations: 1_500,
            checksum: 0,
        };
        assert!((sample.nanoseconds() - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_sample_without_operations_is_not_infinite() {
        let sample = Sample::time(0, || 7);
        assert!(sample.nanoseconds().is_finite());
        assert_eq!(sample.checksum, 7);
    }
}
