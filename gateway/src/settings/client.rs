//! [`Client`]: the settings of commands that talk to a node.

use clap::{Arg, ArgMatches};

use super::{
    command,
    environment::Environment,
    layers::Layers,
    parse,
    row::Row,
    source::{Secrecy, SettingsError},
    values::{AdminAddress, Secret},
};

/// The node that a command talks to, and the token for it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) admin: AdminAddress,
    pub(crate) token: Option<Secret>,
}

/// Its options, whose variables `serve` ignores.
pub(super) const TABLE: &[Row] = &[
    Row::new(
        "URL",
        "http://HOST or http://HOST:PORT, and a path below which the admin API is",
    )
    .or("http://127.0.0.1:8001")
    .named("admin", "The admin side of the node to talk to."),
    Row::new(
        "SECRET",
        "1 to 1024 visible ASCII characters without spaces",
    )
    .unset("no token")
    .secrecy(Secrecy::Secret)
    .named("admin-token", "The token that the admin side requires."),
];

impl Client {
    /// Returns its options, for the command line.
    pub(crate) fn options() -> Vec<Arg> {
        command::options(TABLE)
    }

    /// Resolves them from flags and the environment; earlier flags take precedence.
    ///
    /// # Errors
    ///
    /// Values are refused, all of them at once.
    pub(crate) fn resolve(
        flags: Vec<&ArgMatches>,
        env: &Environment,
    ) -> Result<Self, SettingsError> {
        let mut layers = Layers::of_command(TABLE, flags, env);
        let admin = layers.take("admin", parse::admin);
        let token = layers.take("admin-token", parse::optional(parse::token));
        layers.finish()?;
        match (admin, token) {
            (Some(admin), Some(token)) => Ok(Self { admin, token }),
            // `finish` has returned every fault, and a value is absent only with a fault.
            _ => Err(SettingsError::Faults(Vec::new())),
        }
    }
}
