//! [`Commits`]: which records belong to one transaction of another program.
//!
//! No trigger sees where a transaction begins or ends. The file's write-ahead log shows each commit
//! and its last record, so the records between two such numbers belong to one commit. What is known
//! is certain. If a transaction is not known, each of its records is reported as a change of its
//! own. That happens to the first commit after the file was restarted, if commits may be missing in
//! between; to transactions of more than [`TOGETHER`] records; and to those in a snapshot whose
//! scan did not reach them. They stay unknown: a reader that has received a part of one by itself
//! would take the rest as received too.

use std::{collections::BTreeMap, io, ops::RangeInclusive, path::Path};

use tidings_core::{Chain, log::Epoch};

use super::wal::{Header, Sum, Wal};

/// The maximum number of records of a transaction that are combined: a search for the records of
/// one row goes through all of them.
const TOGETHER: u64 = 1_000;
/// The maximum number of remembered transactions.
const REMEMBERED: usize = 16_384;
/// The maximum number of frames that one scan reads.
const FRAMES: u64 = 16_384;

/// The records of a transaction.
type Records = RangeInclusive<u64>;

/// The known transactions.
#[derive(Debug, Default)]
pub(super) struct Commits {
    epoch: Option<Epoch>,
    /// The first record of each, by its last; without those of a single record.
    first: BTreeMap<u64, u64>,
    /// The newest record of the last scan's snapshot. Older transactions that are not known were
    /// reported record by record, and stay unknown.
    shown: u64,
    /// How far the write-ahead log was scanned.
    reached: Option<Reached>,
}

/// The page that holds the number of the log's last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The version of the schema, with which the page may change.
    pub(super) schema: i64,
    pub(super) page: u32,
}

/// A frame that ends a commit, or one within a commit of more frames than one scan reads.
#[derive(Clone, Copy, Debug)]
struct Reached {
    header: Header,
    place: Place,
    frame: u64,
    sum: Sum,
    /// The last record of the last commit that ended with this frame or before it, if known.
    last: Option<u64>,
    /// The last record of the commit that has not ended, as far as its frames show.
    says: Option<u64>,
}

impl Commits {
    /// Returns the last record of a record's transaction; `None` if that is not known.
    pub(super) fn last_of(&self, record: u64) -> Option<u64> {
        let (last, first) = self.first.range(record..).next()?;
        (*first <= record).then_some(*last)
    }

    /// Returns the records of the transaction that ends with this record.
    pub(super) fn ended_by(&self, last: u64) -> Option<Records> {
        self.first.get(&last).map(|first| *first..=last)
    }

    /// Returns whether the beginning of the next commit is known.
    pub(super) fn is_following(&self) -> bool {
        self.reached.is_some_and(|reached| reached.last.is_some())
    }

    /// Scans the part of the write-ahead log that a snapshot shows, whose newest record is
    /// `newest`. Call it while the snapshot is open.
    pub(super) fn scan(&mut self, path: &Path, epoch: Epoch, place: Place, newest: u64) {
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

/// Continues where the last scan ended, or at the beginning of the file. Returns how far it got,
/// and the transactions of several records.
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
            // A frame that does not fit is being written, and belongs to no snapshot yet.
            let Some(number) = wal.sequence(number, &frame, sum)? else {
                break;
            };
            says = Some(number);
        }

        sum = frame.sum;
        if !frame.ends_commit {
            // The next scan continues within the commit, or it would read this part again and
            // again.
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

    // If the file was restarted in the meantime, it may have overwritten what was read.
    Ok(wal.is_unchanged()?.then_some((reached, found)))
}

/// Returns where to continue. The last record of the commit before it is known if nothing can lie
/// between the last scan and there.
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

    // After a restart, the file keeps its old frames until they are overwritten. The commit that
    // was seen last was the last one before the restart if no frame with the same salts follows it.
    let next = wal.any_frame(before.frame + 1)?;
    let has_more = next.is_some_and(|next| next.is_of(&before.header));
    let is_overwritten = next.is_some_and(|next| next.is_of(&header));
    let is_next = header.follows(&before.header) && is_there && !has_more && !is_overwritten;
    Ok(beginning(before.last.filter(|_| is_next)))
}
