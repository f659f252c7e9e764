//! The table of options, and what each layer says of them.

use std::{ffi::OsString, fmt::Write as _, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Fault, Raw, SettingsError, Source, file, parse};

/// One option: a flag `--name`, a variable `TIDINGS_NAME` and a key `name`.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    value: &'static str,
    /// As it would be written in the file; empty if there is none.
    default: &'static str,
    help: &'static str,
    /// What a value may be, as a refusal says it.
    pub(super) allowed: &'static str,
    secret: bool,
    advanced: bool,
}

const fn spec(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
    allowed: &'static str,
) -> Spec {
    Spec {
        name,
        value,
        default,
        help,
        allowed,
        secret: false,
        advanced: false,
    }
}

const fn advanced(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
    allowed: &'static str,
) -> Spec {
    Spec {
        name,
        value,
        default,
        help,
        allowed,
        secret: false,
        advanced: true,
    }
}

const ADDRESS: &str =
    "a host and a port, as 127.0.0.1:8000, [::1]:8000 or localhost:8000; port 0 picks a free one";
const DURATION: &str = "a duration as 500ms, 5s, 1m or 2h; 0 for none";
const TIMEOUT: &str = "a duration above zero and up to 24h, as 500ms, 5s or 1m";

/// The options, in the order of the help.
pub(super) const OPTIONS: [Spec; 24] = [
    spec(
        "proxy-listen",
        "ADDRESS",
        "127.0.0.1:8000",
        "Where clients come in",
        ADDRESS,
    ),
    spec(
        "admin-listen",
        "ADDRESS",
        "127.0.0.1:8001",
        "Where the admin API listens; off loopback it demands --admin-token",
        ADDRESS,
    ),
    Spec {
        secret: true,
        ..spec(
            "admin-token",
            "SECRET",
            "",
            "Ask for `Authorization: Bearer SECRET` on the admin API",
            "1 to 1024 visible ASCII characters without spaces",
        )
    },
    spec(
        "database",
        "URL",
        "sqlite://tidings.db",
        "Where entities are stored: a SQLite file, made if absent, or sqlite::memory:",
        "sqlite://PATH or sqlite::memory:",
    ),
    spec(
        "cluster",
        "URL",
        "none",
        "How nodes hear of each other's changes; this release runs single nodes",
        "none",
    ),
    spec(
        "workers",
        "N",
        "",
        "How many workers, each one thread with its own event loop and L1 [default: the number of cores]",
        "a whole number from 1 to 256",
    ),
    spec(
        "upstream",
        "URL",
        "",
        "Where requests are passed on to [default: a built-in echo that answers 200 with the request as JSON]",
        "http://HOST or http://HOST:PORT, without a path",
    ),
    spec(
        "cache-size",
        "SIZE",
        "128m",
        "The byte budget of the node's cache",
        "a size of at least 64k, in bytes or as 512k, 128m or 1g",
    ),
    spec(
        "ttl",
        "DURATION",
        "0",
        "How long a cached row lives; 0 for as long as it is not invalidated",
        DURATION,
    ),
    spec(
        "neg-ttl",
        "DURATION",
        "0",
        "How long a cached absence lives; 0 for as long as it is not invalidated",
        DURATION,
    ),
    spec(
        "max-staleness",
        "DURATION",
        "0",
        "How long this node may serve what it cannot prove to be current; 0 for no bound. A single node is always current: this matters with a cluster",
        DURATION,
    ),
    spec(
        "allow-groups",
        "A,B",
        "",
        "acl plugin: only consumers in one of these groups pass [default: everyone with a key]",
        "one group or more, separated by commas",
    ),
    spec(
        "warm-up",
        "A,B",
        "",
        "Entities to read into the cache before the first request [default: none]",
        "consumers, keyauth_credentials, or both, separated by commas",
    ),
    spec(
        "plugins",
        "A,B",
        "key-auth,acl",
        "The plugins to run, separated by commas, or none",
        "key-auth, acl (which needs key-auth), or none",
    ),
    spec(
        "node-id",
        "ID",
        "",
        "The name of this node [default: made anew at each start]",
        "1 to 64 letters, digits, dots, dashes and underscores",
    ),
    spec(
        "log",
        "FILTER",
        "info",
        "Which log lines are written to standard error; RUST_LOG is heard too",
        "off, error, warn, info, debug, trace, or directives as RUST_LOG takes them (warn,tidings_cache=debug)",
    ),
    spec(
        "log-format",
        "FORMAT",
        "text",
        "How log lines are written",
        "text or json",
    ),
    advanced(
        "header-size",
        "SIZE",
        "64k",
        "The largest head of a request; beyond it 431",
        "a size from 8k to 1m",
    ),
    advanced(
        "header-timeout",
        "DURATION",
        "10s",
        "How long a client may take to send the head of a request",
        TIMEOUT,
    ),
    advanced(
        "idle-timeout",
        "DURATION",
        "75s",
        "How long a connection may lie idle between requests",
        TIMEOUT,
    ),
    advanced(
        "body-timeout",
        "DURATION",
        "60s",
        "How long a client may pause while it sends a body or takes an answer",
        TIMEOUT,
    ),
    advanced(
        "connect-timeout",
        "DURATION",
        "5s",
        "How long connecting to the upstream may take; beyond it 504",
        TIMEOUT,
    ),
    advanced(
        "upstream-timeout",
        "DURATION",
        "60s",
        "How long the upstream may take to begin its answer (beyond it 504), and between two parts of it",
        TIMEOUT,
    ),
    advanced(
        "drain-timeout",
        "DURATION",
        "10s",
        "How long running requests may take to finish on SIGTERM or SIGINT",
        "a duration above zero and up to 10s, as 500ms or 5s",
    ),
];

