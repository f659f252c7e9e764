//! The text of cursors, places and marks: parts with a dot between them, the first the version of
//! the form.
//!
//! All of it may go into a URL or a header as it is. A text of another version, or one that is cut,
//! is refused.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de::Visitor};
use uuid::Uuid;

use super::Epoch;

/// The version that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;

/// A text is not the cursor, place or mark that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PositionError {
    /// It has another version.
    #[error("a position of another version: this program reads version 1")]
    Version,
    /// It is cut, or something else altogether.
    #[error("not a position of a log: {0}")]
    Malformed(&'static str),
}

/// The parts of a text, taken from the left.
pub(super) struct Parts<'a>(std::str::Split<'a, char>);

impl<'a> Parts<'a> {
    /// Splits a text, and takes its version.
    pub(super) fn new(text: &'a str) -> Result<Self, PositionError> {
        let mut parts = Self(text.split('.'));
        match parts.number() {
            Ok(version) if version == u64::from(VERSION) => Ok(parts),
            Ok(_) => Err(PositionError::Version),
            Err(error) => Err(error),
        }
    }

    pub(super) fn next(&mut self) -> Result<&'a str, PositionError> {
        self.0
            .next()
            .ok_or(PositionError::Malformed("it ends too early"))
    }

    /// Takes the word that says what kind of position it is.
    pub(super) fn kind(
        &mut self,
        known: &[&str],
        expected: &'static str,
    ) -> Result<&'a str, PositionError> {
        let kind = self.next()?;
        known
            .contains(&kind)
            .then_some(kind)
            .ok_or(PositionError::Malformed(expected))
    }

    pub(super) fn number(&mut self) -> Result<u64, PositionError> {
        let malformed = |_| PositionError::Malformed("expected a number");
        self.next()?.parse().map_err(malformed)
    }

    pub(super) fn epoch(&mut self) -> Result<Epoch, PositionError> {
        let number = self.number()?;
        Ok(Epoch::new(number, self.id()?))
    }

    pub(super) fn id(&mut self) -> Result<Uuid, PositionError> {
        let malformed = |_| PositionError::Malformed("expected an id");
        Uuid::try_parse(self.next()?).map_err(malformed)
    }

    /// Takes an id that may be left out, and ends.
    pub(super) fn last_id(mut self) -> Result<Option<Uuid>, PositionError> {
        let mut rest = self.0.clone();
        if rest.next().is_none() {
            return Ok(None);
        }
        let id = self.id()?;
        self.end()?;
        Ok(Some(id))
    }

    pub(super) fn end(mut self) -> Result<(), PositionError> {
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err(PositionError::Malformed("it goes on after its end")),
        }
    }
}

/// Reads a position from its text.
pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = PositionError>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err = PositionError>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the text of a position in a log")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}
