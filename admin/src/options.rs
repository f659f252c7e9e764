//! [`AdminOptions`]: how an admin API behaves.

use std::{fmt, sync::Arc, time::Duration};

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
    pub(crate) after_timeout: Duration,
    pub(crate) hosts: Vec<String>,
    pub(crate) null_names: Vec<(String, String)>,
    pub(crate) digests: Vec<Digested>,
    pub(crate) listed: ListedSecrets,
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
            after_timeout: Duration::from_secs(1),
            hosts: Vec::new(),
            null_names: Vec::new(),
            digests: Vec::new(),
            listed: ListedSecrets::Masked,
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

    /// Shows secrets in lists as in the answer of one row; by default lists mask them.
    pub fn list_secrets(mut self) -> Self {
        self.listed = ListedSecrets::Shown;
        self
    }

    /// Stores a digest in place of the texts of a field, which then are shown once, by the answer
    /// to the request that set them. Paths and arguments name rows by the text all the same.
    ///
    /// The function gives one digest for each text, whenever and wherever it is called. It applies
    /// to this API alone: rows that are written otherwise are stored as they are.
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

    /// Sets how long a request with `X-Tidings-After` waits for the node to catch up, before it is
    /// answered 503; 1 s by default.
    pub fn after_timeout(mut self, timeout: Duration) -> Self {
        self.after_timeout = timeout;
        self
    }

    /// Sets how long a body may take to arrive; a slower one is answered 408.
    pub fn body_patience(mut self, patience: Duration) -> Self {
        self.body_patience = patience;
        self
    }
}

/// What lists show of secrets.
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