impl Spec {
    pub(super) fn variable(&self) -> String {
        format!(
            "TIDINGS_{}",
            self.name.replace('-', "_").to_ascii_uppercase()
        )
    }

    fn arg(&self) -> Arg {
        let mut help = self.help.to_owned();
        if !self.default.is_empty() {
            write!(help, " [default: {}]", self.default).unwrap_or_default();
        }
        let long = format!(
            "{help}\n\nAllowed: {}. Also {}",
            self.allowed,
            self.variable()
        );
        Arg::new(self.name)
            .long(self.name)
            .value_name(self.value)
            .help(help)
            .long_help(long)
            .help_heading(if self.advanced {
                "Advanced options"
            } else {
                "Options"
            })
            .value_parser(clap::value_parser!(OsString))
            .allow_hyphen_values(false)
            .action(ArgAction::Set)
            .global(true)
    }
}

pub(super) fn find(name: &str) -> Option<&'static Spec> {
    OPTIONS.iter().find(|spec| spec.name == name)
}

/// The arguments, with `--name -1` written as `--name=-1`: so that the refusal names the option and what is
/// allowed, where clap would take `-1` for a flag and say nothing of either.
pub(super) fn with_negative_values<A>(args: A) -> Vec<OsString>
where
    A: IntoIterator,
    A::Item: Into<OsString>,
{
    let mut joined: Vec<OsString> = Vec::new();
    for arg in args {
        let arg = arg.into();
        let negative = arg.to_str().is_some_and(|text| {
            text.strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        });
        let option = joined
            .last_mut()
            .filter(|last| negative && is_flag_of_ours(last));
        match option {
            Some(option) => {
                option.push("=");
                option.push(arg);
            }
            None => joined.push(arg),
        }
    }
    joined
}

fn is_flag_of_ours(arg: &OsString) -> bool {
    arg.to_str()
        .and_then(|text| text.strip_prefix("--"))
        .is_some_and(|name| find(name).is_some())
}

/// The command line.
pub(super) fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("A TOML file with these options as keys (without the dashes in front)")
        .long_help("A TOML file with these options as keys (without the dashes in front).\n\nAlso TIDINGS_CONFIG")
        .value_parser(clap::value_parser!(OsString))
        .global(true);
    Command::new("tidings")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A gateway that checks API keys through a cache that stays coherent")
        .after_help(
            "Each option is also an environment variable (--proxy-listen is TIDINGS_PROXY_LISTEN) and a key of the \
             --config file.\nA flag goes before its variable, that before the file, and that before the default.",
        )
        .arg(config)
        .args(OPTIONS.iter().map(Spec::arg))
        .subcommand(Command::new("serve").about("Runs the gateway; this is what happens without a command too"))
        .disable_help_subcommand(true)
}

