//! The types of settings that are not plain values.

use std::{fmt, time::Duration};

use http::HeaderName;

/// How nodes learn of each other's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cluster {
    /// There are no other nodes.
    None,
    /// From the log in their PostgreSQL database.
    Postgres,
    /// From the log in their SQLite file, as processes on one host.
    Sqlite,
    /// From the log in their PostgreSQL database; NATS at this address wakes them.
    #[cfg(feature = "nats")]
    Nats(Secret),
    /// From the log in their PostgreSQL database; Redis at this address wakes them.
    #[cfg(feature = "redis")]
    Redis(Secret),
}

/// The built-in plugins that run. The acl plugin needs to know the consumer, so it never runs
/// without key-auth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// None: every request passes.
    None,
    /// Requests need an API key.
    KeyAuth,
    /// Requests need an API key and, if `--allow-groups` is set, membership in one of the groups.
    KeyAuthAndAcl,
}

impl BuiltIn {
    /// Returns whether requests need an API key.
    #[must_use]
    pub const fn asks_for_key(self) -> bool {
        match self {
            Self::None => false,
            Self::KeyAuth | Self::KeyAuthAndAcl => true,
        }
    }

    /// Returns whether the groups of a consumer are compared with those that are allowed.
    #[must_use]
    pub const fn asks_for_groups(self) -> bool {
        match self {
            Self::None | Self::KeyAuth => false,
            Self::KeyAuthAndAcl => true,
        }
    }
}

/// What happens to the API key in the request to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForwarding {
    /// It stays where it is, and `X-API-Key` repeats it.
    Forwarded,
    /// Header, query argument and `X-API-Key` are removed.
    Hidden,
}

/// The form in which the database stores an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStorage {
    /// The key itself.
    Plain,
    /// A digest, from which the key cannot be recovered. The key is shown once, when it is set.
    Digest,
}

/// The format of log lines on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether each request is logged to standard error, and in which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Not at all.
    Off,
    /// One line of text for each request.
    Text,
    /// One JSON object for each request.
    Json,
}

/// The upstream to which requests are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// The host, as a name or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The value of the `Host` header.
    pub authority: String,
}

/// Where the admin side of a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminAddress {
    pub(crate) server: UpstreamAddress,
    /// The prefix of its paths, without a slash at the end.
    pub(crate) prefix: String,
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.server.authority, self.prefix)
    }
}

/// The names of headers and query arguments that may carry an API key; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNames(Box<[KeyName]>);

/// A name under which a request may carry its API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    /// As a header, in any case.
    pub(crate) header: HeaderName,
    /// As a query argument, exactly as it was given.
    pub(crate) argument: Box<str>,
}

impl KeyNames {
    /// Makes them of these names; `None` if there is none, or one that no header can have.
    #[must_use]
    pub fn new<N: AsRef<str>>(names: &[N]) -> Option<Self> {
        let mut all: Vec<KeyName> = Vec::new();
        for name in names {
            let name = KeyName {
                header: HeaderName::try_from(name.as_ref()).ok()?,
                argument: name.as_ref().into(),
            };
            if !all.iter().any(|other| other.header == name.header) {
                all.push(name);
            }
        }

        (!all.is_empty()).then(|| Self(all.into()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeyName> {
        self.0.iter()
    }
}

impl fmt::Display for KeyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", name.argument)?;
        }
        Ok(())
    }
}

/// A text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself.
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

/// Returns a duration as an option spells it, for messages.
pub(crate) fn spelled(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(unit, _)| millis.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}
