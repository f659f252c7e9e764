//! Typing is a promise: what the compiler refuses.
//!
//! `TRYBUILD=overwrite cargo test -p tidings-events --test typing` writes the expectations again.

#[test]
fn a_misuse_of_types_or_threads_or_gaps_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
