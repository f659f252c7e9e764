//! `get` for plain threads.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

use tidings_core::CacheKey;

use crate::{
    answer::load::Load, api::cache::Cache, error::GetError, level2::stored::Cacheable,
    options::call::GetOptions,
};

impl Cache {
    /// Like [`get`](Self::get), for a thread that runs no tasks: it sleeps until the load ends.
    ///
    /// The load runs on the cache's runtime. Do not call this from a task: it holds up the task's thread, and does so
    /// indefinitely if the load needs that thread.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub fn get_blocking<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Option<Arc<V>>, GetError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let mut get = pin!(self.get(key, options, load));
        if let Poll::Ready(answer) = get.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer; // a hit needs no waker
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(answer) = get.as_mut().poll(&mut context) {
                return answer;
            }
            // Woken for nothing, it asks again; woken before it sleeps, it does not sleep.
            std::thread::park();
        }
    }
}
