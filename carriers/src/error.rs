//! [`CarrierError`]: why the settings of a carrier are not valid.

/// Why the settings of a carrier are not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// The address of the broker is not valid.
    #[error("the address of the broker is not {expected}")]
    Address {
        /// The form that it must have.
        expected: &'static str,
        /// The error of the broker's client library. It does not repeat the address, which may hold
        /// a password.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The cluster's name cannot be part of a subject.
    #[error(
        "the name of the cluster is {0:?}; it must be 1 to 128 letters, digits, hyphens, underscores and dots, \
         with no dot at either end and no two together"
    )]
    Name(String),
    /// The carrier was made outside a tokio runtime.
    #[error("a carrier needs a tokio runtime for its connection: make it inside one")]
    NoRuntime,
}
