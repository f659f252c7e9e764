//! [`Settings`]: the program's settings, from flags, variables and a file.
//!
//! A flag goes before its environment variable, that before the key of the `--config` file, and
//! that before the default. Each option is one row (`options`), from which its field, flag,
//! variable, key and help are made, so that none of the five can be forgotten.
//!
//! Every value is checked before anything is opened or bound, and all faults are reported at once,
//! each with the flag, variable or key it came from, the value, and what is expected. An unknown
//! key in the file is refused, and so is an unknown variable that begins with `TIDINGS_`: a
//! misspelt name that is silently ignored is a setting that silently does not apply.

// Values before they are parsed, and their sources; knows no option.
mod source;
// The types that some values have.
mod values;
// The description of an option; knows no particular one.
mod row;
// Environment variables, by rows.
mod environment;
// The limits that other parts state.
mod limits;
// Why a value is refused.
mod wrong;
// Durations and sizes.
mod units;
// From text to values; knows no layer.
mod parse;
// The keys of a file, by rows.
mod file;
// The command line of `serve`, by rows.
mod command;
// Which of flag, variable and file decides.
mod layers;
// The options themselves.
mod options;
// The settings of commands that talk to a node.
mod client;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::Command;

use self::layers::Layers;

pub(crate) use self::{client::Client, units::span};

pub use self::{
    environment::Environment,
    options::{Limits, Settings},
    source::{Fault, SettingsError, Source},
    values::{
        AccessLog, BuiltIn, Cluster, KeyForwarding, KeyName, KeyNames, KeyStorage, LogFormat,
        Secret, UpstreamAddress,
    },
};

impl Settings {
    /// Resolves the settings of this process from its arguments and environment.
    ///
    /// # Errors
    ///
    /// See [`resolve`](Self::resolve).
    pub fn from_process() -> Result<Self, SettingsError> {
        Self::resolve(std::env::args_os(), &Environment::of_process())
    }

    /// Resolves settings from arguments (the program's name first) and an environment.
    ///
    /// # Errors
    ///
    /// The arguments are not understood, or help or the version was asked for
    /// ([`SettingsError::Usage`]); or some values are wrong ([`SettingsError::Faults`], all of them
    /// at once).
    pub fn resolve<A>(args: A, env: &Environment) -> Result<Self, SettingsError>
    where
        A: IntoIterator,
        A::Item: Into<OsString> + Clone,
    {
        let table = options::table();
        let matches = command::command(&table)
            .try_get_matches_from(command::with_negative_values(args, &table))
            .map_err(|error| SettingsError::Usage(Box::new(error)))?;
        // Flags after the word `serve` win over those before it.
        let after = matches.subcommand().map(|(_, after)| after);
        let flags = after.into_iter().chain([&matches]).collect();

        let mut layers = Layers::new(&table, client::TABLE, flags, env);
        if let Some(config) = layers.config() {
            layers.read_file(Path::new(&config));
        }
        let settings = Self::take(&mut layers);
        if let Some(settings) = &settings {
            settings.check(&mut layers);
        }

        layers.finish()?;
        // `finish` has returned every fault, and a value is absent only with a fault.
        settings.ok_or(SettingsError::Faults(Vec::new()))
    }

    /// Returns the command line of a program that only serves, for one that has more commands.
    pub(crate) fn command() -> Command {
        command::command(&options::table())
    }

