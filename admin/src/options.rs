//! [`AdminOptions`]: the options of an admin API.

use std::{fmt, sync::Arc, time::Duration};

use crate::{Metrics, Readiness};

/// The options of an admin API.
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
    pub(crate) after_timeout: Duration,
    pub(crate) hosts: Vec<String>,
    pub(crate) null_names: Vec<(String, String)>,
    pub(crate) digests: Vec<Digested>,
    pub(crate) listed: ListedSecrets,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
}

impl AdminOptions {
    /// Returns the default options: no token, bodies of up to 1 MiB that arrive within 30 seconds.
    pub fn new() -> Self {
        Self {
            token: None,
            body_limit: 1024 * 1024,
            body_patience: Duration::from_secs(30),
            after_timeout: Duration::from_secs(1),
            hosts: Vec::new(),
            null_names: Vec::new(),
            digests: Vec::new(),
            listed: ListedSecrets::Masked,
            readiness: Readiness::new(),
            metrics: Metrics::new(),
        }
    }

    /// Requires `Authorization: Bearer` and this token on every request. An empty token never
    /// matches, so it closes the API.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Adds a host name, without a port, under which the API answers without a token, besides the
    /// loopback names.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Accepts `null` under a name that is not a field of an entity, because rows that were copied
    /// from elsewhere may contain it. Any other value is refused like an unknown field.
    pub fn accept_null(mut self, entity: impl Into<String>, name: impl Into<String>) -> Self {
        self.null_names.push((entity.into(), name.into()));
        self
    }

    /// Shows secrets in lists, as in the answer with one row. By default lists mask them.
    pub fn list_secrets(mut self) -> Self {
        self.listed = ListedSecrets::Shown;
        self
    }

    /// Stores digests in place of a field's texts. A text is then shown once, in the answer to the
    /// request that sets it. Paths and arguments still name rows by the text.
    ///
    /// The function must return the same digest for the same text at every call, on every node. It
    /// applies to this API only: rows that are written in another way are stored as they are.
    pub fn digest(
        mut self,
        entity: impl Into<String>,
        field: impl Into<String>,
        digest: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        self.digests.push(Digested {
            entity: entity.into(),
            field: field.into(),
            digest: Arc::new(digest),
        });
        self
    }

    /// Sets the readiness that `/readyz` reports, besides the state of the database.
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Sets the metrics that `/metrics` shows.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Sets the maximum size of a body in bytes; a longer one gets a 413.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets how long a request with `X-Tidings-After` waits for the node to catch up before it gets
    /// a 503; 1 s by default.
    pub fn after_timeout(mut self, timeout: Duration) -> Self {
        self.after_timeout = timeout;
        self
    }

    /// Sets how long a body may take to arrive; a slower one gets a 408.
    pub fn body_patience(mut self, patience: Duration) -> Self {
        self.body_patience = patience;
        self
    }
}

/// Whether lists show secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListedSecrets {
    Masked,
    Shown,
}

/// Makes the digest of a text.
pub(crate) type Digest = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// A field whose texts are stored as digests.
#[derive(Clone)]
pub(crate) struct Digested {
    pub(crate) entity: String,
    pub(crate) field: String,
    pub(crate) digest: Digest,
}

impl fmt::Debug for Digested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entity, self.field)
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
            .field("after_timeout", &self.after_timeout)
            .field("hosts", &self.hosts)
            .field("null_names", &self.null_names)
            .field("digests", &self.digests)
            .field("listed", &self.listed)
            .field("readiness", &self.readiness)
            .field("metrics", &self.metrics)
            .finish()
    }
}
