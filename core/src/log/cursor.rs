//! [`Cursor`]: how far a reader has read, and [`Place`]: the cursor after one record.
//!
//! A cursor has no order of its own: on PostgreSQL two cursors may each cover a commit that the
//! other does not. The one question that it answers is [`Cursor::covers`].

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Epoch, Mark, PositionError, Snapshot, text};

/// How far a reader has read in one epoch of a log. Cheap to clone.
///
/// # Examples
///
/// ```
/// use tidings_core::log::{Cursor, Epoch, Mark};
/// use uuid::Uuid;
///
/// let epoch = Epoch::new(1, Uuid::nil());
/// let cursor = Cursor::at_snapshot(epoch, "10:20:14".parse()?);
/// assert!(cursor.covers(Mark::new(epoch, 19)));
/// assert!(!cursor.covers(Mark::new(epoch, 14)), "its transaction was still open");
///
/// let later = Epoch::new(2, Uuid::nil());
/// assert!(!cursor.covers(Mark::new(later, 12)), "a cursor of another epoch means nothing");
/// assert_eq!(cursor.to_string().parse(), Ok(cursor));
/// # Ok::<(), tidings_core::log::PositionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    epoch: Epoch,
    position: Position,
}

/// What a cursor holds; for engines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// All records up to this number.
    Counted(u64),
    /// All records up to this number, whose record has this id: for a log that can lose its newest
    /// records and hand their numbers out again, in which a number alone names no record.
    Numbered {
        /// The number of the last record that was read.
        last: u64,
        /// That record's id.
        id: Uuid,
    },
    /// All records of the transactions that were over.
    Snapshot(Arc<Snapshot>),
    /// Within the pages of one read: all records of the transactions that were over in `applied`,
    /// and those up to the number `last` of the ones that `target` shows.
    Page {
        /// What was wholly read before.
        applied: Arc<Snapshot>,
        /// What will have been read at the end of the last page.
        target: Arc<Snapshot>,
        /// The number of the last record that was read.
        last: u64,
    },
}

impl Cursor {
    /// Makes a cursor of a counted log: all records up to a number, that one included.
    #[must_use]
    pub fn counted(epoch: Epoch, last: u64) -> Self {
        let position = Position::Counted(last);
        Self { epoch, position }
    }

    /// Makes a cursor of a numbered log: all records up to a number, that one included, which has
    /// this id.
    #[must_use]
    pub fn numbered(epoch: Epoch, last: u64, id: Uuid) -> Self {
        let position = Position::Numbered { last, id };
        Self { epoch, position }
    }

    /// Makes a cursor at a snapshot that was wholly read.
    #[must_use]
    pub fn at_snapshot(epoch: Epoch, snapshot: Snapshot) -> Self {
        let position = Position::Snapshot(Arc::new(snapshot));
        Self { epoch, position }
    }

    /// Makes a cursor from what it holds.
    #[must_use]
    pub fn new(epoch: Epoch, position: Position) -> Self {
        Self { epoch, position }
    }

