//! The places as a worker that a thread has taken. The thread gives them up when it ends.
//!
//! A place is also given up when the last handle of its worker is dropped. That is not enough:
//! handlers may hold clones of their worker's handle, a reference cycle that nothing else breaks.

use std::{cell::RefCell, rc::Weak};

use crate::sync;

/// What a thread must know of a worker.
pub(crate) trait Leave {
    /// Gives the place up; later calls do nothing.
    fn leave(&self);
}

/// Identifies one bus of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BusId(pub(crate) u64);

struct Place {
    bus: BusId,
    worker: usize,
    taken: Weak<dyn Leave>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(worker) = self.taken.upgrade() {
            worker.leave();
        }
    }
}

sync::thread_local! {
    static PLACES: RefCell<Vec<Place>> = no_places();
}

/// Returns an empty list. Not a `const` initializer, because the model checker's macro takes none.
fn no_places() -> RefCell<Vec<Place>> {
    RefCell::default()
}

/// Notes that this thread is worker `worker` of a bus.
pub(crate) fn take(bus: BusId, worker: usize, taken: Weak<dyn Leave>) {
    PLACES.with(|places| {
        let mut places = places.borrow_mut();
        places.retain(|place| place.taken.strong_count() > 0);
        places.push(Place { bus, worker, taken });
    });
}

/// Returns the index of the worker of this bus that runs on this thread, if one does.
pub(crate) fn current(bus: BusId) -> Option<usize> {
    let find = |places: &RefCell<Vec<Place>>| {
        let places = places.borrow();
        let place = places
            .iter()
            .find(|place| place.bus == bus && place.taken.strong_count() > 0);
        place.map(|place| place.worker)
    };

    // A thread that is being torn down is no longer a worker.
    PLACES.try_with(find).ok().flatten()
}
