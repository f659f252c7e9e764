//! Digests in place of API keys: what the database and the cache hold when keys are hashed.
//!
//! A digest is `sha256-` and 64 hexadecimal digits. Keys are random and long, or should be, so one
//! round of SHA-256 without a salt is enough and lets a key be looked up; it is no protection for
//! keys that people could guess. A digest is never accepted as a key, on any node, whether or not
//! that node hashes keys. So reading the database gives no one access.

use sha2::{Digest as _, Sha256};
use tidings::{
    Entity as _, Node, PageQuery, Patch, WriteOptions,
    store::{Error, Selector},
};

use crate::entities::KeyAuthCredential;

const PREFIX: &str = "sha256-";
/// How many credentials are read at a time.
const PAGE: usize = 500;

/// Returns the digest of a key.
pub(crate) fn of(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let mut text = String::with_capacity(PREFIX.len() + 2 * digest.len());
    text.push_str(PREFIX);
    for byte in digest {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

/// Returns whether a text has the form of a digest.
pub(crate) fn is_one(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX);
    digits.is_some_and(|digits| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.len() == 64 && digits.bytes().all(is_digit)
    })
}

/// Replaces every key that is stored in plain text by its digest. Returns how many were replaced.
///
/// This cannot be undone. A key that another program changes at the same time is left alone; the
/// next start finds it.
///
/// # Errors
///
/// The database cannot be read or written. What was replaced before stays replaced.
pub(crate) async fn replace_keys(node: &Node) -> Result<u64, Error> {
    let credentials = node.table(KeyAuthCredential::NAME)?;
    let schema = credentials.schema();
    let Some((field, _)) = schema.field("key") else {
        return Ok(0);
    };
    let mut replaced = 0;
    let mut query = PageQuery::new().size(PAGE);

    loop {
        let page = credentials.page(query.clone()).await?;
        for row in page.data {
            let key = row.0[field].clone();
            let text = key.to_text();
            if key.is_null() || is_one(&text) {
                continue;
            }
            let selector = Selector::primary_key(schema.key_of(&row)).and("key", key);
            let patch = Patch::new().with("key", of(&text));
            let updated = credentials.update(selector, patch, WriteOptions::default());
            replaced += u64::from(updated.await?.is_some());
        }

        match page.offset {
            Some(offset) => query = query.offset(offset),
            None => return Ok(replaced),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_known_by_its_form() {
        let digest = of("abcd");
        assert_eq!(
            digest,
            "sha256-88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"
        );
        assert!(is_one(&digest));
        for other in [
            "",
            "abcd",
            &digest[1..],
            &digest[..70],
            &digest.to_uppercase(),
        ] {
            assert!(!is_one(other), "{other}");
        }
    }
}
