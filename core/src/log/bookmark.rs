//! [`Bookmark`]: a commit, and where a reader continues that knows everything up to it.
//!
//! A mark alone does not say that. On PostgreSQL a transaction with a lower id may be committed
//! later, so a reader continues from what was over when the commit's own transaction began. It
//! receives everything that was in progress then. Some of that may have been committed before the
//! commit, and so arrive a second time.

use uuid::Uuid;

use super::{Cursor, Mark, Place, Position, Snapshot};

/// A commit, and where a reader continues that knows everything up to it.
///
/// # Examples
///
/// ```
/// use tidings_core::log::{Bookmark, Epoch, Mark, Resume};
/// use uuid::Uuid;
///
/// let epoch = Epoch::new(1, Uuid::nil());
/// let (before, later) = (Mark::new(epoch, 11), Mark::new(epoch, 12));
///
/// // Transaction 14, which began while 12 was in progress.
/// let bookmark = Bookmark::new(Mark::new(epoch, 14), Resume::Snapshot { xmin: 12 });
/// let place = bookmark.place();
/// assert!(place.0.covers(before) && !place.0.covers(later));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bookmark {
    mark: Mark,
    resume: Resume,
}

/// Where a reader continues that knows everything up to a commit, as the commit's engine says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resume {
    /// Beyond a number of a counted log.
    Counted(u64),
    /// Beyond the record of a number that has this id.
    Numbered {
        /// The record's number.
        last: u64,
        /// The record's id.
        id: Uuid,
    },
    /// With the first transaction that was not over when the commit's own one began.
    Snapshot {
        /// Every transaction below it was over.
        xmin: u64,
    },
}

impl Bookmark {
    /// Makes one; for engines.
    #[must_use]
    pub fn new(mark: Mark, resume: Resume) -> Self {
        Self { mark, resume }
    }

    /// Makes one for a commit that was made after a cursor was taken: a reader continues from the
    /// cursor. `None` if the cursor is of another epoch, or of a log whose places need an id that
    /// the mark does not have.
    #[must_use]
    pub fn after(cursor: &Cursor, mark: Mark) -> Option<Self> {
        let resume = match cursor.position() {
            // One writer at a time: whatever is committed later has a higher number.
            Position::Counted(_) => Resume::Counted(mark.number()),
            Position::Numbered { .. } => Resume::Numbered {
                last: mark.number(),
                id: mark.id()?,
            },
            Position::Snapshot(applied) | Position::Page { applied, .. } => Resume::Snapshot {
                xmin: applied.xmin(),
            },
        };
        (cursor.epoch() == mark.epoch()).then_some(Self { mark, resume })
    }

    /// Returns the commit.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Returns where a reader continues; it means nothing without the mark's epoch.
    #[must_use]
    pub fn resume(&self) -> Resume {
        self.resume
    }

    /// Returns the place from which a reader continues. It misses nothing that was committed
    /// afterwards; the commit itself may arrive again.
    #[must_use]
    pub fn place(&self) -> Place {
        let epoch = self.mark.epoch();
        Place(match self.resume {
            Resume::Counted(number) => Cursor::counted(epoch, number),
            Resume::Numbered { last, id } => Cursor::numbered(epoch, last, id),
            Resume::Snapshot { xmin } => {
                Cursor::at_snapshot(epoch, Snapshot::new(xmin, Vec::new()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{super::Epoch, *};

    fn mark(number: u64) -> Mark {
        Mark::new(Epoch::new(3, Uuid::from_u128(4)), number)
    }

    #[test]
    fn a_reader_resumes_before_all_that_was_in_progress_at_the_cursor() {
        let snapshot = "10:20:10,14".parse().expect("a snapshot");
        let cursor = Cursor::at_snapshot(mark(0).epoch(), snapshot);
        let bookmark = Bookmark::after(&cursor, mark(22)).expect("one of its epoch");
        let place = bookmark.place().0;
        assert!(place.covers(mark(9)) && !place.covers(mark(10)) && !place.covers(mark(21)));

        let counted = Cursor::counted(mark(0).epoch(), 7);
        let bookmark = Bookmark::after(&counted, mark(9)).expect("one of its epoch");
        let place = bookmark.place().0;
        assert!(place.covers(mark(9)) && !place.covers(mark(10)));
    }

    #[test]
    fn a_reader_of_a_log_with_ids_resumes_at_the_id_of_the_commit() {
        let (read, id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let cursor = Cursor::numbered(mark(0).epoch(), 7, read);
        assert_eq!(Bookmark::after(&cursor, mark(9)), None);
        let bookmark = Bookmark::after(&cursor, mark(9).with_id(id)).expect("one of its epoch");
        assert_eq!(bookmark.place().0, Cursor::numbered(mark(0).epoch(), 9, id));
    }

    #[test]
    fn a_cursor_of_another_epoch_makes_no_bookmark() {
        let cursor = Cursor::counted(Epoch::new(4, Uuid::nil()), 7);
        assert_eq!(Bookmark::after(&cursor, mark(9)), None);
    }
}
