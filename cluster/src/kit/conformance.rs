//! The requirements on every log, as a suite that a log outside this repository can run too.
//!
//! Implement [`Subject`] for the log, and have [`check`] run every case, each on a subject of its
//! own:
//!
//! ```
//! use std::sync::Arc;
//! use tidings_cluster::kit::{
//!     Form, MemoryLog, ModelStore,
//!     conformance::{Subject, check},
//! };
//! use tidings_core::log::Log;
//!
//! /// The log in memory, which this crate's own tests use.
//! struct InMemory(MemoryLog);
//!
//! impl Subject for InMemory {
//!     fn open(&self) -> Arc<dyn Log> {
//!         Arc::new(self.0.beside())
//!     }
//!
//!     async fn trim(&self) {
//!         self.0.store().prune();
//!     }
//!
//!     async fn end_epoch(&self) {
//!         self.0.store().begin_epoch();
//!     }
//!
//!     fn records(&self) -> usize {
//!         300
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let make = async || InMemory(MemoryLog::new(ModelStore::new(Form::Counted, 1)));
//! check(make).await.assert_none();
//! # }
//! ```

mod cases;

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tidings_core::log::Log;

/// A log under test, with the operations that the suite needs and no reader has.
pub trait Subject: Send + Sync {
    /// Opens the log once more, over a link of its own, as another node would.
    fn open(&self) -> Arc<dyn Log>;

    /// Has the engine forget as many records as it may: at least all but the newest that were
    /// committed before the call.
    fn trim(&self) -> impl Future<Output = ()> + Send;

    /// Has the log begin another epoch, by whatever ends one: a crash, a restored copy, a stream
    /// that was made again.
    fn end_epoch(&self) -> impl Future<Output = ()> + Send;

    /// Has the engine lose its newest records as a crash may, and hand their numbers out again.
    /// Returns whether it can; if not, the suite leaves this case out.
    fn lose_newest(&self, records: usize) -> impl Future<Output = bool> + Send {
        let _ = records;
        std::future::ready(false)
    }

    /// Has the log be deleted while readers follow it, and made again by the next that appends.
    /// Returns whether it can.
    fn recreate(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }

    /// Returns the most bytes that the log takes in one record; `None` if it has no limit of its
    /// own.
    fn largest(&self) -> Option<usize> {
        None
    }

    /// Returns how many records the longer cases append; 10,000 by default, fewer for an engine
    /// whose commits take their time.
    fn records(&self) -> usize {
        10_000
    }
}

/// A case that a log has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The case.
    pub case: &'static str,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.what)
    }
}

/// The cases that a log has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures(pub Vec<Failure>);

impl Failures {
    /// Asserts that no case has failed.
    ///
    /// # Panics
    ///
    /// A case has failed; the message lists all of them.
    pub fn assert_none(&self) {
        let text: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        assert!(self.0.is_empty(), "{}", text.join("\n"));
    }
}

/// Runs every case, each on a subject of its own, and returns those that failed.
///
/// A log that never answers makes this wait without end: bound it.
pub async fn check<S: Subject>(make: impl AsyncFn() -> S) -> Failures {
    let mut failures = Failures::default();
    for (case, run) in cases::all::<S>() {
        let subject = make().await;
        if let Err(what) = run(&subject).await {
            failures.0.push(Failure { case, what });
        }
    }
    failures
}

/// The outcome of a case; an error says what was wrong.
type Outcome = Result<(), String>;

/// One case, as the list of all cases holds it.
type Case<S> = for<'a> fn(&'a S) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;