/// What flags, variables and the file say, and the faults found so far.
pub(super) struct Layers<'a> {
    flags: &'a ArgMatches,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    file: Vec<(&'static str, Raw)>,
    faults: Vec<Fault>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(flags: &'a ArgMatches, env: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self {
            flags,
            env,
            file: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The path of the file of settings.
    pub(super) fn config(&self) -> Option<OsString> {
        self.flags
            .get_one::<OsString>("config")
            .cloned()
            .or_else(|| (self.env)("TIDINGS_CONFIG").filter(|path| !path.is_empty()))
    }

    pub(super) fn read_file(&mut self, path: &Path) {
        match file::read(path) {
            Ok(keys) => self.file = keys,
            Err(faults) => self.faults.extend(faults),
        }
    }

    /// A value that has a default.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Raw) -> Result<T, parse::Wrong>,
    ) -> Option<T> {
        let raw = self.raw(name).unwrap_or_else(|| {
            let default = find(name).map_or("", |spec| spec.default);
            Raw::text(default, Source::Default)
        });
        self.parsed(name, &raw, parse)
    }

    /// A value that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Raw) -> Result<T, parse::Wrong>,
    ) -> Option<T> {
        let raw = self.raw(name)?;
        self.parsed(name, &raw, parse)
    }

    /// The log filter: `RUST_LOG` stands between `TIDINGS_LOG` and the file.
    pub(super) fn log_filter(&mut self) -> Option<String> {
        let own = self.raw("log");
        let from_file = matches!(
            own.as_ref().map(|raw| &raw.source),
            Some(Source::File { .. })
        );
        if own.is_none() || from_file {
            let rust_log = variable(self.env, "RUST_LOG");
            if let Some(raw) = rust_log {
                return self.parsed("log", &raw, parse::log_directives);
            }
        }
        self.required("log", parse::log_filter)
    }

    /// Refuses the value of an option for a reason that lies in another option.
    pub(super) fn refuse(&mut self, name: &'static str, reason: &str) {
        if let Some(raw) = self.raw(name) {
            self.faults
                .push(Fault::new(name, &raw, reason, self.secret(name)));
        }
    }

    pub(super) fn missing_token(&mut self, address: std::net::SocketAddr) {
        self.faults.push(Fault::other(format!(
            "--admin-token (TIDINGS_ADMIN_TOKEN, key admin-token) is not set: \
             the admin API at {address} can be reached from other machines, and is opened there only with a token"
        )));
    }

    pub(super) fn finish(&mut self) -> Result<(), SettingsError> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::Faults(std::mem::take(&mut self.faults)))
        }
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        raw: &Raw,
        parse: impl FnOnce(&Raw) -> Result<T, parse::Wrong>,
    ) -> Option<T> {
        let allowed = find(name).map_or("", |spec| spec.allowed);
        match parse(raw) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let reason = wrong.reason(allowed);
                self.faults
                    .push(Fault::new(name, raw, &reason, self.secret(name)));
                None
            }
        }
    }

    fn secret(&self, name: &str) -> bool {
        find(name).is_some_and(|spec| spec.secret)
    }

    fn raw(&self, name: &'static str) -> Option<Raw> {
        if let Some(value) = self.flags.get_one::<OsString>(name) {
            return Some(Raw::os(value, Source::Flag(format!("--{name}"))));
        }
        let spec = find(name)?;
        variable(self.env, &spec.variable()).or_else(|| {
            self.file
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, raw)| raw.clone())
        })
    }
}

/// An empty variable counts as unset: that is how compose files and unit files leave one out.
fn variable(env: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<Raw> {
    let value = env(name).filter(|value| !value.is_empty())?;
    Some(Raw::os(&value, Source::Variable(name.to_owned())))
}
