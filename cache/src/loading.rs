//! Notes whether this thread is inside a load: calls made there are part of that load.

use std::cell::Cell;

use crate::sync::thread_local;

thread_local! {
    static LOADING: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether this thread is inside a load.
pub(crate) fn is_loading() -> bool {
    LOADING.try_with(Cell::get).unwrap_or(false)
}

/// Runs a part of a load.
pub(crate) fn within<R>(run: impl FnOnce() -> R) -> R {
    /// Restores the previous state, even if the load panics.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            LOADING.with(|loading| loading.set(self.0));
        }
    }

    let _restore = Restore(LOADING.with(|loading| loading.replace(true)));
    run()
}
