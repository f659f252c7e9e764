//! Any bytes are a connection to the admin API: nothing panics, nothing hangs, and every answer has
//! its shape.
//!
//! The API, its entities and the checks are those of the API's own tests
//! (`admin/tests/admin/bytes.rs`).

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[expect(dead_code, reason = "the API's tests use more of it")]
#[path = "../../admin/tests/admin/bytes.rs"]
mod bytes;
// Not `expect`: under it the unused entity counts as used, and the expectation as unfulfilled.
#[allow(dead_code, reason = "the API's tests use more of it")]
#[path = "../../admin/tests/admin/entities.rs"]
mod entities;

use bytes::Taker;

static API: OnceLock<(Runtime, Taker)> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let (runtime, taker) = API.get_or_init(|| {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let taker = runtime.block_on(Taker::new());
        (runtime, taker)
    });
    runtime.block_on(taker.take(bytes));
});
