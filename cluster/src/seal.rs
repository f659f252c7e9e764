//! [`Seal`]: signs the wake-ups of a cluster, and names cache keys in them by digests.
//!
//! Both are made with keys that are derived from the cluster's. So a broker and its users learn no
//! value, and a wake-up that comes from another cluster, or was made up, is recognised. One that is
//! repeated later is authentic all the same: what was evicted for it before is remembered, or its
//! commit is covered.
//!
//! A sealed commit is `c1.` and base64 (for URLs, without padding) of: the epoch's number (8 bytes)
//! and id (16), the commit's number (8), each key's digest (16), the id of the commit's record and
//! a zero if it has one (16 and 1, which a reader without support for ids takes for another
//! digest), and the first 16 bytes of an HMAC-SHA256 over all these. Numbers have their highest
//! byte first.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tidings_core::{
    CacheKey,
    log::{Digest, Epoch, Mark, Sealed, Wake},
};
use uuid::Uuid;

use crate::derived::DerivedKey;

/// What the keys are derived for.
const WAKE_UPS: &[u8] = b"tidings wake-up 1";
const DIGESTS: &[u8] = b"tidings digest 1";
/// Epoch and number.
const MARK: usize = 8 + 16 + 8;
const DIGEST: usize = 16;
/// The part of the signature that is kept.
const SIGNATURE: usize = 16;

/// Seals commits, and opens what others have sealed.
#[derive(Debug)]
pub(crate) struct Seal {
    wake_ups: DerivedKey,
    digests: DerivedKey,
}

impl Seal {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self {
            wake_ups: DerivedKey::new(key, WAKE_UPS),
            digests: DerivedKey::new(key, DIGESTS),
        }
    }

    pub(crate) fn digest(&self, key: &CacheKey) -> Digest {
        Digest(self.digests.first(key.as_bytes()))
    }

    /// Seals a commit; one with too many keys becomes a [`Wake::Look`].
    pub(crate) fn seal(&self, mark: Mark, keys: &[Digest]) -> Wake {
        if keys.len() > Wake::MOST_KEYS {
            return Wake::Look;
        }

        let mut bytes = Vec::with_capacity(MARK + keys.len() * DIGEST + SIGNATURE);
        bytes.extend(mark.epoch().number.to_be_bytes());
        bytes.extend(mark.epoch().id.into_bytes());
        bytes.extend(mark.number().to_be_bytes());
        bytes.extend(keys.iter().flat_map(|digest| digest.0));

        if let Some(id) = mark.id() {
            bytes.extend(id.into_bytes());
            bytes.push(0);
        }

        bytes.extend(self.wake_ups.first::<SIGNATURE>(&bytes));
        let text = format!("{}{}", Sealed::VERSION, URL_SAFE_NO_PAD.encode(bytes));
        Sealed::new(&text).map_or(Wake::Look, Wake::Sealed)
    }

    /// Returns the commit that a text names; `None` if it was not sealed with this cluster's key.
    pub(crate) fn open(&self, text: &str) -> Option<Wake> {
        let text = text.strip_prefix(Sealed::VERSION)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let named = bytes.len().checked_sub(SIGNATURE)?;
        let (named, signature) = bytes.split_at(named);
        if !self.wake_ups.has_signed(named, signature) {
            return None;
        }

        let (mark, keys) = named.split_at_checked(MARK)?;
        let (epoch, rest) = mark.split_at(8);
        let (id, number) = rest.split_at(16);
        let epoch = Epoch::new(
            u64::from_be_bytes(epoch.try_into().ok()?),
            Uuid::from_slice(id).ok()?,
        );
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let (digests, rest) = keys.as_chunks::<DIGEST>();
        let (digests, id) = match (rest, digests.split_last()) {
            ([0], Some((id, digests))) => (digests, Some(Uuid::from_bytes(*id))),
            _ => (digests, None),
        };
        Some(Wake::Committed {
            mark: Mark::new(epoch, number).with_id(id),
            keys: digests.iter().copied().map(Digest).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn mark() -> Mark {
        Mark::new(Epoch::new(3, Uuid::from_u128(5)), 1_000)
    }

    fn text_of(wake: &Wake) -> &str {
        assert!(matches!(wake, Wake::Sealed(_)), "{wake:?}");
        wake.word()
    }

    #[test]
    fn the_bytes_are_those_of_version_one() {
        let seal = Seal::new(&KEY);
        let digest = seal.digest(&CacheKey::new("consumers", &["anna"]));
        assert_eq!(
            u128::from_be_bytes(digest.0),
            0x6051af82_3b34c2a1_6fb53cfe_03f88cbe
        );
        let text = "c1.AAAAAAAAAAMAAAAAAAAAAAAAAAAAAAAFAAAAAAAAA-hgUa-COzTCoW-1P\
                    P4D-Iy-C3JoCH9XbvVZLTpJZxprdA";
        assert_eq!(text_of(&seal.seal(mark(), &[digest])), text);
    }

    #[test]
    fn commits_come_back_as_they_were() {
        let seal = Seal::new(&KEY);
        for count in [0, 1, Wake::MOST_KEYS] {
            let keys: Vec<_> = (0..count).map(|n| Digest([n as u8; 16])).collect();
            let sealed = seal.seal(mark(), &keys);
            let expected = Wake::Committed { mark: mark(), keys };
            assert_eq!(seal.open(text_of(&sealed)), Some(expected));

            let mark = mark().with_id(Uuid::from_u128(6));
            let keys: Vec<_> = (0..count).map(|n| Digest([n as u8; 16])).collect();
            let sealed = seal.seal(mark, &keys);
            let expected = Wake::Committed { mark, keys };
            assert_eq!(seal.open(text_of(&sealed)), Some(expected));
        }
        let too_many = [Digest([0; 16]); Wake::MOST_KEYS + 1];
        assert_eq!(seal.seal(mark(), &too_many), Wake::Look);
    }

    #[test]
    fn a_text_that_was_changed_cut_or_sealed_elsewhere_is_refused() {
        let seal = Seal::new(&KEY);
        let sealed = seal.seal(mark(), &[Digest([1; 16]), Digest([2; 16])]);
        let text = text_of(&sealed);
        assert_eq!(Seal::new(&[8; 32]).open(text), None);

        let bytes = URL_SAFE_NO_PAD.decode(&text[3..]).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            for bytes in [&changed, &bytes[..at]] {
                let text = format!("c1.{}", URL_SAFE_NO_PAD.encode(bytes));
                assert_eq!(seal.open(&text), None, "{at}");
            }
        }
        for text in ["", "c1.", "c1.a", "c2.AAAA", &text[..3]] {
            assert_eq!(seal.open(text), None, "{text}");
        }
    }
}
