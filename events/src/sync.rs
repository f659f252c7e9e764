//! Locks, atomics and thread-locals in one place, so that `--cfg shuttle` swaps them for the model
//! checker's.
//!
//! The production source is what the models in `src/models` run; nothing is copied for them.

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(shuttle))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread::yield_now,
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use self::checked::{Mutex, MutexGuard};

#[cfg(shuttle)]
mod checked {
    //! The checker's mutex with the interface of `parking_lot`'s.

    use std::sync::{PoisonError, TryLockError};

    pub(crate) use shuttle::sync::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T: ?Sized>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.0.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }
}

/// Returns how many copies of a channel's route there are.
#[cfg(not(shuttle))]
pub(crate) fn shards() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| cores.get().min(16))
}

/// Returns one: in a model, threads are to meet in one shard.
#[cfg(shuttle)]
pub(crate) fn shards() -> usize {
    1
}

/// How many times a worker polls its mailbox before sleeping; the pause doubles each time.
#[cfg(not(shuttle))]
pub(crate) const POLLS: u32 = 6;

/// One poll is enough for a model.
#[cfg(shuttle)]
pub(crate) const POLLS: u32 = 1;
