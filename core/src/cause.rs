//! [`Cause`]: the change whose handlers a thread is running.
//!
//! While a node handles a change, an `invalidate` made by a handler must evict values whose load
//! began before the change, and leave values that were loaded since. The bus enters the change's
//! [`Cause`] around each handler, and the cache reads it. Bus and cache do not know each other, so
//! the hand-over is here.
//!
//! The cause is a thread-local, so it covers synchronous code. A future that should run under a
//! cause enters it at each poll ([`Cause::enter`] is two thread-local writes).

use std::{cell::Cell, marker::PhantomData};

thread_local! {
    static CURRENT: Cell<Option<Cause>> = const { Cell::new(None) };
}

/// The change that is being handled on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// The number that the node's sequence gave the change's own invalidation.
    pub number: u64,
    /// Whether the change was made on this node or arrived from another.
    pub origin: Origin,
}

/// Where a change was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// On this node.
    Local,
    /// On another node. What its handlers invalidate acts on this node only, because every node
    /// handles the change itself.
    Remote,
}

impl Cause {
    /// Returns the cause under which this thread runs, if any.
    #[must_use]
    #[inline]
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// Runs the rest of the scope under this cause; the guard restores the previous one.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Cause, Origin};
    ///
    /// let cause = Cause { number: 7, origin: Origin::Local };
    /// {
    ///     let _handling = cause.enter();
    ///     assert_eq!(Cause::current(), Some(cause));
    /// }
    /// assert_eq!(Cause::current(), None);
    /// ```
    #[inline]
    pub fn enter(self) -> CauseGuard {
        CauseGuard {
            previous: CURRENT.replace(Some(self)),
            not_send: PhantomData,
        }
    }
}

/// Restores the previous cause of the thread when dropped.
#[derive(Debug)]
#[must_use = "the cause lasts as long as the guard"]
pub struct CauseGuard {
    previous: Option<Cause>,
    not_send: PhantomData<*const ()>,
}

impl Drop for CauseGuard {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_causes_are_restored() {
        let outer = Cause {
            number: 1,
            origin: Origin::Local,
        };
        let inner = Cause {
            number: 2,
            origin: Origin::Remote,
        };
        let _outer = outer.enter();
        {
            let _inner = inner.enter();
            assert_eq!(Cause::current(), Some(inner));
        }
        assert_eq!(Cause::current(), Some(outer));
    }
}
