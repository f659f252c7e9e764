//! `get` for plain threads.

use std::{
    future::Future,
    pin::{Pin, pin},
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
    /// Returns the value of a key, like [`get`](Self::get), on a thread that runs no tasks: it
    /// sleeps until the load ends.
    ///
    /// The load runs on the cache's runtime: one that was given to the builder, or the one whose
    /// [`spawn_blocking`](tokio::task::spawn_blocking) runs this call.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    ///
    /// # Panics
    ///
    /// When it would have to wait inside a task: that would block the task's thread, indefinitely
    /// if the load needs that thread. A hit does not wait. Inside `spawn_blocking` the call may
    /// wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    /// let cache = Cache::builder().runtime(runtime.handle().clone()).build()?;
    ///
    /// let plain = thread::spawn(move || {
    ///     let key = CacheKey::new("greeting", &["en"]);
    ///     let load = || async { Ok::<_, std::io::Error>(Some("hello")) };
    ///     cache.get_blocking(&key, GetOptions::default(), load)
    /// });
    /// assert_eq!(plain.join().unwrap()?.as_deref(), Some(&"hello"));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn get_blocking<V: Cacheable, L: Load<V>>(
        &self,
        key: &CacheKey,
        options: GetOptions,
        load: L,
    ) -> Result<Option<Arc<V>>, GetError> {
        let mut get = pin!(self.get(key, options, load));
        if let Poll::Ready(answer) = get.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer; // a hit needs no waker
        }
        wait(get)
    }
}

/// Sleeps until a future ends. Inside a runtime, tokio does that, and panics on a thread that runs
/// tasks.
#[cfg(not(shuttle))]
#[track_caller]
fn wait<F: Future>(future: Pin<&mut F>) -> F::Output {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.block_on(future),
        Err(_) => park(future),
    }
}

#[cfg(shuttle)]
fn wait<F: Future>(future: Pin<&mut F>) -> F::Output {
    park(future)
}

fn park<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
        // May return without a wake-up, hence the loop; returns at once if the waker ran before it.
        std::thread::park();
    }
}
