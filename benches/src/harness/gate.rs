//! [`Gate`]: where the threads of a subject meet before each turn.
//!
//! A parked thread takes tens of microseconds to start again, and the turns of one contestant would
//! overlap less. So waiting threads spin and yield. A thread that panics breaks the gate, and the
//! others panic at it instead of waiting indefinitely.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

#[derive(Debug)]
pub(super) struct Gate {
    threads: usize,
    arrived: AtomicUsize,
    broken: AtomicBool,
}

impl Gate {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            arrived: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Waits until every thread has come here as often as this one.
    ///
    /// # Panics
    ///
    /// When another thread broke the gate.
    pub(super) fn pass(&self) {
        let here = self.arrived.fetch_add(1, Ordering::AcqRel);
        // The count only grows; this thread's generation ends at the next multiple of `threads`.
        let open = (here / self.threads + 1) * self.threads;
        while self.arrived.load(Ordering::Acquire) < open {
            assert!(
                !self.broken.load(Ordering::Acquire),
                "another thread of this subject panicked"
            );
            thread::yield_now();
        }
    }

    /// Breaks the gate when the thread that holds the guard panics.
    pub(super) fn guard(&self) -> impl Drop + '_ {
        BreakOnPanic(self)
    }
}

struct BreakOnPanic<'a>(&'a Gate);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn no_thread_passes_before_all_are_there() {
        let gate = Gate::new(3);
        let passed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..100 {
                        gate.pass();
                        assert!(passed.load(Ordering::SeqCst) >= round * 3);
                        passed.fetch_add(1, Ordering::SeqCst);
                        gate.pass();
                        assert!(passed.load(Ordering::SeqCst) >= (round + 1) * 3);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 300);
    }

    #[test]
    fn a_panic_breaks_the_gate_for_those_who_wait() {
        let gate = Gate::new(2);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| gate.pass())));
            let faulty = scope.spawn(|| {
                let _guard = gate.guard();
                std::panic::resume_unwind(Box::new("fault"));
            });
            assert!(faulty.join().is_err());
            assert!(waiter.join().expect("the panic was caught").is_err());
        });
    }
}
