//! [`Settings`]: what the program is told at start, and where each value came from.
//!
//! A flag goes before its environment variable, that before the key of the `--config` file, and that before
//! the default. The options stand in one table (`options`), from which the flags, the variables, the keys and
//! the help are made, so that none of the four can be forgotten.
//!
//! Every value is checked before anything is opened or bound, and all faults are reported at once, each with
//! the flag, variable or key it came from, the value, and what is allowed. An unknown key in the file is
//! refused too: a misspelt key that is silently ignored is a setting that silently does not apply.

mod file;
mod options;
mod parse;
mod source;

use std::{
    ffi::OsString,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{options::Layers, source::Raw};

pub use self::source::{Fault, SettingsError, Source};

/// Everything that can be set. See `tidings --help` for the meaning of each.
///
/// # Examples
///
/// ```
/// use tidings_gateway::Settings;
///
/// let settings = Settings::resolve(["tidings", "--workers", "3"], |_| None)?;
/// assert_eq!(settings.workers, 3);
/// assert_eq!(settings.proxy_listen.port(), 8000);
/// # Ok::<(), tidings_gateway::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients come in.
    pub proxy_listen: SocketAddr,
    /// Where the admin API listens.
    pub admin_listen: SocketAddr,
    /// What the admin API asks for; always set when `admin_listen` is not a loopback address.
    pub admin_token: Option<Secret>,
    /// The URL of the store.
    pub database: String,
    /// How many workers, each with a thread and an L1 of its own.
    pub workers: usize,
    /// Where requests are passed on to; the built-in echo if unset.
    pub upstream: Option<UpstreamAddress>,
    /// The byte budget of the node's cache.
    pub cache_size: u64,
    /// How long a cached row lives; for ever if unset.
    pub ttl: Option<Duration>,
    /// How long a cached absence lives; for ever if unset.
    pub neg_ttl: Option<Duration>,
    /// How long the node may serve what it could not prove to be current. Takes effect with a cluster.
    pub max_staleness: Option<Duration>,
    /// The groups whose consumers pass; anyone with a key if unset.
    pub allow_groups: Option<Vec<String>>,
    /// The entities to read into the cache before the first request.
    pub warm_up: Vec<String>,
    /// The plugins that are switched on.
    pub plugins: PluginSwitches,
    /// The name of this node; made anew if unset.
    pub node_id: Option<String>,
    /// The filter of log lines, in the language of `RUST_LOG`.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Sizes and times that clients and upstreams are held to.
    pub limits: Limits,
}

/// Which of the built-in plugins run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginSwitches {
    /// Ask for an API key.
    pub key_auth: bool,
    /// Ask for membership in [`Settings::allow_groups`], where that is set.
    pub acl: bool,
}

/// How log lines are written, to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where requests are passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// The host, as a name or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the `Host` header says.
    pub authority: String,
}

/// Sizes and times that clients and upstreams are held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest head of a request, in bytes.
    pub header_size: usize,
    /// How long a client may take from the first byte of a request's head to the last.
    pub header_timeout: Duration,
    /// How long a connection may lie idle between requests.
    pub idle_timeout: Duration,
    /// How long a client may neither send what it announced nor take what it asked for.
    pub body_timeout: Duration,
    /// How long connecting to the upstream may take.
    pub connect_timeout: Duration,
    /// How long the upstream may take to begin its answer, and between two parts of it.
    pub upstream_timeout: Duration,
    /// How long running requests may take to finish once the program is told to stop.
    pub drain_timeout: Duration,
}

