//! Reads the layers of each crate from its own `mod` lines and refuses an import that runs up.
//!
//! In a `lib.rs`, as in the file of every folder below it, the order of the `mod` lines is the
//! order of the layers, the lowest first: a module may use those listed before it, never those
//! after it. A file and its own children may use each other. What only tests compile is left out. A
//! true exception is marked on its line with `// layers: why`.
//!
//! Paths are followed through `use` declarations and re-exports, in `use` trees and where they are
//! written inline. Names that come by a glob or from a macro are not seen.
//!
//! `scripts/lint` compiles this file with `rustc` alone and runs it on the source folders it is
//! given; compiled with `--test`, it tests itself.

mod tokens;

use std::{collections::HashMap, env, fs, path::Path, process::ExitCode};

use self::tokens::{Token, tokens};

fn main() -> ExitCode {
    let mut faults = Vec::new();
    let mut modules = 0;
    for source in env::args().skip(1) {
        let root = Path::new(&source).join("lib.rs");
        match fs::read_to_string(&root) {
            Ok(text) => {
                let krate = Crate::read(&text, &|path| {
                    fs::read_to_string(Path::new(&source).join(path)).ok()
                });
                modules += krate.modules.len();
                faults.extend(
                    krate
                        .faults()
                        .iter()
                        .map(|fault| format!("{source}/{fault}")),
                );
            }
            Err(error) => faults.push(format!("{}: {error}", root.display())),
        }
    }

    for fault in &faults {
        eprintln!("{fault}");
    }
    println!(
        "layers: {modules} modules, {} imports that run up",
        faults.len()
    );

    if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The names from the crate's root down to a module.
type Names = Vec<String>;

/// What a module lists, brings into scope and refers to.
#[derive(Default)]
struct Module {
    /// The file it is written in.
    file: String,
    /// The modules that it lists, in order.
    children: Names,
    /// Names that it brings into scope, with the path each stands for.
    aliases: HashMap<String, Names>,
    /// Paths that it uses, each with its line.
    uses: Vec<(Names, usize)>,
}

/// All modules of one crate.
struct Crate {
    modules: HashMap<Names, Module>,
}

impl Crate {
    /// Reads a crate from the text of its `lib.rs` and a way to open its other files.
    fn read(root: &str, open: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut krate = Self {
            modules: HashMap::new(),
        };
        krate.add(Names::new(), "lib.rs", root, open);
        krate
    }

    fn add(&mut self, names: Names, file: &str, text: &str, open: &dyn Fn(&str) -> Option<String>) {
        let tokens = tokens(text);
        let mut reader = Reader {
            tokens: &tokens,
            at: 0,
            found: HashMap::new(),
            files: Vec::new(),
            file,
        };
        reader.module(&names);

        let files = reader.files;
        self.modules.extend(reader.found);

        for child in files {
            let stem = child.join("/");
            for path in [format!("{stem}.rs"), format!("{stem}/mod.rs")] {
                if let Some(text) = open(&path) {
                    self.add(child.clone(), &path, &text, open);
                }
            }
        }
    }

    /// Returns the module that a path from the root leads to, or `None` if it leaves the crate.
    fn target(&self, path: &[String]) -> Option<Names> {
        let mut path = path.to_vec();
        // A circle of aliases does not compile; the limit is for text that is not Rust.
        'again: for _ in 0..32 {
            let mut at = Names::new();
            while let Some(name) = path.get(at.len()) {
                let module = self.modules.get(&at)?;
                if module.children.contains(name) {
                    at.push(name.clone());
                    if !self.modules.contains_key(&at) {
                        return None; // compiled for tests alone
                    }
                } else if let Some(alias) = module.aliases.get(name) {
                    if alias.first().is_some_and(|first| first == "::") {
                        return None;
                    }
                    path = alias.iter().chain(&path[at.len() + 1..]).cloned().collect();
                    continue 'again;
                } else {
                    break;
                }
            }

            return Some(at);
        }

        None
    }

    /// Returns a line for each import that runs up.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (from, module) in &self.modules {
            for (path, line) in &module.uses {
                let Some(to) = self.target(path) else {
                    continue;
                };
                let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                let (Some(here), Some(there)) = (from.get(common), to.get(common)) else {
                    continue;
                };

                let listed = &self.modules[&from[..common]].children;
                let place = |name| listed.iter().position(|child| child == name);

                if place(there) > place(here) {
                    faults.push(format!(
                        "{}:{line}: `{here}` uses `{}`, but `{there}` is a layer above it",
                        module.file,
                        path.join("::"),
                    ));
                }
            }
        }

        faults.sort();
        faults.dedup();
        faults
    }
}

/// Goes through the tokens of one file.
struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    found: HashMap<Names, Module>,
    /// Modules in files of their own.
    files: Vec<Names>,
    file: &'a str,
}

