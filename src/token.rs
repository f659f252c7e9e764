//! [`Token`]: names a commit to clients, so that they can ask for nothing older.
//!
//! A token is a text that is signed with a key from the database, so it can be checked by every
//! node on that database and made up by no one else. It names a commit of an epoch: of the log's
//! where the database keeps one, else of one start of the node.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidings_core::log::{Epoch, Mark};
use tidings_store::DatabaseKey;
use uuid::Uuid;

/// The form that is written, and the only one that is read.
const VERSION: u8 = 1;
/// Version, origin, epoch and number.
const NAMED: usize = 1 + 1 + 8 + 16 + 8;
/// The part of the signature that is kept.
const SIGNATURE: usize = 16;
/// What the key of tokens is derived for.
const PURPOSE: &[u8] = b"tidings token 1";

/// Names a commit: an opaque text, valid on every node of the same database. It fits a header and a
/// query as it is.
///
/// # Examples
///
/// ```
/// use tidings::Token;
///
/// assert!("made up".parse::<Token>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

/// A text is not a token of this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It has not the form of one.
    #[error("this is not a position: expected one as a write has returned it")]
    Malformed,
    /// It was signed with another key: it is of another database, or was made up.
    #[error("this position is not one of this cluster")]
    Foreign,
}

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) origin: Origin,
    pub(crate) mark: Mark,
}

/// Who has counted the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A node without a log, for itself.
    Node,
    /// The database's log.
    Log,
}

/// Signs tokens, and checks them.
#[derive(Clone)]
pub(crate) struct Seal(Hmac<Sha256>);

impl Seal {
    pub(crate) fn new(key: &DatabaseKey) -> Self {
        let derived = keyed(key.expose()).chain_update(PURPOSE).finalize();
        Self(keyed(&derived.into_bytes()))
    }

    /// Makes the token of a position.
    pub(crate) fn token(&self, position: Position) -> Token {
        let mut bytes = Vec::with_capacity(NAMED + SIGNATURE);
        bytes.push(VERSION);
        bytes.push(match position.origin {
            Origin::Node => 0,
            Origin::Log => 1,
        });
        let epoch = position.mark.epoch();
        bytes.extend(epoch.number.to_be_bytes());
        bytes.extend(epoch.id.into_bytes());
        bytes.extend(position.mark.number().to_be_bytes());

        let signature = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(&signature[..SIGNATURE]);
        Token(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Returns what a token names, if it was signed with this key.
    pub(crate) fn open(&self, token: &Token) -> Result<Position, TokenError> {
        let bytes = decoded(&token.0)?;
        let (named, signature) = bytes.split_at(NAMED);
        let signed = self.0.clone().chain_update(named);
        let checked = signed.verify_truncated_left(signature);
        checked.map_err(|_| TokenError::Foreign)?;

        let (head, rest) = named.split_at(2);
        let origin = match head[1] {
            0 => Origin::Node,
            1 => Origin::Log,
            _ => return Err(TokenError::Malformed),
        };
        let (epoch, rest) = rest.split_at(8);
        let (id, number) = rest.split_at(16);
        let id = Uuid::from_slice(id).map_err(|_| TokenError::Malformed)?;
        let epoch = Epoch::new(be(epoch)?, id);
        Ok(Position {
            origin,
            mark: Mark::new(epoch, be(number)?),
        })
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // An HMAC takes a key of any length.
    Hmac::new_from_slice(key).expect("a key of any length")
}

fn be(bytes: &[u8]) -> Result<u64, TokenError> {
    let bytes = bytes.try_into().map_err(|_| TokenError::Malformed)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Decodes a text of the right form and version.
fn decoded(text: &str) -> Result<[u8; NAMED + SIGNATURE], TokenError> {
    let mut bytes = [0; NAMED + SIGNATURE];
    let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
    let fits = decoded == Ok(bytes.len()) && bytes[0] == VERSION;
    fits.then_some(bytes).ok_or(TokenError::Malformed)
}

impl Token {
    /// Returns its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Reads a token's text. Whether it is one of this database is told by the node that it is
    /// given to.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        decoded(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: u8) -> Seal {
        Seal(keyed(&[key; 32]))
    }

    fn position(origin: Origin) -> Position {
        let epoch = Epoch::new(1_790_000_000, Uuid::from_u128(7));
        Position {
            origin,
            mark: Mark::new(epoch, u64::MAX - 3),
        }
    }

    #[test]
    fn a_token_comes_back_as_what_it_names() {
        for origin in [Origin::Node, Origin::Log] {
            let token = seal(1).token(position(origin));
            let read = token.as_str().parse().expect("the text of a token");
            assert_eq!(seal(1).open(&read), Ok(position(origin)));
        }
    }

    #[test]
    fn a_changed_token_and_one_of_another_key_are_refused() {
        let token = seal(1).token(position(Origin::Log));
        assert_eq!(seal(2).open(&token), Err(TokenError::Foreign));
        let bytes = decoded(token.as_str()).expect("a token");
        for index in 0..bytes.len() {
            let mut changed = bytes;
            changed[index] ^= 1;
            let text = URL_SAFE_NO_PAD.encode(changed);
            let opened = text.parse().and_then(|token| seal(1).open(&token));
            assert!(opened.is_err(), "byte {index}");
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_refused() {
        let token = seal(1).token(position(Origin::Node)).to_string();
        let (cut, longer) = (&token[..token.len() - 1], format!("{token}A"));
        for text in [
            "",
            "abc",
            cut,
            &longer,
            &format!("{token}="),
            &token.replace(&token[..1], " "),
        ] {
            assert_eq!(
                text.parse::<Token>(),
                Err(TokenError::Malformed),
                "{text:?}"
            );
        }
    }
}
