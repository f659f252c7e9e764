//! Any sequence of operations on a bus, beside a plain model of it.

mod model;
mod walk;

use crate::walk::{Operation, Walk};

/// Bytes that look random and are the same on every run: splitmix64.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_bus_agrees_with_its_model_after_any_sequence_of_operations() {
    for seed in 0..300 {
        Walk::new().walk(Operation::decode(&bytes(seed, 400)));
    }
}

/// The corpus of the fuzz target: what it found worth keeping is walked on every test run.
#[test]
fn a_bus_agrees_with_its_model_on_the_corpus_of_the_fuzz_target() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/bus_operations");
    let mut walked = 0;
    for file in std::fs::read_dir(corpus).expect("committed") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        Walk::new().walk(Operation::decode(&bytes));
        walked += 1;
    }
    assert!(walked >= 10, "{walked} files in {corpus}");
}
