//! [`Token`]: names a commit to clients, so that they can ask for nothing older, and for the
//! changes after it.
//!
//! A token is text, signed with a key from the database. So every node on that database can check
//! it, and no one else can forge it. It names a commit and the commit's epoch. If the database
//! keeps a log, that is an epoch of the log; otherwise it is one start of the node. The token also
//! holds the place where a reader that knows the commit goes on. Tokens of version 1 lack this
//! place but are still accepted. Since version 3, the token of a log that may reuse its numbers
//! also holds the id of the commit's record. A token without the id is covered once its node has
//! checked the log.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tidings_cluster::DerivedKey;
use tidings_core::log::{Bookmark, Epoch, Mark, Resume};
use tidings_store::DatabaseKey;
use uuid::Uuid;

/// The form of a commit that has an id.
const WITH_ID: u8 = 3;
/// The form of a commit that has none.
const PLAIN: u8 = 2;
/// The form of earlier versions, which is accepted.
const BEFORE: u8 = 1;
/// Version, origin, epoch and number: all that a token of version 1 holds.
const NAMED: usize = 1 + 1 + 8 + 16 + 8;
/// How a reader resumes, and from which number.
const RESUME: usize = 1 + 8;
/// The id of the commit's record.
const ID: usize = 16;
/// The part of the signature that is kept.
const SIGNATURE: usize = 16;
/// The purpose that the key of tokens is derived for.
const PURPOSE: &[u8] = b"tidings token 1";
/// How many bytes a token has at most.
const MOST: usize = NAMED + RESUME + ID + SIGNATURE;

/// Names a commit: opaque text that is valid on every node of the same database. It fits into a
/// header or a query without encoding.
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

/// Why a text is not a token of this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The text does not have the form of a token.
    #[error("this is not a position: expected one that a write has returned")]
    Malformed,
    /// It was signed with another key: it comes from another database, or was forged.
    #[error("this position is not one of this cluster")]
    Foreign,
}

/// The commit that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) origin: Origin,
    pub(crate) mark: Mark,
    /// Where a reader that knows the commit resumes; `None` in a token of version 1.
    pub(crate) resume: Option<Resume>,
}

impl Position {
    /// Makes the position of a commit.
    pub(crate) fn at(origin: Origin, bookmark: Bookmark) -> Self {
        Self {
            origin,
            mark: bookmark.mark(),
            resume: Some(bookmark.resume()),
        }
    }

    /// Returns the commit with the place to resume from, if that is known.
    pub(crate) fn bookmark(&self) -> Option<Bookmark> {
        Some(Bookmark::new(self.mark, self.resume?))
    }
}

/// The source of the commit's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A node without a log, for itself.
    Node,
    /// The database's log.
    Log,
}

/// Signs tokens, and checks them.
#[derive(Clone)]
pub(crate) struct Seal(DerivedKey);

impl Seal {
    pub(crate) fn new(key: &DatabaseKey) -> Self {
        Self(DerivedKey::new(key.expose(), PURPOSE))
    }

