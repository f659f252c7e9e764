//! Handlers, and what the bus knows of each: its name, whether it is still registered, its counts.

use std::{fmt, num::NonZeroU64, sync::Arc, time::Duration};

use tidings_core::BoxError;

use crate::{
    event::name::Pattern,
    sync::{AtomicU64, Ordering},
};

/// The return type of a handler: nothing, or a result whose error is logged and counted.
pub trait Outcome {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// The owner of a handler was dropped. This is no failure: the handler ends.
#[derive(Debug, thiserror::Error)]
#[error("the handler's owner is gone")]
pub(crate) struct OwnerGone;

/// Everything about a handler but its closure.
pub(crate) struct HandlerInfo {
    pub(crate) name: Arc<str>,
    pub(crate) patterns: Box<[Pattern]>,
    /// The place in the order of registrations.
    pub(crate) serial: u64,
    panics: AtomicU64,
    errors: AtomicU64,
    sampled_calls: AtomicU64,
    sampled_nanos: AtomicU64,
}

impl HandlerInfo {
    pub(crate) fn new(name: Arc<str>, patterns: Box<[Pattern]>, serial: u64) -> Self {
        Self {
            name,
            patterns,
            serial,
            panics: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            sampled_calls: AtomicU64::new(0),
            sampled_nanos: AtomicU64::new(0),
        }
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.sampled_calls.fetch_add(1, Ordering::Relaxed);
        self.sampled_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self, worker: Option<usize>) -> HandlerStats {
        HandlerStats {
            name: self.name.to_string(),
            listens_to: self.patterns.iter().map(ToString::to_string).collect(),
            worker,
            panics: self.panics.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            sampled_calls: self.sampled_calls.load(Ordering::Relaxed),
            sampled_time: Duration::from_nanos(self.sampled_nanos.load(Ordering::Relaxed)),
        }
    }
}

impl fmt::Debug for HandlerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerInfo")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The counts of one handler so far.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandlerStats {
    /// Its name: the one it was given, or else the function and line that registered it.
    pub name: String,
    /// The channels it was registered for.
    pub listens_to: Vec<String>,
    /// The worker that it runs on; `None` if it runs inline.
    pub worker: Option<usize>,
    /// Calls that ended in a panic.
    pub panics: u64,
    /// Calls that returned an error.
    pub errors: u64,
    /// Calls that were timed, which one dispatch in 256 is.
    pub sampled_calls: u64,
    /// The time that those calls took together.
    pub sampled_time: Duration,
}

/// A closure and what a dispatch needs besides it, in one cache line.
pub(crate) struct Entry<F> {
    /// `info.serial` while the handler lives, then zero. Cleared before the handler leaves the
    /// lists, and read before each call, so a dispatch that still holds an older list no longer
    /// calls it.
    live: AtomicU64,
    pub(crate) call: F,
    pub(crate) info: Arc<HandlerInfo>,
}

impl<F> Entry<F> {
    pub(crate) fn new(info: Arc<HandlerInfo>, call: F) -> Self {
        Self {
            live: AtomicU64::new(info.serial),
            call,
            info,
        }
    }

    /// Returns the handler's serial, unless it has ended.
    #[inline]
    pub(crate) fn live(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.live.load(Ordering::Acquire))
    }
}

/// A handler without the type of its closure.
pub(crate) trait AnyHandler {
    /// Lets no further call begin. Returns whether the handler was alive until now.
    fn end(&self) -> bool;
    fn info(&self) -> &Arc<HandlerInfo>;
}

impl<F> AnyHandler for Entry<F> {
    fn end(&self) -> bool {
        self.live.swap(0, Ordering::AcqRel) != 0
    }

    fn info(&self) -> &Arc<HandlerInfo> {
        &self.info
    }
}
