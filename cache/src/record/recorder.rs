//! [`Recorder`]: the last records of each key, of everything, and of causes.

// Locks of the standard library, in models too: each is held for a few moves of memory and calls
// nothing, so that no schedule can tell it from one step.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::reason::Reason;
use crate::{
    answer::tag::Tag,
    fence::number::{Moment, Number},
};

/// How many shares there are, and how many records each keeps.
const SHARES: usize = 64;
const EACH: usize = 64;
/// How many records are kept that concern more than one key.
const WIDE: usize = 256;
/// How many causes are kept.
const CAUSES: usize = 1_024;

/// What asked for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadedBy {
    /// A call that found nothing.
    Miss,
    /// A call that wanted it loaded again.
    Renew,
    /// The entry itself, before it expired.
    Refresh,
    /// A caller set it.
    Set,
}

impl LoadedBy {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Renew => "renew",
            Self::Refresh => "refresh",
            Self::Set => "set",
        }
    }
}

/// How far the handlers of a change have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handlers {
    /// All of them have run.
    Everywhere,
    /// Some were not done when the write returned.
    Late,
    /// Some did not hear of it.
    Missed,
}

impl Handlers {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Late => "late",
            Self::Missed => "missed",
        }
    }
}

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A value, or an absence, was read or set; kept, or refused for a reason.
    Loaded {
        by: LoadedBy,
        took: Duration,
        refused: Option<&'static str>,
    },
    /// A load gave nothing.
    Failed { by: LoadedBy, took: Duration },
    /// The key was invalidated: whether L2 held it, and how many loads were voided.
    Invalidated { held: bool, voided: usize },
    /// The entry carried a tag that was invalidated.
    Tagged(Tag),
    /// Everything of the cache was purged.
    Purged,
    /// The entry's time had run out.
    Expired,
    /// The entry made room for others.
    Space,
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// The hash of the key, or the index of the cache where all its keys are concerned.
    subject: u64,
    pub(crate) at: Moment,
    /// The number of the sequence at which it happened: that of a load is from before it read.
    pub(crate) number: Number,
    pub(crate) what: What,
    /// The change whose handling it was part of.
    pub(crate) cause: Option<Number>,
    pub(crate) reason: Option<Arc<Reason>>,
}

/// A change, by the number that is its cause.
#[derive(Debug)]
struct Cause {
    number: Number,
    reason: Arc<Reason>,
    handlers: Option<Handlers>,
}

