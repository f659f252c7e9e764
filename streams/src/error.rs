//! [`StreamError`]: why the settings of a stream are not valid.

/// Why the settings of a stream are not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The address of the server is not valid.
    #[error("the address of the server is not {expected}")]
    Address {
        /// The form that it must have.
        expected: &'static str,
        /// The error of the server's client library. It does not repeat the address, which may hold
        /// a password.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The cluster's name cannot be part of a stream's name.
    #[error(
        "the name of the cluster is {0:?}; it must be 1 to 128 letters, digits, hyphens and underscores"
    )]
    Name(String),
    /// The cluster's key is too short.
    #[error("the cluster's key has {0} bytes; it must have at least {least}", least = crate::secret::SHORTEST)]
    Key(usize),
    /// The maximum size of a record is out of range.
    #[error("a record may have {0} bytes; that limit must be 1 KiB to 1 MiB")]
    Limit(usize),
    /// The number of remembered digests is out of range.
    #[error("{0} keys with secrets are remembered; that must be 1 to 16,777,216")]
    Remembered(usize),
    /// The number of replicas is out of range.
    #[error("{0} servers are to keep the stream; that must be 1 to 5")]
    Replicas(u8),
}
