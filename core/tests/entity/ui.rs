//! What the compiler says of a faulty entity: at the attribute or field at fault, all faults at
//! once, and what would be right.
//!
//! `TRYBUILD=overwrite cargo test -p tidings-core --test entity faulty` writes the expectations
//! again.

// SC1, SC2, SC3, SC5, SC6
#[test]
fn a_faulty_entity_does_not_compile_and_the_message_points_at_the_fault() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/entity/ui/fail/*.rs");
    cases.pass("tests/entity/ui/pass/*.rs");
}
