//! The written documents hang together: every page of the guide is listed and its listings are run,
//! links between documents lead somewhere, and paths that they name exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The documents at the root that name files of the repository.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "tests/ACCEPTANCE.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the files of the guide, without its list.
fn pages() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("docs/src")).expect("the guide is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut pages: BTreeSet<_> = names.map(|name| name.expect("a name in UTF-8")).collect();
    assert!(pages.remove("SUMMARY.md"), "the guide has a list");
    pages
}

/// Returns what is between two marks, each time they occur in this order.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let parts = text.split(open).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(close)?.0))
        .collect()
}

#[test]
fn every_page_of_the_guide_is_listed_and_its_listings_are_run() {
    let listed = read(&root().join("docs/src/SUMMARY.md"));
    let listed: BTreeSet<_> = between(&listed, "](", ")")
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, pages(), "SUMMARY.md lists the pages");

    let run = read(&root().join("src/guide.rs"));
    let run = between(&run, "docs/src/", "\"");
    let run: BTreeSet<_> = run.into_iter().map(str::to_owned).collect();
    assert_eq!(run, pages(), "src/guide.rs runs the pages");
}

/// The documents, with the folder that their links are relative to.
fn documents() -> Vec<(PathBuf, String)> {
    let pages = pages().into_iter().map(|page| format!("docs/src/{page}"));
    let all = pages.chain(DOCUMENTS.map(str::to_owned));
    all.map(|name| (root().join(&name), read(&root().join(&name))))
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for (path, text) in documents() {
        let folder = path.parent().expect("a document is in a folder");
        for link in between(&text, "](", ")") {
            let is_elsewhere = link.contains("://") || link.starts_with('#');
            let target = link.split('#').next().unwrap_or_default();
            let is_there = folder.join(target).exists();
            assert!(is_elsewhere || is_there, "{}: {link}", path.display());
        }
    }
}

/// Whether a word in backticks is meant as a path of this repository.
fn is_path(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let is_relative = !word.starts_with('/') && !word.starts_with("./");
    let has_end = [".rs", ".md", "/"].iter().any(|end| word.ends_with(end));
    let is_script = word.starts_with("scripts/");
    is_relative && word.chars().all(is_plain) && (has_end || is_script)
}

/// Every file and folder of the repository, folders with a slash at their end.
fn tree(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if entry.path().is_dir() && name != "target" && name != ".git" {
            let path = format!("{prefix}{name}/");
            tree(&entry.path(), &path, found);
            found.push(path);
        } else {
            found.push(format!("{prefix}{name}"));
        }
    }
}

/// A path counts from the root, or, where a section is about one crate, from any folder below it.
#[test]
fn paths_that_documents_name_exist() {
    let mut found = Vec::new();
    tree(root(), "/", &mut found);
    let mut missing = Vec::new();
    for (path, text) in documents() {
        for word in text.split('`').skip(1).step_by(2) {
            let file = word.split("::").next().unwrap_or_default();
            let end = format!("/{file}");
            if is_path(file) && !found.iter().any(|it| it.ends_with(&end)) {
                missing.push(format!("{}: {file}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What a document names as `file.rs::name` is a function of that file.
#[test]
fn tests_that_documents_name_exist() {
    let (mut named, mut missing) = (0, Vec::new());
    for (path, text) in documents() {
        for word in text.split('`').skip(1).step_by(2) {
            let Some((file, name)) = word.split_once(".rs::") else {
                continue;
            };
            let source = fs::read_to_string(root().join(format!("{file}.rs")));
            named += 1;
            if !source.is_ok_and(|source| source.contains(&format!("fn {name}("))) {
                missing.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(named > 100 && missing.is_empty(), "{named}, {missing:#?}");
}