/// The records of a node.
#[derive(Debug)]
pub(crate) struct Recorder {
    shares: Box<[Mutex<VecDeque<Note>>]>,
    wide: Mutex<VecDeque<Note>>,
    causes: Mutex<VecDeque<Cause>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            shares: (0..SHARES).map(|_| Mutex::default()).collect(),
            wide: Mutex::default(),
            causes: Mutex::default(),
        }
    }

    /// Records what has happened to a key, given by its hash.
    pub(crate) fn note(
        &self,
        key: u64,
        at: Moment,
        number: Number,
        cause: Option<Number>,
        what: What,
    ) {
        let note = Note {
            subject: key,
            at,
            number,
            reason: Reason::current(),
            what,
            cause,
        };
        let gone = push(&mut held(self.share(key)), note, EACH);
        drop(gone); // with the lock released
    }

    /// Records what has happened to all keys of a cache.
    pub(crate) fn note_all(&self, cache: u32, at: Moment, number: Number, cause: Option<Number>) {
        let note = Note {
            subject: cache.into(),
            at,
            number,
            reason: Reason::current(),
            what: What::Purged,
            cause,
        };
        let gone = push(&mut held(&self.wide), note, WIDE);
        drop(gone);
    }

    /// Remembers what a change was, if that was said, by the number that is the cause of what its
    /// handlers do.
    pub(crate) fn cause(&self, number: Number) {
        let Some(reason) = Reason::current() else {
            return;
        };
        let cause = Cause {
            number,
            reason,
            handlers: None,
        };
        let gone = push(&mut held(&self.causes), cause, CAUSES);
        drop(gone);
    }

    /// Notes how far the handlers of a change have got.
    pub(crate) fn handled(&self, number: Number, handlers: Handlers) {
        let mut causes = held(&self.causes);
        let cause = causes.iter_mut().rev().find(|it| it.number == number);
        if let Some(cause) = cause {
            cause.handlers = Some(handlers);
        }
    }

    /// Returns what a number was the cause of, and how far its handlers have got.
    pub(crate) fn of_cause(&self, number: Number) -> (Option<Arc<Reason>>, Option<Handlers>) {
        let causes = held(&self.causes);
        let cause = causes.iter().rev().find(|it| it.number == number);
        let reason = cause.map(|it| Arc::clone(&it.reason));
        (reason, cause.and_then(|it| it.handlers))
    }

    /// Returns how far the handlers of a change have got, by what was said of it.
    pub(crate) fn of_reason(&self, reason: &Arc<Reason>) -> Option<Handlers> {
        let causes = held(&self.causes);
        let cause = causes.iter().rev();
        let mut of = cause.filter(|it| Arc::ptr_eq(&it.reason, reason));
        of.find_map(|it| it.handlers)
    }

    /// Returns the records of a key, and those of its whole cache, the newest first.
    pub(crate) fn of(&self, key: u64, cache: u32) -> (Vec<Note>, Vec<Note>) {
        let of = |notes: &VecDeque<Note>, subject| {
            let notes = notes.iter().rev();
            notes
                .filter(|note| note.subject == subject)
                .cloned()
                .collect()
        };
        let own = of(&held(self.share(key)), key);
        (own, of(&held(&self.wide), cache.into()))
    }

    /// Returns how many records there are, and about how many bytes they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut size = (0, 0);
        let mut add = |notes: &VecDeque<Note>| {
            let reasons = notes.iter().filter_map(|note| note.reason.as_ref());
            // One that several records share is counted with each of them.
            let reasons: usize = reasons.map(|reason| reason.weight()).sum();
            size.0 += notes.len();
            size.1 += notes.capacity() * size_of::<Note>() + reasons;
        };
        for share in &self.shares {
            add(&held(share));
        }
        add(&held(&self.wide));
        let causes = held(&self.causes);
        let reasons: usize = causes.iter().map(|it| it.reason.weight()).sum();
        size.1 += causes.capacity() * size_of::<Cause>() + reasons;
        size
    }

    fn share(&self, key: u64) -> &Mutex<VecDeque<Note>> {
        // The high bits: the low ones choose the place within other tables.
        &self.shares[(key >> 40) as usize % self.shares.len()]
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds to a queue of bounded length. Returns what had to go.
fn push<T>(queue: &mut VecDeque<T>, new: T, most: usize) -> Option<T> {
    let gone = (queue.len() >= most).then(|| queue.pop_front()).flatten();
    queue.push_back(new);
    gone
}

#[cfg(test)]
mod tests {
    use tidings_core::log::GapReason;

    use super::*;

    #[test]
    fn the_newest_records_of_a_key_are_kept_and_the_rest_is_bounded() {
        let recorder = Recorder::new();
        let key = 7 << 40;
        for number in 0..1_000 {
            let what = What::Expired;
            recorder.note(key, Moment(number), Number(number), None, what.clone());
            recorder.note(key + 1, Moment(number), Number(number), None, what);
            recorder.note_all(3, Moment(number), Number(number), None);
        }
        let (own, wide) = recorder.of(key, 3);
        assert_eq!((own.len(), wide.len()), (EACH / 2, WIDE));
        assert_eq!((own[0].number, wide[0].number), (Number(999), Number(999)));
        assert_eq!(recorder.size().0, EACH + WIDE);
        assert!(recorder.of(8 << 40, 4).0.is_empty());

        let (before, bytes) = recorder.size();
        for number in 0..1_000 {
            recorder.note(key, Moment(0), Number(number), None, What::Space);
        }
        assert_eq!(recorder.size(), (before, bytes));
    }

    #[test]
    fn a_cause_is_found_by_its_number_and_learns_of_its_handlers() {
        let recorder = Recorder::new();
        recorder.cause(Number(1)); // nothing was said
        let due = Reason::Gap(GapReason::Epoch).enter();
        for number in 2..CAUSES as u64 + 3 {
            recorder.cause(Number(number));
        }
        drop(due);
        recorder.handled(Number(5), Handlers::Everywhere);
        recorder.handled(Number(1), Handlers::Late);
        assert!(recorder.of_cause(Number(1)).0.is_none());
        assert!(recorder.of_cause(Number(2)).0.is_none(), "it made room");
        let (reason, handlers) = recorder.of_cause(Number(5));
        assert!(reason.is_some() && handlers == Some(Handlers::Everywhere));
        assert_eq!(recorder.of_cause(Number(6)).1, None);
    }
}
