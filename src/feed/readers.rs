//! [`Readers`]: the watchers' places, and how long each reader is still waited for.
//!
//! The task that delivers the log's changes waits for a reader before it drops entries that the
//! reader has not read: [`PATIENCE`] in all, and [`EACH`] more for each entry that is read. So a
//! reader of more than a thousand entries a second is waited for, however many there are. A slower
//! one gets a gap, and is not waited for again until it has caught up.

use std::{collections::BTreeMap, time::Duration};

/// How long a reader that reads nothing is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much patience each entry that is read adds.
const EACH: Duration = Duration::from_millis(1);

/// Counts entries from the beginning of the node: that of an entry is the number of those before
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence(pub(crate) u64);

/// Names one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReaderId(u64);

#[derive(Debug)]
struct Reader {
    /// The entry that it reads next.
    at: Sequence,
    /// How long it is still waited for.
    patience: Duration,
}

/// All readers.
#[derive(Debug, Default)]
pub(super) struct Readers {
    next: u64,
    readers: BTreeMap<ReaderId, Reader>,
}

/// Readers that are waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    readers: Vec<ReaderId>,
    /// The shortest time for which any of them is still waited for.
    pub(super) patience: Duration,
}

impl Readers {
    pub(super) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Adds a reader at the end.
    pub(super) fn add(&mut self, end: Sequence) -> ReaderId {
        let id = ReaderId(self.next);
        self.next += 1;
        let reader = Reader {
            at: end,
            patience: PATIENCE,
        };
        self.readers.insert(id, reader);
        id
    }

    pub(super) fn remove(&mut self, id: ReaderId) {
        self.readers.remove(&id);
    }

    /// Returns what a reader reads next.
    pub(super) fn at(&self, id: ReaderId) -> Sequence {
        self.readers
            .get(&id)
            .map_or_else(Sequence::default, |it| it.at)
    }

    /// Moves a reader past an entry that it has read.
    pub(super) fn has_read(&mut self, id: ReaderId, end: Sequence) {
        let at = Sequence(self.at(id).0 + 1);
        if let Some(reader) = self.readers.get_mut(&id)
            && reader.patience > Duration::ZERO
        {
            reader.patience = PATIENCE.min(reader.patience + EACH);
        }
        self.move_to(id, at, end);
    }

    /// Moves a reader.
    pub(super) fn move_to(&mut self, id: ReaderId, at: Sequence, end: Sequence) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.at = at;
            if at == end {
                reader.patience = PATIENCE;
            }
        }
    }

    /// Waits for a reader no more, until it is at the end.
    pub(super) fn give_up(&mut self, id: ReaderId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.patience = Duration::ZERO;
        }
    }

    /// Returns the readers that are waited for before the entries up to one make room, because they
    /// have yet to read one of these; `None` if there are none.
    pub(super) fn awaited(&self, up_to: Sequence) -> Option<Awaited> {
        let behind = self.readers.iter();
        let behind: Vec<_> = behind
            .filter(|(_, reader)| reader.at < up_to && reader.patience > Duration::ZERO)
            .collect();
        let patience = behind.iter().map(|(_, reader)| reader.patience).min()?;
        Some(Awaited {
            readers: behind.into_iter().map(|(id, _)| *id).collect(),
            patience,
        })
    }

    /// Notes how long these readers were waited for.
    pub(super) fn waited(&mut self, awaited: &Awaited, time: Duration) {
        for id in &awaited.readers {
            if let Some(reader) = self.readers.get_mut(id) {
                reader.patience = reader.patience.saturating_sub(time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Returns how many entries of a thousand a reader gets that takes this long for each.
    fn kept(each: Duration) -> u64 {
        let mut readers = Readers::default();
        let id = readers.add(Sequence(0));
        for entry in 0..1_000 {
            // There is no room for entries beyond the one that it reads.
            let Some(awaited) = readers.awaited(Sequence(entry + 1)) else {
                return entry;
            };
            readers.waited(&awaited, each.min(awaited.patience));
            readers.has_read(id, Sequence(u64::MAX));
        }
        1_000
    }

    #[test]
    fn a_reader_that_keeps_up_is_waited_for_and_a_slow_one_is_not_for_long() {
        assert_eq!(kept(MILLISECOND), 1_000);
        assert_eq!(kept(200 * MILLISECOND), 3);
        assert_eq!(kept(Duration::MAX), 1);
    }

    #[test]
    fn a_reader_that_was_given_up_is_waited_for_again_once_it_is_at_the_end() {
        let mut readers = Readers::default();
        let id = readers.add(Sequence(3));
        let other = readers.add(Sequence(9));
        assert_eq!(readers.awaited(Sequence(3)), None);
        let awaited = readers.awaited(Sequence(4)).expect("one is behind");
        assert_eq!((&*awaited.readers, awaited.patience), (&[id][..], PATIENCE));

        readers.waited(&awaited, PATIENCE);
        assert_eq!(readers.awaited(Sequence(4)), None);
        readers.has_read(id, Sequence(9));
        assert_eq!(
            (readers.at(id), readers.awaited(Sequence(9))),
            (Sequence(4), None)
        );
        readers.move_to(id, Sequence(9), Sequence(9));
        assert!(readers.awaited(Sequence(10)).is_some());

        readers.give_up(id);
        readers.remove(other);
        assert_eq!((readers.awaited(Sequence(10)), readers.len()), (None, 1));
    }
}
