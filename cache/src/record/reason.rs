//! [`Reason`]: why a thread invalidates, kept in a thread-local.

use std::{cell::RefCell, marker::PhantomData, sync::Arc};

use tidings_core::{
    Operation, PrimaryKey, Value,
    log::{GapReason, Mark, Place},
};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Reason>>> = const { RefCell::new(None) };
}

/// Why a thread invalidates, for [`Cache::explain`](crate::Cache::explain). It does not change what
/// the invalidations do.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use tidings_cache::{Cache, CacheKey, GetOptions, Reason};
/// use tidings_core::log::GapReason;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let key = CacheKey::new("api-keys", &["abcd"]);
/// cache.set(&key, Some("alice"), GetOptions::default())?;
/// {
///     let _due_to = Reason::Gap(GapReason::Epoch).enter();
///     cache.purge_node();
/// }
/// let explained = cache.explain(&key).expect("it was set");
/// let why = explained.history[0].reason.as_deref();
/// assert!(matches!(why, Some(Reason::Gap(GapReason::Epoch))));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Rows have changed.
    Change {
        /// The first of the rows.
        rows: Vec<ChangedRow>,
        /// The node that wrote; none if it was another program, or is not known.
        node: Option<Arc<str>>,
        /// The place of the change in the log, if it was read there.
        place: Option<Place>,
        /// The commit, if it is known.
        mark: Option<Mark>,
    },
    /// A caller has asked every node to invalidate.
    Everywhere {
        /// The caller's node; none if it is not known.
        node: Option<Arc<str>>,
    },
    /// Changes were not received, or could not be applied one by one.
    Gap(GapReason),
    /// The outcome of a commit was not known.
    Doubt,
}

/// A row that has changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChangedRow {
    /// The entity's name.
    pub entity: Arc<str>,
    /// What was done.
    pub operation: Operation,
    /// The primary key, all parts of it.
    pub key: PrimaryKey,
}

impl ChangedRow {
    /// Names a row and what was done to it.
    #[must_use]
    pub fn new(entity: impl Into<Arc<str>>, operation: Operation, key: PrimaryKey) -> Self {
        Self {
            entity: entity.into(),
            operation,
            key,
        }
    }
}

impl Reason {
    /// Returns the reason of this thread, if one was given.
    pub(crate) fn current() -> Option<Arc<Self>> {
        // What a thread drops at its end may invalidate after this variable is gone.
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.unwrap_or_default()
    }

    /// Sets the reason for the rest of the scope; the guard restores the previous one.
    pub fn enter(self) -> ReasonGuard {
        ReasonGuard {
            previous: set(Some(Arc::new(self))),
            not_send: PhantomData,
        }
    }

    /// Returns about how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let counts = 2 * size_of::<usize>(); // those of the Arc
        let own = counts + size_of::<Self>();
        match self {
            Self::Change { rows, .. } => {
                // A key of several parts is allocated beside the row.
                let allocated = |key: &PrimaryKey| match key.single() {
                    Some(_) => 0,
                    None => size_of_val(key.parts()),
                };
                let text = |part: &Value| match part {
                    Value::Text(text) => text.len(),
                    _ => 0, // few kinds are keys, and those take no more than themselves
                };
                let keys = rows.iter().map(|row| {
                    let texts: usize = row.key.parts().iter().map(text).sum();
                    allocated(&row.key) + texts
                });
                own + rows.capacity() * size_of::<ChangedRow>() + keys.sum::<usize>()
            }
            Self::Everywhere { .. } | Self::Gap(_) | Self::Doubt => own,
        }
    }
}

/// Restores the previous reason of the thread when dropped.
#[derive(Debug)]
#[must_use = "the reason lasts as long as the guard"]
pub struct ReasonGuard {
    previous: Option<Arc<Reason>>,
    not_send: PhantomData<*const ()>,
}

impl Drop for ReasonGuard {
    fn drop(&mut self) {
        set(self.previous.take());
    }
}

/// Sets the reason of this thread and returns the one before. Does nothing on a thread that is
/// being torn down and has lost its reason.
fn set(reason: Option<Arc<Reason>>) -> Option<Arc<Reason>> {
    let previous = CURRENT.try_with(|current| current.replace(reason));
    previous.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_reasons_are_restored() {
        let gap = || Reason::Gap(GapReason::Epoch);
        let outer = gap().enter();
        {
            let _inner = Reason::Doubt.enter();
            assert_eq!(Reason::current().as_deref(), Some(&Reason::Doubt));
        }
        assert_eq!(Reason::current().as_deref(), Some(&gap()));
        drop(outer);
        assert_eq!(Reason::current(), None);
    }
}