    /// Makes the token of a position.
    pub(crate) fn token(&self, position: Position) -> Token {
        let mut bytes = Vec::with_capacity(MOST);
        let id = position.mark.id();
        bytes.push(if id.is_some() { WITH_ID } else { PLAIN });
        bytes.push(match position.origin {
            Origin::Node => 0,
            Origin::Log => 1,
        });

        let epoch = position.mark.epoch();
        bytes.extend(epoch.number.to_be_bytes());
        bytes.extend(epoch.id.into_bytes());
        bytes.extend(position.mark.number().to_be_bytes());

        let (how, number) = match position.resume {
            None => (0, 0),
            Some(Resume::Counted(number)) => (1, number),
            Some(Resume::Snapshot { xmin }) => (2, xmin),
            Some(Resume::Numbered { last, .. }) => (3, last),
        };
        bytes.push(how);
        bytes.extend(number.to_be_bytes());

        // A reader resumes at the same record.
        bytes.extend(id.into_iter().flat_map(Uuid::into_bytes));

        bytes.extend(self.0.first::<SIGNATURE>(&bytes));
        Token(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Returns what a token names, if it was signed with this key.
    pub(crate) fn open(&self, token: &Token) -> Result<Position, TokenError> {
        let bytes = decoded(&token.0)?;
        let signature = bytes.len().checked_sub(SIGNATURE);
        let signature = signature.ok_or(TokenError::Malformed)?;
        let (named, signature) = bytes.split_at(signature);
        if !self.0.has_signed(named, signature) {
            return Err(TokenError::Foreign);
        }

        let (named, resume) = named.split_at(NAMED);
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
        let (resume, id) = resume.split_at(RESUME.min(resume.len()));
        let id = match id {
            [] => None,
            id => Some(Uuid::from_slice(id).map_err(|_| TokenError::Malformed)?),
        };
        Ok(Position {
            origin,
            mark: Mark::new(epoch, be(number)?).with_id(id),
            resume: resume_of(resume, id)?,
        })
    }
}

fn resume_of(bytes: &[u8], id: Option<Uuid>) -> Result<Option<Resume>, TokenError> {
    let Some((how, number)) = bytes.split_first() else {
        return Ok(None);
    };

    let number = be(number)?;
    match (how, id) {
        (0, _) => Ok(None),
        (1, _) => Ok(Some(Resume::Counted(number))),
        (2, _) => Ok(Some(Resume::Snapshot { xmin: number })),
        (3, Some(id)) => Ok(Some(Resume::Numbered { last: number, id })),
        _ => Err(TokenError::Malformed),
    }
}

fn be(bytes: &[u8]) -> Result<u64, TokenError> {
    let bytes = bytes.try_into().map_err(|_| TokenError::Malformed)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Decodes a text that has one of the accepted forms.
fn decoded(text: &str) -> Result<Vec<u8>, TokenError> {
    let mut bytes = vec![0; MOST];
    let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
    bytes.truncate(decoded.map_err(|_| TokenError::Malformed)?);

    let length = match bytes.first() {
        Some(&WITH_ID) => MOST,
        Some(&PLAIN) => MOST - ID,
        Some(&BEFORE) => MOST - ID - RESUME,
        Some(_) | None => return Err(TokenError::Malformed),
    };
    let fits = bytes.len() == length;
    fits.then_some(bytes).ok_or(TokenError::Malformed)
}

impl Token {
    /// Returns the token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Parses the text of a token. Only a node can tell whether the token belongs to its database.
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
        Seal(DerivedKey::new(&[key; 32], PURPOSE))
    }

    fn position(origin: Origin) -> Position {
        let epoch = Epoch::new(1_790_000_000, Uuid::from_u128(7));
        Position {
            origin,
            mark: Mark::new(epoch, u64::MAX - 3),
            resume: Some(Resume::Snapshot { xmin: 1 << 40 }),
        }
    }

    #[test]
    fn a_token_comes_back_as_what_it_names() {
        let snapshot = Resume::Snapshot { xmin: u64::MAX - 9 };
        let resumes = [None, Some(Resume::Counted(7)), Some(snapshot)];
        for (origin, resume) in [Origin::Node, Origin::Log, Origin::Log]
            .into_iter()
            .zip(resumes)
        {
            let named = Position {
                resume,
                ..position(origin)
            };
            let token = seal(1).token(named);
            let read = token.as_str().parse().expect("the text of a token");
            assert_eq!(seal(1).open(&read), Ok(named));
        }
    }

    /// The id is the one of the record at which a reader resumes.
    #[test]
    fn a_commit_that_has_an_id_keeps_it() {
        let id = Uuid::from_u128(9);
        let named = position(Origin::Log);
        let last = named.mark.number();
        for resume in [None, Some(Resume::Numbered { last, id })] {
            let mark = named.mark.with_id(id);
            let named = Position {
                resume,
                mark,
                ..named
            };
            let token = seal(1).token(named);
            assert_eq!(seal(1).open(&token), Ok(named));
        }
        let plain = seal(1).token(named).as_str().len();
        let with_id = seal(1).token(Position {
            mark: named.mark.with_id(id),
            ..named
        });
        assert!(plain < with_id.as_str().len());
    }

    /// It names a commit, and does not say where a reader resumes.
    #[test]
    fn a_token_of_version_1_is_read_and_has_no_place() {
        let mut named = vec![1, 1];
        named.extend(1_790_000_000_u64.to_be_bytes());
        named.extend(Uuid::from_u128(7).into_bytes());
        named.extend((u64::MAX - 3).to_be_bytes());
        let signature: [u8; 32] = seal(1).0.first(&named);
        let bytes = [&named[..], &signature[..SIGNATURE]].concat();
        let token = URL_SAFE_NO_PAD.encode(bytes).parse().expect("a token");
        let expected = Position {
            resume: None,
            ..position(Origin::Log)
        };
        assert_eq!(seal(1).open(&token), Ok(expected));
        assert_eq!(expected.bookmark(), None);
    }

    #[test]
    fn a_changed_token_and_one_of_another_key_are_refused() {
        let token = seal(1).token(position(Origin::Log));
        assert_eq!(seal(2).open(&token), Err(TokenError::Foreign));
        let bytes = decoded(token.as_str()).expect("a token");
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
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
        let place = "1.c.7.00000000000000000000000000000007.12";
        for text in [
            "",
            "abc",
            place,
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