    /// Returns the epoch that it is a cursor of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns what it holds; for the engine that made it.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Returns whether every record of a commit lies behind this cursor.
    ///
    /// Within the pages of one read a commit is covered only once all of them are read. A mark of
    /// another epoch is never covered, nor is one whose record has another id than the record at
    /// the cursor. For an earlier mark, the cursor does not know whether its record is the one that
    /// was read: the reader must remember what it has read.
    #[must_use]
    pub fn covers(&self, mark: Mark) -> bool {
        self.epoch == mark.epoch()
            && match &self.position {
                Position::Counted(last) => mark.number() <= *last,
                Position::Numbered { last, id } => match mark.number().cmp(last) {
                    Ordering::Less => true,
                    Ordering::Equal => mark.id().is_none_or(|of| of == *id),
                    Ordering::Greater => false,
                },
                Position::Snapshot(applied) | Position::Page { applied, .. } => {
                    applied.is_over(mark.number())
                }
            }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, epoch) = (text::VERSION, self.epoch);
        match &self.position {
            Position::Counted(last) => write!(f, "{version}.c.{epoch}.{last}"),
            Position::Numbered { last, id } => {
                write!(f, "{version}.n.{epoch}.{last}.{}", id.simple())
            }
            Position::Snapshot(applied) => write!(f, "{version}.s.{epoch}.{applied}"),
            Position::Page {
                applied,
                target,
                last,
            } => write!(f, "{version}.p.{epoch}.{applied}.{target}.{last}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let mut parts = text::Parts::new(text)?;
        let kind = parts.kind(&["c", "n", "s", "p"], "expected a cursor")?;
        let epoch = parts.epoch()?;

        let position = match kind {
            "c" => Position::Counted(parts.number()?),
            "n" => Position::Numbered {
                last: parts.number()?,
                id: parts.id()?,
            },
            "s" => Position::Snapshot(Arc::new(parts.next()?.parse()?)),
            _ => Position::Page {
                applied: Arc::new(parts.next()?.parse()?),
                target: Arc::new(parts.next()?.parse()?),
                last: parts.number()?,
            },
        };
        parts.end()?;

        Ok(Self { epoch, position })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// The cursor after one record: a reader that stopped there continues from it, and misses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Place(pub Cursor);

impl Place {
    /// Returns the number of the record in its log; `None` if the place is a cursor at a snapshot,
    /// as for what an engine has added to the records.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self.0.position() {
            Position::Counted(number)
            | Position::Numbered { last: number, .. }
            | Position::Page { last: number, .. } => Some(*number),
            Position::Snapshot(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Place {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        Epoch::new(7, Uuid::from_u128(9))
    }

    fn snapshot(text: &str) -> Arc<Snapshot> {
        Arc::new(text.parse().expect("a snapshot"))
    }

    fn forms() -> [Cursor; 4] {
        let page = Position::Page {
            applied: snapshot("3:9:3,5"),
            target: snapshot("8:12:8"),
            last: 41,
        };
        [
            Cursor::counted(epoch(), 12),
            Cursor::at_snapshot(epoch(), Snapshot::new(9, vec![4])),
            Cursor::new(epoch(), page),
            Cursor::numbered(epoch(), 12, Uuid::from_u128(5)),
        ]
    }

    #[test]
    fn while_it_pages_a_cursor_covers_only_what_was_wholly_read_before() {
        let [_, _, page, _] = forms();
        assert!(page.covers(Mark::new(epoch(), 4)));
        assert!(!page.covers(Mark::new(epoch(), 5)));
        assert!(
            !page.covers(Mark::new(epoch(), 9)),
            "its records may be cut by the page"
        );
    }

    #[test]
    fn a_numbered_cursor_covers_by_its_number_and_differs_by_its_id() {
        let [.., numbered] = forms();
        assert!(numbered.covers(Mark::new(epoch(), 12)));
        assert!(!numbered.covers(Mark::new(epoch(), 13)));
        let at = |id| Mark::new(epoch(), 12).with_id(Uuid::from_u128(id));
        assert!(numbered.covers(at(5)));
        assert!(!numbered.covers(at(6)), "the number was handed out again");
        assert_ne!(numbered, Cursor::numbered(epoch(), 12, Uuid::from_u128(6)));
        assert_eq!(Place(numbered).number(), Some(12));
    }

    #[test]
    fn every_form_survives_its_text_and_serde() {
        for cursor in forms() {
            let text = cursor.to_string();
            assert_eq!(text.parse(), Ok(cursor.clone()), "{text}");
            let json = serde_json::to_string(&cursor).expect("JSON");
            assert_eq!(serde_json::from_str::<Cursor>(&json).ok(), Some(cursor));
        }
        let mark = Mark::new(epoch(), 5);
        for mark in [mark, mark.with_id(Uuid::from_u128(3))] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
    }

    #[test]
    fn a_cut_text_and_one_of_another_version_are_refused() {
        let [counted, ..] = forms().map(|cursor| cursor.to_string());
        let (cut, _) = counted.rsplit_once('.').expect("parts");
        let longer = format!("{counted}.1");
        let other = counted.replacen('1', "2", 1);
        assert!(matches!(
            cut.parse::<Cursor>(),
            Err(PositionError::Malformed(_))
        ));
        assert!(matches!(
            longer.parse::<Cursor>(),
            Err(PositionError::Malformed(_))
        ));
        assert_eq!(other.parse::<Cursor>(), Err(PositionError::Version));
        assert!(counted.parse::<Mark>().is_err(), "a cursor is no mark");
    }
}
