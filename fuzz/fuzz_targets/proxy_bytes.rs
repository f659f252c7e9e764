//! Any bytes at the proxy and the admin side of a running gateway, whose upstream behaves as the
//! first byte says.
//!
//! The rig is that of the gateway's own test (`gateway/tests/gateway/bytes.rs`).

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../gateway/tests/gateway/bytes.rs"]
mod bytes;

static RIG: LazyLock<bytes::Rig> = LazyLock::new(bytes::Rig::new);

fuzz_target!(|input: &[u8]| RIG.run(input));
