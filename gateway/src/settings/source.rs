//! Where a value came from, and the message if it is wrong.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Write as _},
    path::PathBuf,
};

/// Whether a value may be printed, and whether it can come from a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    /// A URL that may hold a password, which is masked; `TIDINGS_NAME_FILE` names a file with it.
    Masked,
    /// Never printed; `TIDINGS_NAME_FILE` names a file with it.
    Secret,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A flag of the command line, with its dashes.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A key of the file of settings.
    File {
        /// The file.
        path: PathBuf,
        /// The key as it is written there.
        key: String,
    },
    /// It is not set.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File { path, key } => write!(f, "key {key} in {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value before it is understood: one text, or a list from the file.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) items: Vec<String>,
    pub(super) list: bool,
    pub(super) utf8: bool,
    pub(super) source: Source,
}

impl Raw {
    /// Returns the value of an option that has no default and is not set.
    pub(super) fn absent() -> Self {
        Self {
            items: Vec::new(),
            list: false,
            utf8: true,
            source: Source::Default,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.items.is_empty() && !self.list
    }

    pub(super) fn text(text: impl Into<String>, source: Source) -> Self {
        Self {
            items: vec![text.into()],
            list: false,
            utf8: true,
            source,
        }
    }

    pub(super) fn list(items: Vec<String>, source: Source) -> Self {
        Self {
            items,
            list: true,
            utf8: true,
            source,
        }
    }

    pub(super) fn os(value: &OsStr, source: Source) -> Self {
        let utf8 = value.to_str().is_some();
        Self {
            utf8,
            ..Self::text(value.to_string_lossy(), source)
        }
    }

    /// Returns the value if it is one text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self.items.as_slice() {
            [text] if !self.list && self.utf8 => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list, which outside the file is a text with commas.
    pub(super) fn as_items(&self) -> Option<Vec<String>> {
        if self.list {
            return Some(self.items.clone());
        }
        let text = self.as_text()?;
        Some(text.split(',').map(|item| item.trim().to_owned()).collect())
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    name: Option<&'static str>,
    source: Option<Source>,
    message: String,
}

impl Fault {
    pub(super) fn new(name: &'static str, secrecy: Secrecy, raw: &Raw, reason: &str) -> Self {
        let shown = || raw.items.iter().map(|item| without_password(item));
        let value = match secrecy {
            Secrecy::Secret => "(hidden)".to_owned(),
            Secrecy::Public | Secrecy::Masked if raw.list => {
                format!("{:?}", shown().collect::<Vec<_>>())
            }
            Secrecy::Public | Secrecy::Masked => format!("{:?}", shown().collect::<String>()),
        };
        let message = format!("{name}: {value} ({}) is invalid: {reason}", raw.source);
        Self {
            name: Some(name),
            source: Some(raw.source.clone()),
            message,
        }
    }

    pub(super) fn other(message: String) -> Self {
        Self {
            name: None,
            source: None,
            message,
        }
    }

    /// Returns the option whose value is wrong, where the fault lies in one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name
    }

    /// Returns where that value came from.
    #[must_use]
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The most characters of a value that are repeated.
const LONGEST_SHOWN: usize = 200;

/// Returns a value as it may be shown: a URL without its password and without its arguments, one of
/// which may be the password too; and no more than the beginning of a long value. A path of SQLite
/// has no password, and is shown as it is.
pub(super) fn without_password(value: &str) -> String {
    let shown = match value.split_once("://") {
        Some((scheme, rest)) if !scheme.ends_with("sqlite") => {
            format!("{scheme}://{}", without_credentials(rest))
        }
        Some(_) | None => value.to_owned(),
    };
    shown.chars().take(LONGEST_SHOWN).collect()
}

/// Masks what follows the user and what follows `?`. A password may hold any character, so the last
/// `@` ends it: too much is masked rather than too little.
fn without_credentials(rest: &str) -> String {
    let (user, host) = match rest.rsplit_once('@') {
        None => (String::new(), rest),
        Some((credentials, host)) => match credentials.find([':', '/', '?', '@']) {
            None => (format!("{credentials}@"), host),
            Some(end) => (format!("{}:***@", &credentials[..end]), host),
        },
    };
    match host.split_once('?') {
        Some((host, _)) => format!("{user}{host}?***"),
        None => format!("{user}{host}"),
    }
}

/// Why there are no settings.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The command line is not understood, or asks for help or the version.
    Usage(Box<clap::Error>),
    /// Values that are refused, all of them.
    Faults(Vec<Fault>),
}

impl SettingsError {
    /// Prints the error (help and version to standard output), and returns the status to exit with.
    #[must_use]
    pub fn report(&self) -> u8 {
        match self {
            Self::Usage(error) => {
                // Nothing is left to try when the terminal is gone.
                let _ = error.print();
                u8::try_from(error.exit_code()).unwrap_or(2)
            }
            Self::Faults(_) => {
                let _ = writeln!(io::stderr(), "{self}");
                2
            }
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Faults(faults) => {
                for (index, fault) in faults.iter().enumerate() {
                    let line = if index == 0 { "" } else { "\n" };
                    write!(f, "{line}tidings: {fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for SettingsError {}
