//! `tests/ACCEPTANCE.md` tells the truth: every test that it names exists and is run, every case
//! has one or says that it is open, and every code that a test mentions is a case of the list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The kinds of codes, by the letters before the number.
const KINDS: [&str; 11] = [
    "G", "EV", "WE", "ML", "PL", "DA", "SC", "WA", "AD", "CL", "FE",
];

/// Folders with tests that may name a case.
const FOLDERS: [&str; 9] = [
    "tests", "core", "events", "cache", "cluster", "store", "src", "admin", "gateway",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A case of the list: its tests as `file::name`, and whether it says that something is open.
#[derive(Default)]
struct Case {
    tests: Vec<String>,
    is_open: bool,
}

fn cases() -> BTreeMap<String, Case> {
    let mut cases = BTreeMap::new();
    let mut last = String::new();
    for line in read(&root().join("tests/ACCEPTANCE.md")).lines() {
        if let Some(rest) = line.strip_prefix("- **") {
            last = rest.split("**").next().unwrap_or_default().to_owned();
            let is_new = cases.insert(last.clone(), Case::default()).is_none();
            assert!(is_new, "{last} is listed twice");
        } else if let Some(test) = line.strip_prefix("  - `") {
            let case = cases.get_mut(&last).expect("a case comes before its tests");
            case.tests.push(test.trim_end_matches('`').to_owned());
        } else if line.starts_with("  - Open: ") {
            let case = cases
                .get_mut(&last)
                .expect("a case comes before what is open");
            case.is_open = true;
        }
    }
    cases
}

/// Whether a source file has a test of this name that is run: a `test` attribute directly above.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}(");
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            is_test &= !line.starts_with("#[ignore");
        } else if line.contains(&function) {
            return is_test;
        } else if !line.starts_with("//") {
            is_test = false;
        }
    }
    false
}

#[test]
fn every_test_that_the_list_names_exists() {
    let mut sources = BTreeMap::new();
    let mut wrong = Vec::new();
    for (code, case) in cases() {
        if case.tests.is_empty() && !case.is_open {
            wrong.push(format!("{code}: neither a test nor \"Open\""));
        }
        for test in case.tests {
            let Some((file, name)) = test.split_once("::") else {
                wrong.push(format!("{code}: `{test}` is not `file::name`"));
                continue;
            };
            let source = sources
                .entry(file.to_owned())
                .or_insert_with(|| fs::read_to_string(root().join(file)).unwrap_or_default());
            if !has_test(source, name) {
                wrong.push(format!("{code}: {test} is not a test"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every `.rs` file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// The codes in a comment: letters of a known kind, then digits, alone in a word.
fn codes(comment: &str) -> impl Iterator<Item = &str> {
    let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_uppercase());
        let kind = &word[..word.len() - digits.len()];
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number && KINDS.contains(&kind)
    })
}

#[test]
fn every_code_that_a_test_mentions_is_in_the_list() {
    let listed: BTreeSet<_> = cases().into_keys().collect();
    let mut files = Vec::new();
    for folder in FOLDERS {
        sources(&root().join(folder), &mut files);
    }
    assert!(
        files.len() > 100,
        "the sources are where they are looked for"
    );
    let mut unknown = Vec::new();
    for file in files {
        let text = read(&file);
        let comments = text
            .lines()
            .filter(|line| line.trim_start().starts_with("//"));
        for code in comments.flat_map(codes) {
            if !listed.contains(code) {
                unknown.push(format!("{}: {code}", file.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}
