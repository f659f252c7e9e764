//! [`Recorder`]: the last records of each key, of everything, and of causes.
//!
//! What it takes follows the cache's capacity, and is allocated as records come. Half of that is
//! for the records, half for what they are due to.

// Locks of the standard library, in models too: each is held for a few moves of memory and calls
// nothing, so that no schedule can tell it from one step.
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    newest::{Kept, Newest},
    reason::Reason,
};
use crate::{
    answer::tag::Tag,
    fence::number::{Moment, Number},
};

/// The share of the cache's capacity that the recorder may take: one in this many bytes.
const OF_CAPACITY: u64 = 50;
/// What it may take in any case.
const LEAST: usize = 8 << 10;

/// How many shares there are at most, and how many records each keeps.
const SHARES: usize = 64;
const EACH: usize = 64;
/// How many records are kept at most that concern more than one key.
const WIDE: usize = 256;
/// How many causes are kept at most.
const CAUSES: usize = 1_024;

type Share = Mutex<Newest<Note>>;

/// What a record of a key takes, with its part of its share.
const NOTE: usize = size_of::<Note>() + size_of::<Share>().div_ceil(EACH);
/// What the most records take, without what they are due to.
const FULL: usize = SHARES * EACH * NOTE + WIDE * size_of::<Note>() + CAUSES * size_of::<Cause>();

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

impl Kept for Note {
    fn reason(&self) -> Option<&Arc<Reason>> {
        self.reason.as_ref()
    }

    fn text(&self) -> usize {
        match &self.what {
            What::Tagged(tag) => tag.len(),
            What::Loaded { .. }
            | What::Failed { .. }
            | What::Invalidated { .. }
            | What::Purged
            | What::Expired
            | What::Space => 0,
        }
    }
}

impl Kept for Cause {
    fn reason(&self) -> Option<&Arc<Reason>> {
        Some(&self.reason)
    }

    fn text(&self) -> usize {
        0
    }
}

/// The records of a node.
#[derive(Debug)]
pub(crate) struct Recorder {
    shares: Box<[Share]>,
    wide: Mutex<Newest<Note>>,
    causes: Mutex<Newest<Cause>>,
}

impl Recorder {
    /// Makes the recorder of a cache that may hold this many bytes. It takes at most a fiftieth of
    /// that, or 8 KiB if that is more; and no more than 4,096 records of keys, 256 of whole caches
    /// and 1,024 causes, with as many bytes again of what they are due to.
    pub(crate) fn new(capacity: u64) -> Self {
        let most = usize::try_from(capacity / OF_CAPACITY).unwrap_or(usize::MAX);
        let half = most.clamp(LEAST, 2 * FULL) / 2;
        let part = |all: usize| (all * half / FULL).max(1);

        let notes = part(SHARES * EACH);
        let shares = (notes / EACH).max(1);
        let each = (notes / shares).min(EACH);

        // Causes share what they are due to with the records of their keys, which are more.
        let (due_to_notes, due_to_wide) = (half / 16 * 11, half / 16);
        let share = || Mutex::new(Newest::new(each, due_to_notes / shares));
        Self {
            shares: (0..shares).map(|_| share()).collect(),
            wide: Mutex::new(Newest::new(part(WIDE), due_to_wide)),
            causes: Mutex::new(Newest::new(part(CAUSES), half / 4)),
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
        keep(self.share(key), note);
    }

    /// Records that a key was to be evicted for a cause for which it was evicted before, if what is
    /// said of the cause now is more than the commit.
    pub(crate) fn note_again(&self, key: u64, at: Moment, cause: Option<Number>) {
        let Some(reason) = Reason::current() else {
            return;
        };

        let share = self.share(key);
        let early = {
            let notes = held(share);
            let last = notes.iter().rev().find(|note| {
                let is_evicted = matches!(note.what, What::Invalidated { .. });
                note.subject == key && note.cause == cause && is_evicted
            });
            let last = last.filter(|note| says_more(&reason, note.reason.as_deref()));
            last.map(|note| note.number)
        };
        let Some(number) = early else {
            return;
        };

        let note = Note {
            subject: key,
            at,
            number,
            reason: Some(reason),
            what: What::Invalidated {
                held: false,
                voided: 0,
            },
            cause,
        };
        keep(share, note);
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
        keep(&self.wide, note);
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
        keep(&self.causes, cause);
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
        let of = |notes: &Newest<Note>, subject| {
            let notes = notes.iter().rev();
            notes
                .filter(|note| note.subject == subject)
                .cloned()
                .collect()
        };
        let own = of(&held(self.share(key)), key);
        (told_once(own), of(&held(&self.wide), cache.into()))
    }

    /// Returns how many records there are, and about how many bytes they take with what they are
    /// due to.
    pub(crate) fn size(&self) -> (usize, usize) {
        let mut size = (0, size_of_val(&*self.shares));
        let mut add = |notes: &Newest<Note>| {
            size.0 += notes.iter().len();
            size.1 += notes.bytes();
        };
        for share in &self.shares {
            add(&held(share));
        }

        add(&held(&self.wide));
        size.1 += held(&self.causes).bytes();
        size
    }

    fn share(&self, key: u64) -> &Share {
        // The high bits: the low ones choose the place within other tables.
        &self.shares[(key >> 40) as usize % self.shares.len()]
    }
}

/// Makes one of an eviction that was made before its change was read, and of the one that the
/// change's record asked for: it happened when the first did, and is due to what the second says.
/// The newest come first.
fn told_once(notes: Vec<Note>) -> Vec<Note> {
    let mut told: Vec<Note> = Vec::with_capacity(notes.len());
    for mut early in notes {
        let What::Invalidated { held, voided } = &mut early.what else {
            told.push(early);
            continue;
        };

        let read = told.iter().position(|note| {
            let reason = note.reason.as_deref();
            matches!(note.what, What::Invalidated { .. })
                && reason.is_some_and(|it| says_more(it, early.reason.as_deref()))
        });
        if let Some(read) = read {
            let read = told.remove(read);
            if let What::Invalidated {
                held: again,
                voided: more,
            } = read.what
            {
                *held |= again;
                *voided += more;
            }

            early.reason = read.reason;
        }

        told.push(early);
    }

    told
}

/// Returns whether a reason names the rows of a commit of which an earlier one names the mark
/// alone.
fn says_more(reason: &Reason, early: Option<&Reason>) -> bool {
    match (reason, early) {
        (
            Reason::Change { rows, mark, .. },
            Some(Reason::Change {
                rows: none,
                mark: Some(early),
                ..
            }),
        ) => !rows.is_empty() && none.is_empty() && *mark == Some(*early),
        _ => false,
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a record. What has to go for it is dropped with the lock released.
fn keep<T: Kept>(of: &Mutex<Newest<T>>, new: T) {
    let (mut gone, mut is_over) = held(of).push(new);
    while is_over {
        drop(gone.take());
        (gone, is_over) = held(of).shorten();
    }
}

#[cfg(test)]
mod tests;
