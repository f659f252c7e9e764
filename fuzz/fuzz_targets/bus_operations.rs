//! Any bytes are a sequence of operations on a bus; after each, the bus agrees with a plain model.
//!
//! The operations and the model are those of the bus's own test (`events/tests/bus`).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../events/tests/bus/model.rs"]
mod model;
#[path = "../../events/tests/bus/walk.rs"]
mod walk;

fuzz_target!(|bytes: &[u8]| {
    walk::Walk::new().walk(walk::Operation::decode(bytes));
});
