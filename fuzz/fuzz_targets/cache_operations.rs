//! Any bytes are a sequence of operations on a cache; after each, the cache agrees with a plain
//! map.
//!
//! The operations and the map are those of the cache's property test (`cache/tests/cache/walk.rs`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../cache/tests/cache/walk.rs"]
mod walk;

std::thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().unwrap();
}

fuzz_target!(|bytes: &[u8]| {
    let operations = walk::Operation::decode(bytes);
    RUNTIME.with(|runtime| runtime.block_on(async { walk::Walk::new().walk(operations).await }));
});