impl Reader<'_> {
    fn text(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| &token.text)
    }

    /// Reads a module up to its closing brace, or the end of the file.
    fn module(&mut self, names: &Names) {
        let mut module = Module {
            file: self.file.to_owned(),
            ..Module::default()
        };
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.text(0) {
                "#" => {
                    if self.attribute_is_for_tests() {
                        self.skip_item();
                    }
                    continue;
                }
                "mod" if is_name(self.text(1)) && matches!(self.text(2), ";" | "{") => {
                    let name = self.text(1).to_owned();
                    let child = [names.as_slice(), std::slice::from_ref(&name)].concat();
                    let inline = self.text(2) == "{";
                    module.children.push(name);
                    self.at += 3;

                    if inline {
                        self.module(&child);
                    } else {
                        self.files.push(child);
                    }

                    continue;
                }
                "use" => {
                    self.at += 1;
                    let leaves = self.tree(&Names::new());
                    for (path, alias, line, free) in leaves {
                        let path = absolute(names, path, Some(&module));
                        if !free && path[0] != "::" {
                            module.uses.push((path.clone(), line));
                        }
                        if let Some(alias) = alias {
                            module.aliases.entry(alias).or_insert(path);
                        }
                    }

                    continue;
                }
                "crate" | "super" | "self" if self.text(1) == "::" && !self.follows_a_path() => {
                    let (line, free) = (self.tokens[self.at].line, self.tokens[self.at].free);
                    let path = self.path();
                    if !free {
                        module.uses.push((absolute(names, path, None), line));
                    }
                    continue;
                }
                "{" => depth += 1,
                "}" if depth == 0 => {
                    self.at += 1;
                    break;
                }
                "}" => depth -= 1,
                _ => {}
            }

            self.at += 1;
        }

        self.found.insert(names.clone(), module);
    }

    /// Whether the token before belongs to the same path, as in `$crate::x`.
    fn follows_a_path(&self) -> bool {
        self.at > 0 && matches!(self.tokens[self.at - 1].text.as_str(), "$" | "::")
    }

    fn path(&mut self) -> Names {
        let mut path = vec![self.text(0).to_owned()];
        while self.text(1) == "::" && is_name(self.text(2)) {
            path.push(self.text(2).to_owned());
            self.at += 2;
        }
        self.at += 1;
        path
    }

    /// Reads one `use` tree: each path, the name it gets, its line, and whether it is excused.
    fn tree(&mut self, prefix: &Names) -> Vec<(Names, Option<String>, usize, bool)> {
        let mut path = prefix.clone();
        let mut leaves = Vec::new();
        let (line, free) = self
            .tokens
            .get(self.at)
            .map_or((0, false), |token| (token.line, token.free));
        loop {
            match self.text(0) {
                "::" if path.is_empty() => path.push("::".to_owned()),
                "::" => {}
                "{" => {
                    self.at += 1;
                    while !matches!(self.text(0), "}" | "") {
                        leaves.extend(self.tree(&path));
                        if self.text(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return leaves;
                }
                "*" => {
                    self.at += 1;
                    return vec![(path, None, line, free)];
                }
                "as" => {
                    let alias = self.text(1).to_owned();
                    self.at += 2;
                    return vec![(path, Some(alias), line, free)];
                }
                name if is_name(name) => {
                    if !(name == "self" && !path.is_empty()) {
                        path.push(name.to_owned());
                    }
                }
                _ => {
                    let alias = path.last().cloned();
                    if path.is_empty() {
                        self.at += 1;
                        return leaves;
                    }
                    return vec![(path, alias, line, free)];
                }
            }

            self.at += 1;
        }
    }

    /// Passes an attribute; tells whether only tests compile what follows.
    fn attribute_is_for_tests(&mut self) -> bool {
        let start = self.at;
        let mut depth = 0;
        self.at += 1;

        loop {
            match self.text(0) {
                "[" => depth += 1,
                "]" => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        break;
                    }
                }
                "" => break,
                _ => {}
            }

            self.at += 1;
        }

        let words: Vec<&str> = self.tokens[start..self.at]
            .iter()
            .map(|token| token.text.as_str())
            .collect();
        words.contains(&"cfg")
            && words.iter().enumerate().any(|(at, word)| {
                matches!(*word, "test" | "doctest") && words[at.saturating_sub(2)] != "not"
            })
    }

    /// Passes one item, with the attributes before it.
    fn skip_item(&mut self) {
        while self.text(0) == "#" {
            self.attribute_is_for_tests();
        }

        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.text(0) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => {
                    depth -= 1;
                    if depth == 0 && self.text(0) == "}" {
                        self.at += 1;
                        return;
                    }
                }
                ";" if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }

            self.at += 1;
        }
    }
}

/// Returns a path from the crate's root; one that leaves the crate begins with `::`.
fn absolute(names: &Names, path: Names, within: Option<&Module>) -> Names {
    let mut base = match path.first().map(String::as_str) {
        Some("crate") => Names::new(),
        Some("self" | "super") => names.clone(),
        Some(first)
            if within.is_some_and(|module| module.children.iter().any(|child| child == first)) =>
        {
            return [names.as_slice(), &path].concat();
        }
        _ => return [&["::".to_owned()], path.as_slice()].concat(),
    };
    let mut rest = path.as_slice();
    while let Some(first) = rest.first() {
        match first.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        rest = &rest[1..];
    }

    let path = [base.as_slice(), rest].concat();
    if path.is_empty() {
        vec!["::".to_owned()]
    } else {
        path
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

#[cfg(test)]
mod tests;
