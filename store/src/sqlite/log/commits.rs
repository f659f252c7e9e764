//! [`Commits`]: which records are of one transaction of another program.
//!
//! No trigger sees where a transaction begins or ends. The file's write-ahead log tells each commit
//! and the last record that it holds, so that the records between two such numbers are of one. What
//! is known is certain; of what is not, each record is told as a change by itself: of the first
//! commit after the file began again, where it cannot be seen that none is missing between, of
//! transactions of more than [`TOGETHER`] records, and of those that a look did not get to whose
//! snapshot showed them. They stay so: a reader that has been told a part of one by itself would
//! take the rest for told, too.

use std::{collections::BTreeMap, io, ops::RangeInclusive, path::Path};

use tidings_core::{Chain, log::Epoch};

use super::wal::{Header, Sum, Wal};

/// How many records of one transaction are put together: those of one row are looked for among
/// all of them.
const TOGETHER: u64 = 1_000;
/// How many transactions are remembered.
const REMEMBERED: usize = 16_384;
/// How many frames are gone through at a time.
const FRAMES: u64 = 16_384;

/// The records of a transaction.
type Records = RangeInclusive<u64>;

/// The transactions that are known.
#[derive(Debug, Default)]
pub(super) struct Commits {
    epoch: Option<Epoch>,
    /// The first record of each, by its last; none of a single record.
    first: BTreeMap<u64, u64>,
    /// The newest record that a look was made for: what is not known by then was told record by
    /// record, and stays so.
    shown: u64,
    /// How far the write-ahead log was gone through.
    reached: Option<Reached>,
}

/// Where the log says what its last record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The version of the schema, by which the page may be another.
    pub(super) schema: i64,
    pub(super) page: u32,
}

/// A frame that ends a commit; or one within a commit of more frames than are gone through at a
/// time.
#[derive(Clone, Copy, Debug)]
struct Reached {
    header: Header,
    place: Place,
    frame: u64,
    sum: Sum,
    /// The last record of the last commit that ended, or of one before it, if that is known.
    last: Option<u64>,
    /// What the commit that has not ended has said of its last record.
    says: Option<u64>,
}

impl Commits {
    /// Returns the last record of the transaction that a record is of; none if that is not known.
    pub(super) fn last_of(&self, record: u64) -> Option<u64> {
        let (last, first) = self.first.range(record..).next()?;
        (*first <= record).then_some(*last)
    }

    /// Returns the records of the transaction whose last record this is.
    pub(super) fn ended_by(&self, last: u64) -> Option<Records> {
        self.first.get(&last).map(|first| *first..=last)
    }

    /// Returns whether the next commit will be told from those before it.
    pub(super) fn is_following(&self) -> bool {
        self.reached.is_some_and(|reached| reached.last.is_some())
    }

    /// Goes through what the write-ahead log holds that a snapshot shows, whose newest record is
    /// `newest`. To be called while the snapshot is open.
    pub(super) fn look(&mut self, path: &Path, epoch: Epoch, place: Place, newest: u64) {
        if self.epoch != Some(epoch) {
            *self = Self {
                epoch: Some(epoch),
                ..Self::default()
            };
        }

        let before = self.reached.take();
        match walk(path, before, place, newest) {
            Ok(Some((reached, found))) => {
                self.reached = Some(reached);
                let found = found.into_iter().map(Records::into_inner);
                let untold = found.filter(|(first, _)| *first > self.shown);
                self.first.extend(untold.map(|(first, last)| (last, first)));
                while self.first.len() > REMEMBERED {
                    self.first.pop_first();
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "the write-ahead log could not be read")
            }
        }
        self.shown = self.shown.max(newest);
    }
}

/// Goes on from where the last look ended, or from the beginning of the file. Returns how far it
/// got, and the transactions of several records.
fn walk(
    path: &Path,
    before: Option<Reached>,
    place: Place,
    newest: u64,
) -> io::Result<Option<(Reached, Vec<Records>)>> {
    let Some(mut wal) = Wal::open(path)? else {
        return Ok(None);
    };
    let mut reached = start(&mut wal, before, place)?;
    let mut found = Vec::new();
    let (mut sum, mut says) = (reached.sum, reached.says);
    let end = reached.frame.saturating_add(FRAMES);

    for number in reached.frame + 1..=end {
        let Some(frame) = wal.frame(number)? else {
            break;
        };

        if frame.page == place.page {
            // One that does not fit is being written, and is of no snapshot yet.
            let Some(number) = wal.sequence(number, &frame, sum)? else {
                break;
            };
            says = Some(number);
        }

        sum = frame.sum;
        if !frame.ends_commit {
            // The next look goes on within it, or this part would be gone through without end.
            if number == end {
                (reached.frame, reached.sum, reached.says) = (number, sum, says);
            }
            continue;
        }
        if let Some(last) = says.take() {
            if last > newest {
                break;
            }
            if let Some(before) = reached.last
                && (2..=TOGETHER).contains(&last.saturating_sub(before))
            {
                found.push(before + 1..=last);
            }
            reached.last = Some(last);
        }

        (reached.frame, reached.sum, reached.says) = (number, sum, None);
    }

    // A file that began again meanwhile may have overwritten what was read.
    Ok(wal.is_unchanged()?.then_some((reached, found)))
}

/// Returns where to go on. What the last commit before it ended with is known if nothing can lie
/// between the last look and there.
fn start(wal: &mut Wal, before: Option<Reached>, place: Place) -> io::Result<Reached> {
    let header = wal.header;
    let beginning = |last| Reached {
        header,
        place,
        frame: 0,
        sum: header.sum,
        last,
        says: None,
    };
    let Some(before) = before.filter(|before| before.place == place && before.frame > 0) else {
        return Ok(beginning(None));
    };

    let there = wal.any_frame(before.frame)?;
    let is_there = there.is_some_and(|it| it.is_of(&before.header) && it.sum == before.sum);
    if header == before.header {
        return Ok(if is_there { before } else { beginning(None) });
    }

    // What the file held before it began again is there until it is overwritten: its last commit
    // was the one that was seen last, if no frame of the same beginning follows it.
    let next = wal.any_frame(before.frame + 1)?;
    let has_more = next.is_some_and(|next| next.is_of(&before.header));
    let is_overwritten = next.is_some_and(|next| next.is_of(&header));
    let is_next = header.follows(&before.header) && is_there && !has_more && !is_overwritten;
    Ok(beginning(before.last.filter(|_| is_next)))
}
