//! The bytes of a wake-up, and its subject.

use std::fmt;

use tidings_core::{
    entropy::{Entropy as _, SystemEntropy},
    log::Wake,
};

use crate::error::CarrierError;

/// The version that this release writes.
const VERSION: &str = "1";
/// The word with which a listener tests itself; other nodes ignore it.
const PROBE: &str = "probe";
/// The maximum length of a cluster's name, in bytes.
const LONGEST_NAME: usize = 128;

/// Returns the subject or channel of a cluster's wake-ups.
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

/// The beginning of one sender's wake-ups, which distinguishes them from those of others.
#[derive(Clone)]
pub(crate) struct WakeUp(String);

impl WakeUp {
    /// Makes the beginning for a new sender.
    pub(crate) fn of_a_new_sender() -> Self {
        Self::of(SystemEntropy.uuid().as_u128())
    }

    fn of(sender: u128) -> Self {
        Self(format!("{VERSION} {sender:032x}"))
    }

    /// Returns the bytes of a wake-up.
    pub(crate) fn payload(&self, wake: &Wake) -> String {
        match wake.word() {
            "" => self.0.clone(),
            word => format!("{} {word}", self.0),
        }
    }

    /// Returns the bytes with which this sender's node tests itself.
    pub(crate) fn probe(&self) -> String {
        format!("{} {PROBE}", self.0)
    }

    /// Returns whether a payload is this sender's own.
    pub(crate) fn is_own(&self, payload: &[u8]) -> bool {
        let text = std::str::from_utf8(payload).ok();
        let rest = text.and_then(|text| text.strip_prefix(&*self.0));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }

    /// Reads a payload: `None` if it is this sender's own, or the probe of another. A payload that
    /// cannot be read makes the node read the log.
    pub(crate) fn read(&self, payload: &[u8]) -> Option<Wake> {
        if self.is_own(payload) {
            return None;
        }
        let Ok(text) = std::str::from_utf8(payload) else {
            return Some(Wake::Look);
        };

        let mut parts = text.splitn(3, ' ');
        let (version, _sender) = (parts.next(), parts.next());
        match (version, parts.next()) {
            (Some(VERSION), Some(PROBE)) => None,
            (Some(VERSION), Some(word)) => Some(Wake::of_word(word)),
            _ => Some(Wake::Look),
        }
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
        let sent = "1 0123456789abcdef0123456789abcdef";
        assert_eq!(wake_up.payload(&Wake::Look), sent);
        assert_eq!(wake_up.payload(&Wake::Reported), format!("{sent} reported"));
        let sealed = Wake::of_word("c1.a-_Z9 c1.b");
        assert_eq!(wake_up.payload(&sealed), format!("{sent} c1.a-_Z9 c1.b"));
        assert_eq!(wake_up.probe(), format!("{sent} probe"));
        assert_eq!(subject("shop.eu").expect("a name"), "tidings.shop.eu");
    }

    #[test]
    fn only_its_own_payload_is_passed_over() {
        let (one, other) = (WakeUp::of(1), WakeUp::of(2));
        let sealed = Wake::of_word("c1.a c1.b");
        for wake in [Wake::Look, Wake::Reported, sealed] {
            assert_eq!(one.read(one.payload(&wake).as_bytes()), None);
            let read = one.read(other.payload(&wake).as_bytes());
            assert_eq!(read, Some(wake));
        }
    }

    #[test]
    fn a_probe_comes_back_to_its_sender_alone() {
        let (one, other) = (WakeUp::of(1), WakeUp::of(2));
        let probe = one.probe();
        assert!(one.is_own(probe.as_bytes()) && !other.is_own(probe.as_bytes()));
        assert!(!one.is_own(format!("{}0", one.0).as_bytes()));
        assert_eq!(one.read(probe.as_bytes()), None);
        assert_eq!(other.read(probe.as_bytes()), None);
    }

    #[test]
    fn a_payload_that_is_not_known_is_a_look() {
        let one = WakeUp::of(1);
        let other = WakeUp::of(2).payload(&Wake::Look);
        let later = [format!("{other} later"), format!("{other} reported more")];
        let more = [b"" as &[u8], b"2 new", b"2 x reported", b"\xff"];
        for payload in later.iter().map(String::as_bytes).chain(more) {
            assert_eq!(one.read(payload), Some(Wake::Look), "{payload:?}");
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
