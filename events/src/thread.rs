//! What one thread knows: whether it runs a handler, what it put aside, its places as a worker.

/// Waits for a future by parking the thread.
pub(crate) mod park;

/// Which handler runs, for the watchdog.
pub(crate) mod record;

/// The thread's places as a worker.
pub(crate) mod places;

/// The handler that runs and the posts that it made.
pub(crate) mod frame;
