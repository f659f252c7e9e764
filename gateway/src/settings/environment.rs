//! [`Environment`]: the environment variables that settings are read from.

use std::ffi::{OsStr, OsString};

use super::{
    row::{Row, nearest},
    source::Fault,
};

/// The prefix of our variables' names.
const PREFIX: &str = "TIDINGS_";
/// The variable that names the file of settings.
pub(super) const CONFIG: &str = "TIDINGS_CONFIG";
/// The variable that many programs take the filter of their logs from.
pub(super) const RUST_LOG: &str = "RUST_LOG";

/// Environment variables, taken when the settings are resolved.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Takes the variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns an environment without variables.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let mut variables = self.0.iter();
        let found = variables.find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// Refuses variables that look like ours and are not: a misspelt one would silently not apply.
    /// Variables of other commands are ignored.
    pub(super) fn unknown(&self, table: &[Row], others: &[Row]) -> Vec<Fault> {
        let names = self.0.iter().filter_map(|(name, value)| {
            let name = name.to_str()?;
            let rest = name.strip_prefix(PREFIX)?;
            let known = name == CONFIG
                || table.iter().chain(others).any(|row| {
                    row.variable() == name || row.file_variable().as_deref() == Some(name)
                });
            (!known && !is_of_a_service(rest, value)).then_some((name, rest))
        });

        names
            .map(|(name, rest)| {
                let option = rest.to_ascii_lowercase().replace('_', "-");
                let hint = match nearest(table, &option) {
                    Some(near) => format!(
                        "did you mean {PREFIX}{}?",
                        near.replace('-', "_").to_ascii_uppercase()
                    ),
                    None => "`tidings --help` lists the known ones".to_owned(),
                };
                Fault::other(format!("variable {name} is unknown: {hint}"))
            })
            .collect()
    }
}

/// Returns whether an orchestrator has set the variable for a service that is called tidings, as
/// Kubernetes does in every container: `TIDINGS_SERVICE_HOST`, `TIDINGS_PORT=tcp://..`,
/// `TIDINGS_ADMIN_PORT_8001_TCP_ADDR`.
fn is_of_a_service(rest: &str, value: &OsStr) -> bool {
    let parts: Vec<&str> = rest.split('_').collect();
    let service = parts
        .windows(2)
        .any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]));
    let port = parts.windows(3).any(|triple| match triple {
        ["PORT", number, "TCP" | "UDP" | "SCTP"] => number.parse::<u16>().is_ok(),
        _ => false,
    });
    let link =
        parts.last() == Some(&"PORT") && value.to_str().is_some_and(|value| value.contains("://"));
    service || port || link
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let pairs = variables.into_iter();
        Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
