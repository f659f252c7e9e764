//! Small crates, each with one import that passes or does not.

use super::*;

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let open = |path: &str| {
        files
            .iter()
            .find(|file| file.0 == path)
            .map(|file| file.1.to_owned())
    };
    Crate::read(files[0].1, &open).faults()
}

const ROOT: &str = "mod low;\nmod high;\npub use self::high::High;\n";

#[test]
fn an_import_that_runs_down_passes() {
    assert_eq!(
        faults(&[
            ("lib.rs", ROOT),
            ("high.rs", "use crate::low::Low;"),
            ("low.rs", "")
        ]),
        [""; 0]
    );
}

#[test]
fn an_import_that_runs_up_is_a_fault_with_its_line() {
    let found = faults(&[
        ("lib.rs", ROOT),
        ("low.rs", "\nuse crate::high::High;"),
        ("high.rs", ""),
    ]);
    assert_eq!(
        found,
        ["low.rs:2: `low` uses `high::High`, but `high` is a layer above it"]
    );
}

#[test]
fn re_exports_trees_aliases_and_inline_paths_are_followed() {
    for text in [
        "use crate::High;",
        "use crate::{\n    high::{High, Other},\n};",
        "use super::high as other;",
        "fn f(x: &crate::high::High) {}",
        "mod inner { use super::super::High; }",
    ] {
        assert!(
            !faults(&[("lib.rs", ROOT), ("low.rs", text), ("high.rs", "")]).is_empty(),
            "{text}"
        );
    }
}

#[test]
fn folders_have_layers_too() {
    let files = [
        ("lib.rs", "mod a;"),
        (
            "a.rs",
            "mod one;\nmod two;\npub use self::two::Two;\nuse self::one::One;",
        ),
        ("a/one.rs", "use super::Two;"),
        ("a/two.rs", "use super::{Anything, one::One};"),
    ];
    assert_eq!(
        faults(&files),
        ["a/one.rs:1: `one` uses `a::Two`, but `two` is a layer above it"]
    );
}

#[test]
fn tests_comments_strings_and_marked_lines_are_left_out() {
    let low = "// use crate::high::High;\n/* use crate::high; /* */ */\nconst A: &str = \"crate::high::High\";\n\
        const B: &str = r#\"crate::high \" \"#;\nuse crate::high::High; // layers: both ends of one wire\n\
        #[cfg(test)]\nmod tests { use crate::high::High; }\n#[cfg(all(test, shuttle))]\nmod models;\n\
        const C: char = '\"'; const D: char = '\\''; fn f<'a>(x: &'a str) {}";
    assert_eq!(
        faults(&[("lib.rs", ROOT), ("low.rs", low), ("high.rs", "")]),
        [""; 0]
    );
}

#[test]
fn a_build_without_tests_is_not_a_test() {
    let low = "#[cfg(not(test))]\nmod inner { use crate::high::High; }";
    assert_eq!(
        faults(&[("lib.rs", ROOT), ("low.rs", low), ("high.rs", "")]).len(),
        1
    );
}
