//! Sequences of operations against a model that is a plain map: any that chance makes, and those
//! that were kept.

use proptest::prelude::*;

use crate::walk::{KEYS, Operation, TAGS, Walk};

fn operation() -> impl Strategy<Value = Operation> {
    let tag = || prop::option::of(0..TAGS);
    prop_oneof![
        8 => (0..KEYS, tag(), any::<bool>()).prop_map(|(key, tag, ttl)| Operation::Get { key, tag, ttl }),
        1 => prop::collection::vec(0..KEYS, 0..6).prop_map(|keys| Operation::Bulk { keys }),
        2 => (0..KEYS, any::<bool>(), tag()).prop_map(|(key, absent, tag)| Operation::Set { key, absent, tag }),
        1 => (0..KEYS).prop_map(|key| Operation::Fail { key }),
        2 => (0..KEYS).prop_map(|key| Operation::Cached { key }),
        1 => (0..KEYS).prop_map(|key| Operation::Renew { key }),
        3 => (0..KEYS).prop_map(|key| Operation::Change { key }),
        1 => (0..KEYS).prop_map(|key| Operation::Delete { key }),
        1 => (0..TAGS).prop_map(|tag| Operation::InvalidateTag { tag }),
        1 => Just(Operation::Purge),
        2 => Just(Operation::Commit),
        2 => (0..KEYS).prop_map(|key| Operation::HandleKey { key }),
        1 => (0..TAGS).prop_map(|tag| Operation::HandleTag { tag }),
        1 => Just(Operation::HandleAll),
        1 => Just(Operation::Attach),
        1 => Just(Operation::Detach),
        1 => Just(Operation::Sweep),
        2 => Just(Operation::Wait),
    ]
}

fn walk(operations: Vec<Operation>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async { Walk::new().walk(operations).await });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_a_plain_map(operations in prop::collection::vec(operation(), 1..60)) {
        walk(operations);
    }
}

/// The corpus of the fuzz target: what it found worth keeping is walked on every test run.
#[test]
fn the_sequences_that_the_fuzzer_kept_agree_with_a_plain_map() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fuzz/corpus/cache_operations"
    );
    let mut walked = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        walk(Operation::decode(&bytes));
        walked += 1;
    }
    assert!(walked >= 30, "{walked} files in {corpus}");
}
