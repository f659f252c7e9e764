//! What the tests share: the public kit, a cache on a clock that is moved by hand, and the key that
//! most tests need.

use std::{
    io,
    sync::{Arc, LazyLock},
};

pub(crate) use tidings_cache::kit::{Gate, Source};
use tidings_cache::{Cache, CacheBuilder, CacheKey, ManualClock};

/// The loader's error type in most tests.
pub(crate) type Failure = io::Error;

pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new("test", &[name])
}

/// The key that most tests need.
pub(crate) fn k() -> &'static CacheKey {
    static KEY: LazyLock<CacheKey> = LazyLock::new(|| key("k"));
    &KEY
}

/// A builder on a clock of its own.
pub(crate) fn timed() -> (CacheBuilder, ManualClock) {
    let clock = ManualClock::new();
    let builder = Cache::builder().clock(Arc::new(clock.clone()));
    (builder, clock)
}