/// A text that is not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Settings {
    /// Resolves the settings of this process from its arguments and environment.
    ///
    /// # Errors
    ///
    /// See [`resolve`](Self::resolve).
    pub fn from_process() -> Result<Self, SettingsError> {
        Self::resolve(std::env::args_os(), |name| std::env::var_os(name))
    }

    /// Resolves settings from arguments (the program's name first) and an environment.
    ///
    /// # Errors
    ///
    /// The arguments are not understood, or help or the version was asked for ([`SettingsError::Usage`]); or
    /// some values are wrong ([`SettingsError::Faults`], all of them at once).
    pub fn resolve<A, E>(args: A, env: E) -> Result<Self, SettingsError>
    where
        A: IntoIterator,
        A::Item: Into<OsString> + Clone,
        E: Fn(&str) -> Option<OsString>,
    {
        let matches = options::command()
            .try_get_matches_from(options::with_negative_values(args))
            .map_err(|error| SettingsError::Usage(Box::new(error)))?;
        // The options are global: a subcommand's matches hold those given before it too.
        let matches = matches.subcommand().map_or(&matches, |(_, sub)| sub);
        let mut layers = Layers::new(matches, &env);
        if let Some(config) = layers.config() {
            layers.read_file(Path::new(&config));
        }
        Self::from_layers(layers)
    }

    /// The settings of a program that is told nothing but a file of settings, as `--config` would.
    ///
    /// # Errors
    ///
    /// See [`resolve`](Self::resolve).
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, SettingsError> {
        let config: [OsString; 3] = ["tidings".into(), "--config".into(), path.into().into()];
        Self::resolve(config, |_| None)
    }

    fn from_layers(mut raw: Layers<'_>) -> Result<Self, SettingsError> {
        let proxy_listen = raw.required("proxy-listen", parse::address);
        let admin_listen = raw.required("admin-listen", parse::address);
        let admin_token = raw.optional("admin-token", parse::token);
        let database = raw.required("database", parse::database);
        raw.required("cluster", parse::cluster);
        let workers = raw.optional("workers", parse::workers);
        let upstream = raw.optional("upstream", parse::upstream);
        let cache_size = raw.required("cache-size", parse::cache_size);
        let ttl = raw.required("ttl", parse::optional_duration).flatten();
        let neg_ttl = raw.required("neg-ttl", parse::optional_duration).flatten();
        let max_staleness = raw
            .required("max-staleness", parse::optional_duration)
            .flatten();
        let allow_groups = raw.optional("allow-groups", parse::groups);
        let warm_up = raw.optional("warm-up", parse::warm_up).unwrap_or_default();
        let plugins = raw.required("plugins", parse::plugins);
        let node_id = raw.optional("node-id", parse::node_id);
        let log = raw.log_filter();
        let log_format = raw.required("log-format", parse::log_format);
        let limits = Limits::from_layers(&mut raw);

        if let (Some(address), None) = (admin_listen, &admin_token)
            && !address.ip().to_canonical().is_loopback()
        {
            raw.missing_token(address);
        }
        if let (Some(_), Some(switches)) = (&allow_groups, plugins)
            && !(switches.acl && switches.key_auth)
        {
            raw.refuse(
                "allow-groups",
                "this needs the plugins key-auth and acl; --plugins leaves one of them out",
            );
        }
        raw.finish()?;

        // `finish` has returned every fault, and a required value is absent only with a fault.
        let complete = (|| {
            Some(Self {
                proxy_listen: proxy_listen?,
                admin_listen: admin_listen?,
                admin_token,
                database: database?,
                workers: workers.unwrap_or_else(parse::cores),
                upstream,
                cache_size: cache_size?,
                ttl,
                neg_ttl,
                max_staleness,
                allow_groups,
                warm_up,
                plugins: plugins?,
                node_id,
                log: log?,
                log_format: log_format?,
                limits: limits?,
            })
        })();
        complete.ok_or(SettingsError::Faults(Vec::new()))
    }
}

impl Default for Settings {
    /// What a program runs with that is told nothing.
    fn default() -> Self {
        // The defaults are values of this crate's own table; a test resolves them.
        Self::resolve(["tidings"], |_| None).expect("the defaults are allowed values")
    }
}

impl Limits {
    fn from_layers(raw: &mut Layers<'_>) -> Option<Self> {
        let header_size = raw.required("header-size", parse::header_size);
        let header_timeout = raw.required("header-timeout", parse::timeout);
        let idle_timeout = raw.required("idle-timeout", parse::timeout);
        let body_timeout = raw.required("body-timeout", parse::timeout);
        let connect_timeout = raw.required("connect-timeout", parse::timeout);
        let upstream_timeout = raw.required("upstream-timeout", parse::timeout);
        let drain_timeout = raw.required("drain-timeout", parse::drain_timeout);
        Some(Self {
            header_size: header_size?,
            header_timeout: header_timeout?,
            idle_timeout: idle_timeout?,
            body_timeout: body_timeout?,
            connect_timeout: connect_timeout?,
            upstream_timeout: upstream_timeout?,
            drain_timeout: drain_timeout?,
        })
    }
}
