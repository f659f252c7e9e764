//! [`Row`]: the description of one option, from which its flag, its variable, its key and its help
//! are made.

use super::source::Secrecy;

/// One option: a flag `--name`, a variable `TIDINGS_NAME` and a key `name` of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The text of the field's documentation, which is that of the flag too.
    pub(super) help: &'static str,
    /// The placeholder of the value in the help; `None` for a switch.
    pub(super) value: Option<&'static str>,
    pub(super) default: Default,
    /// The allowed values, as a refusal names them.
    pub(super) allowed: Allowed,
    pub(super) heading: Heading,
    pub(super) secrecy: Secrecy,
    pub(super) change: Change,
}

/// The default of an option.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// Nothing; the text says what that means.
    Unset(&'static str),
    /// A value, as the file would have it.
    Text(&'static str),
    /// A value that depends on the machine, and how it is described.
    Computed(fn() -> String, &'static str),
}

/// The allowed values of an option.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowed {
    Fixed(&'static str),
    /// With a limit that a part states.
    Stated(fn() -> String),
}

/// Where the help shows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    Common,
    Advanced,
}

/// Whether a reload applies a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    AtStart,
    InFlight,
}

impl Row {
    pub(super) const fn new(value: &'static str, allowed: &'static str) -> Self {
        Self {
            name: "",
            help: "",
            value: Some(value),
            default: Default::Unset("none"),
            allowed: Allowed::Fixed(allowed),
            heading: Heading::Common,
            secrecy: Secrecy::Public,
            change: Change::AtStart,
        }
    }

    /// Makes a flag that needs no value.
    pub(super) const fn switch() -> Self {
        Self {
            value: None,
            default: Default::Text("false"),
            ..Self::new("", "true or false")
        }
    }

    pub(super) const fn named(mut self, name: &'static str, help: &'static str) -> Self {
        self.name = name;
        self.help = help;
        self
    }

    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Default::Text(default);
        self
    }

    pub(super) const fn unset(mut self, meaning: &'static str) -> Self {
        self.default = Default::Unset(meaning);
        self
    }

    pub(super) const fn computed(mut self, value: fn() -> String, said: &'static str) -> Self {
        self.default = Default::Computed(value, said);
        self
    }

    pub(super) const fn stated(mut self, allowed: fn() -> String) -> Self {
        self.allowed = Allowed::Stated(allowed);
        self
    }

    pub(super) const fn advanced(mut self) -> Self {
        self.heading = Heading::Advanced;
        self
    }

    pub(super) const fn secrecy(mut self, secrecy: Secrecy) -> Self {
        self.secrecy = secrecy;
        self
    }

    pub(super) const fn in_flight(mut self) -> Self {
        self.change = Change::InFlight;
        self
    }

    /// Returns the environment variable of this option.
    pub(super) fn variable(&self) -> String {
        format!(
            "TIDINGS_{}",
            self.name.replace('-', "_").to_ascii_uppercase()
        )
    }

    /// Returns the variable that names a file with the value, for values that are better kept in
    /// one.
    pub(super) fn file_variable(&self) -> Option<String> {
        match self.secrecy {
            Secrecy::Public => None,
            Secrecy::Masked | Secrecy::Secret => Some(format!("{}_FILE", self.variable())),
        }
    }

    pub(super) fn allowed(&self) -> String {
        match self.allowed {
            Allowed::Fixed(text) => text.to_owned(),
            Allowed::Stated(text) => text(),
        }
    }

    /// Returns the default as the help shows it.
    pub(super) fn default_shown(&self) -> String {
        match self.default {
            Default::Unset(meaning) => meaning.to_owned(),
            Default::Text(text) => text.to_owned(),
            Default::Computed(value, said) => format!("{said}, here {}", value()),
        }
    }
}

/// Returns the name nearest to one that is unknown.
pub(super) fn nearest(table: &[Row], name: &str) -> Option<&'static str> {
    table
        .iter()
        .map(|row| (strsim::jaro_winkler(name, row.name), row.name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, nearest)| nearest)
}

/// Writes `field_name` as `field-name`, at compile time.
pub(super) const fn dashed<const N: usize>(field: &str) -> [u8; N] {
    let (field, mut name, mut at) = (field.as_bytes(), [0; N], 0);
    while at < N {
        name[at] = if field[at] == b'_' { b'-' } else { field[at] };
        at += 1;
    }
    name
}
