//! [`AdminOptions`]: how an admin API behaves.

use std::{fmt, time::Duration};

use crate::{Metrics, Readiness};

/// How an admin API behaves.
///
/// # Examples
///
/// ```
/// use tidings_admin::AdminOptions;
///
/// let options = AdminOptions::new().token("s3cret").body_limit(64 * 1024);
/// assert!(!format!("{options:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct AdminOptions {
    pub(crate) token: Option<String>,
    pub(crate) body_limit: usize,
    pub(crate) body_patience: Duration,
    pub(crate) hosts: Vec<String>,
    pub(crate) null_names: Vec<(String, String)>,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
}

impl AdminOptions {
    /// Makes the defaults: no token, bodies of up to 1 MiB that arrive within 30 seconds.
    pub fn new() -> Self {
        Self {
            token: None,
            body_limit: 1024 * 1024,
            body_patience: Duration::from_secs(30),
            hosts: Vec::new(),
            null_names: Vec::new(),
            readiness: Readiness::new(),
            metrics: Metrics::new(),
        }
    }

    /// Asks every request for `Authorization: Bearer` and this token. An empty token is never
    /// matched, so it shuts the API.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Adds a name that the API answers to without a token, besides the loopback ones; without a
    /// port.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Accepts `null` under a name that is no field of an entity, as rows hold it that were copied
    /// from elsewhere. Any other value there is refused like every unknown field.
    pub fn accept_null(mut self, entity: impl Into<String>, name: impl Into<String>) -> Self {
        self.null_names.push((entity.into(), name.into()));
        self
    }

    /// Sets what `/readyz` tells, besides the state of the database.
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Sets what `/metrics` tells.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets the most bytes of a body; a longer one is answered 413.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets how long a body may take to arrive; a slower one is answered 408.
    pub fn body_patience(mut self, patience: Duration) -> Self {
        self.body_patience = patience;
        self
    }
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AdminOptions {
    /// Shows whether there is a token, and not the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminOptions")
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("body_limit", &self.body_limit)
            .field("body_patience", &self.body_patience)
            .field("hosts", &self.hosts)
            .field("null_names", &self.null_names)
            .field("readiness", &self.readiness)
            .field("metrics", &self.metrics)
            .finish()
    }
}
