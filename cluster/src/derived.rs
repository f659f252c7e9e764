//! [`DerivedKey`]: a key for one purpose, made of the cluster's.
//!
//! Its signatures and digests reveal nothing about the cluster's key, and differ from those that
//! another purpose makes of the same bytes. It is HMAC-SHA256, with the HMAC of the purpose under
//! the cluster's key as its key.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Signs, and makes digests.
#[derive(Clone)]
pub struct DerivedKey(Hmac<Sha256>);

impl DerivedKey {
    /// Derives a key from the cluster's, whatever its length.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cluster::DerivedKey;
    ///
    /// let [letters, digests] = [b"letters", b"digests"].map(|it| DerivedKey::new(b"key", it));
    /// let signature: [u8; 16] = letters.first(b"hello");
    /// assert!(letters.has_signed(b"hello", &signature));
    /// assert!(!digests.has_signed(b"hello", &signature));
    /// ```
    #[must_use]
    pub fn new(key: &[u8], purpose: &[u8]) -> Self {
        let derived = keyed(key).chain_update(purpose).finalize();
        Self(keyed(&derived.into_bytes()))
    }

    /// Returns the first `N` bytes, at most 32, of the HMAC of these bytes.
    ///
    /// # Panics
    ///
    /// `N` is more than 32.
    #[must_use]
    pub fn first<const N: usize>(&self, bytes: &[u8]) -> [u8; N] {
        let made = self.0.clone().chain_update(bytes).finalize().into_bytes();
        std::array::from_fn(|at| made[at])
    }

    /// Returns whether `signature` is the beginning of the HMAC of `bytes`. Takes as long for a
    /// wrong signature as for a right one.
    #[must_use]
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let made = self.0.clone().chain_update(bytes);
        made.verify_truncated_left(signature).is_ok()
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey(..)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // An HMAC takes a key of any length.
    Hmac::new_from_slice(key).expect("a key of any length")
}
