//! The places as a worker that a thread has taken. Each is given up when the thread ends.
//!
//! Handlers may hold clones of their worker's handle, a reference cycle that nothing else would
//! break. So the end of the thread gives its places up too, and not only the drop of the last
//! handle.

use std::{cell::RefCell, rc::Weak};

use crate::sync;

/// A worker as far as its thread must know it.
pub(crate) trait Leave {
    /// Gives the place up; later calls do nothing.
    fn leave(&self);
}

/// Names one bus among those of the process.
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

/// Makes an empty list. Not a `const` initializer: the model checker's macro takes none.
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

/// Returns the worker of this bus that the thread is.
pub(crate) fn current(bus: BusId) -> Option<usize> {
    let find = |places: &RefCell<Vec<Place>>| {
        let places = places.borrow();
        let place = places
            .iter()
            .find(|place| place.bus == bus && place.taken.strong_count() > 0);
        place.map(|place| place.worker)
    };

    // While the thread is torn down it is no worker any more.
    PLACES.try_with(find).ok().flatten()
}
