//! Hooks: code that runs before and after the methods of an entity's DAO.
//!
//! Use a hook for code that belongs to a write and must be able to refuse it: quotas, checks
//! against other systems, audit. To learn of changes, register for their events instead, because
//! cascades and the writes of other nodes pass no hook.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
};

use tidings_core::{BoxError, Chain, Row, Schema};

use crate::{error::Error, method::Method, selector::Selector};

/// A call of a method, in the form that hooks see.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The entity.
    pub schema: &'static Schema,
    /// The selector of the row; `None` for an insert, a page and a select by cache key.
    pub selector: Option<&'a Selector>,
    /// The row: before an insert, as given; after a call, as it is now (for a delete, as it was
    /// last). `None` if nothing was found, and for a page.
    pub row: Option<&'a Row>,
}

/// With secrets masked.
impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut call = f.debug_struct("Call");
        call.field("method", &self.method)
            .field("entity", &self.schema.name());
        let row = self.row.map(|row| row.to_shown_json(self.schema));
        // A selector's value may be a secret, and only its field says whether.
        let field = self.selector.map(|it| it.field().unwrap_or("primary key"));
        call.field("selected_by", &field)
            .field("row", &row)
            .finish()
    }
}

/// Code that runs around each call of each method, typed or untyped.
///
/// Hooks are synchronous. They delay their own call and nothing else: before a write, the store
/// does not hold the writer yet; after a write, it has released it.
pub trait Hook: Send + Sync + 'static {
    /// Runs before the call. An error refuses the call, and nothing is read or written.
    ///
    /// # Errors
    ///
    /// The hook objects to the call.
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        let _ = call;
        Ok(())
    }

    /// Runs after a successful call, even if the call found nothing. After a write it runs once the
    /// change has been announced, whether or not the caller still waits. A panic is logged and
    /// changes nothing.
    fn after(&self, call: &Call<'_>) {
        let _ = call;
    }
}

/// The hooks of one entity, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Hooks(RwLock<Arc<[Arc<dyn Hook>]>>);

/// The hooks that existed when a call began: the same hooks run before and after it.
pub(crate) struct Current(Arc<[Arc<dyn Hook>]>);

impl Hooks {
    pub(crate) fn add(&self, hook: Arc<dyn Hook>) {
        let mut hooks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *hooks = hooks.iter().cloned().chain([hook]).collect();
    }

    pub(crate) fn current(&self) -> Current {
        Current(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Current {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the hooks in order; stops at the first one that refuses.
    pub(crate) fn before(&self, call: &Call<'_>) -> Result<(), Error> {
        for hook in self.0.iter() {
            match catch_unwind(AssertUnwindSafe(|| hook.before(call))) {
                Ok(Ok(())) => {}
                Ok(Err(source)) => {
                    return Err(Error::Hook {
                        entity: call.schema.name().to_owned(),
                        method: call.method,
                        source,
                    });
                }
                Err(payload) => return Err(Error::panicked("a hook", &*payload)),
            }
        }

        Ok(())
    }

    pub(crate) fn after(&self, call: &Call<'_>) {
        for hook in self.0.iter() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| hook.after(call))) {
                let error = Error::panicked("a hook", &*payload);
                tracing::error!(entity = call.schema.name(), method = %call.method, error = %Chain(&error), "after the call");
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks")
            .field(&self.current().0.len())
            .finish()
    }
}