    /// Returns the names of the options, which are those of a command line without a command.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        let rows = options::table().into_iter();
        rows.map(|row| row.name).chain(["config"])
    }

    /// Returns arguments as the parser takes them.
    pub(crate) fn arguments<A>(args: A) -> Vec<OsString>
    where
        A: IntoIterator,
        A::Item: Into<OsString>,
    {
        command::with_negative_values(args, &options::table())
    }

    /// Resolves the settings from a file alone, as `--config` would.
    ///
    /// # Errors
    ///
    /// See [`resolve`](Self::resolve).
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, SettingsError> {
        let config: [OsString; 3] = ["tidings".into(), "--config".into(), path.into().into()];
        Self::resolve(config, &Environment::empty())
    }

    /// Returns the URL of the database as it may be logged, without a password.
    #[must_use]
    pub fn database_shown(&self) -> String {
        source::without_password(&self.database)
    }

    /// Returns how nodes learn of each other's changes: the value that is set, or the default for
    /// the database.
    #[must_use]
    pub fn cluster_engine(&self) -> Cluster {
        match &self.cluster {
            Some(cluster) => cluster.clone(),
            None if self.is_on_postgres() => Cluster::Postgres,
            None => Cluster::None,
        }
    }

    fn is_on_postgres(&self) -> bool {
        let schemes = ["postgres://", "postgresql://"];
        schemes
            .iter()
            .any(|scheme| self.database.starts_with(scheme))
    }

    fn is_on_a_file(&self) -> bool {
        !self.is_on_postgres() && !self.database.contains(":memory:")
    }

    fn check_cluster(&self) -> Result<(), String> {
        let on_postgres = || {
            let reason = "this needs a PostgreSQL database; --database names a SQLite database";
            let fits = self.is_on_postgres();
            fits.then_some(()).ok_or_else(|| reason.to_owned())
        };

        match &self.cluster {
            Some(Cluster::Postgres) => on_postgres(),
            Some(Cluster::Sqlite) if !self.is_on_a_file() => Err(
                "this needs a SQLite file (--database sqlite://PATH), which several processes can open"
                    .to_owned(),
            ),
            Some(Cluster::None | Cluster::Sqlite) | None => Ok(()),
            #[cfg(feature = "nats")]
            Some(Cluster::Nats(address)) => {
                let checked = tidings_carriers::Nats::check(address.expose(), &self.cluster_name);
                on_postgres().and(checked.map_err(|error| error.to_string()))
            }
            #[cfg(feature = "redis")]
            Some(Cluster::Redis(address)) => {
                let checked = tidings_carriers::Redis::check(address.expose(), &self.cluster_name);
                on_postgres().and(checked.map_err(|error| error.to_string()))
            }
        }
    }

    /// Refuses two sides on one address. Port 0 is a different port for each.
    fn check_addresses(&self, layers: &mut Layers<'_>) {
        let sides = [
            ("proxy-listen", Some(self.proxy_listen)),
            ("admin-listen", Some(self.admin_listen)),
            ("status-listen", self.status_listen),
        ];

        for (name, address) in sides {
            let fixed = address.filter(|address| address.port() != 0);
            let same = |&(other, theirs): &(&str, _)| other != name && theirs == fixed;
            if let Some((other, _)) = fixed.and_then(|_| sides.into_iter().find(same)) {
                layers.refuse(name, &format!("this is the address of --{other} too"));
            }
        }
    }

    /// Refuses values that are allowed alone but not together.
    fn check(&self, layers: &mut Layers<'_>) {
        self.check_addresses(layers);
        let address = self.admin_listen;
        if self.admin_token.is_none() && !address.ip().to_canonical().is_loopback() {
            layers.missing_token(address);
        }
        if let Err(reason) = self.check_cluster() {
            layers.refuse("cluster", &reason);
        }

        if self.max_staleness > Some(self.cluster_retention) {
            let reason = "this is longer than --cluster-retention";
            layers.refuse("max-staleness", reason);
        }
        if self.stale_policy == tidings::StalePolicy::Refuse && self.max_staleness.is_none() {
            let reason = "this needs --max-staleness: without a bound no entry is too old";
            layers.refuse("stale-policy", reason);
        }

        if self.allow_groups.is_some() && !self.plugins.asks_for_groups() {
            layers.refuse(
                "allow-groups",
                "this needs the plugins key-auth and acl; --plugins leaves one of them out",
            );
        }
    }
}

impl Default for Settings {
    /// Returns the default settings.
    fn default() -> Self {
        // The defaults are values of this crate's own table; a test resolves them.
        Self::resolve(["tidings"], &Environment::empty()).expect("the defaults are allowed values")
    }
}
