//! The bytes of a wake-up, and where it is published.

use std::fmt;

use tidings_core::entropy::{Entropy as _, SystemEntropy};

use crate::error::CarrierError;

/// The version that this release writes.
const VERSION: &str = "1";
const LONGEST_NAME: usize = 128;

/// Returns where the wake-ups of a cluster are published.
pub(crate) fn subject(cluster: &str) -> Result<String, CarrierError> {
    let fits = |part: &str| {
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !part.is_empty() && part.chars().all(of_a_name)
    };
    if cluster.len() > LONGEST_NAME || !cluster.split('.').all(fits) {
        return Err(CarrierError::Name(cluster.to_owned()));
    }
    Ok(format!("tidings.{cluster}"))
}

/// The wake-up of one sender, and what tells it from those of others.
#[derive(Clone)]
pub(crate) struct WakeUp(String);

impl WakeUp {
    /// Makes that of a new sender.
    pub(crate) fn of_a_new_sender() -> Self {
        Self::of(SystemEntropy.uuid().as_u128())
    }

    fn of(sender: u128) -> Self {
        Self(format!("{VERSION} {sender:032x}"))
    }

    pub(crate) fn payload(&self) -> &str {
        &self.0
    }

    /// Returns whether a payload is this sender's own. One that cannot be read is not.
    pub(crate) fn is(&self, payload: &[u8]) -> bool {
        payload == self.0.as_bytes()
    }
}

impl fmt::Debug for WakeUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_version_one() {
        let wake_up = WakeUp::of(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(wake_up.payload(), "1 0123456789abcdef0123456789abcdef");
        assert_eq!(subject("shop.eu").expect("a name"), "tidings.shop.eu");
    }

    #[test]
    fn only_its_own_payload_is_passed_over() {
        let (one, other) = (WakeUp::of(1), WakeUp::of(2));
        assert!(one.is(one.payload().as_bytes()));
        for payload in [other.payload().as_bytes(), b"", b"2 new", b"\xff"] {
            assert!(!one.is(payload));
        }
    }

    #[test]
    fn a_name_that_would_change_the_subject_is_refused() {
        let long = "a".repeat(129);
        for name in [
            "", ".", "a.", ".a", "a..b", "a*", ">", "a b", "a\r\nPUB", "\u{e4}", &long,
        ] {
            let refused = subject(name).expect_err(name);
            assert!(refused.to_string().contains("must be"), "{refused}");
        }
    }
}
