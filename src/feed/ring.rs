//! [`Ring`]: the changes that wait for watchers, bounded in number and in bytes.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::future::{Either, select};
use tidings_core::clock::Clock;
use tokio::sync::{Notify, watch};

use super::{
    change::{FeedChange, FeedGap},
    readers::{ReaderId, Readers, Sequence},
};

/// How many entries are kept.
const MOST: usize = 4_096;
/// How much memory they take at most; a single entry always fits.
const MOST_BYTES: usize = 4 << 20;
/// How many may watch at a time.
pub(crate) const MAX_WATCHERS: usize = 64;

/// One entry of the ring.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Change(Arc<FeedChange>),
    Gap(FeedGap),
}

impl From<FeedChange> for Entry {
    fn from(change: FeedChange) -> Self {
        Self::Change(Arc::new(change))
    }
}

impl Entry {
    fn weight(&self) -> usize {
        match self {
            Self::Change(change) => change.weight(),
            Self::Gap(_) => size_of::<Self>(),
        }
    }
}

/// What a reader finds next.
#[derive(Debug)]
pub(crate) enum Taken {
    Entry(Entry),
    /// This many entries were dropped; the last gap among them, if there was one.
    Missed(u64, Option<FeedGap>),
    Nothing,
}

/// For how long entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// While anyone watches: a watcher that comes back reads the log.
    WhileWatched,
    /// Once anyone has watched: there is no log to come back to.
    OnceWatched,
}

#[derive(Debug)]
pub(crate) struct Ring {
    keeps: Keeps,
    /// Whether entries are kept at all. Written under the lock, and read without it, so that no
    /// change is rendered for no one.
    watched: AtomicBool,
    missed: AtomicU64,
    state: Mutex<State>,
    /// The number of the entry that comes next.
    next: watch::Sender<Sequence>,
    /// Wakes the task that waits for readers.
    read: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<(Entry, usize)>,
    /// The number of the oldest entry, or of the next one if there is none.
    first: Sequence,
    bytes: usize,
    readers: Readers,
    /// The newest gap, kept even after it was dropped: a count cannot replace it.
    gap: Option<(Sequence, FeedGap)>,
}

impl State {
    fn next(&self) -> Sequence {
        let held = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        Sequence(self.first.0 + held)
    }

    /// Returns the first entry that is kept once one of some weight has been added.
    fn first_beside(&self, weight: usize) -> Sequence {
        let (mut first, mut held, mut bytes) = (self.first, self.entries.len(), self.bytes);
        for (_, old) in &self.entries {
            if held < MOST && bytes + weight <= MOST_BYTES {
                break;
            }
            first.0 += 1;
            held -= 1;
            bytes -= old;
        }

        first
    }
}

/// A watcher of the ring; its place is released when it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    ring: Arc<Ring>,
    id: ReaderId,
    next: watch::Receiver<Sequence>,
}

impl Ring {
    pub(crate) fn new(keeps: Keeps) -> Arc<Self> {
        Arc::new(Self {
            keeps,
            watched: AtomicBool::new(false),
            missed: AtomicU64::new(0),
            state: Mutex::default(),
            next: watch::Sender::new(Sequence::default()),
            read: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether entries are kept.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst)
    }

    /// Returns how many watchers there are.
    pub(crate) fn watchers(&self) -> usize {
        self.state().readers.len()
    }

    /// Returns how many entries watchers have missed.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Returns the number of the next entry.
    pub(crate) fn end(&self) -> Sequence {
        self.state().next()
    }

    /// Counts entries that no one watches. Returns the number of the next one.
    pub(crate) fn pass(&self, entries: usize) -> Sequence {
        let entries = u64::try_from(entries).unwrap_or(u64::MAX);
        let mut state = self.state();
        // A watcher that has begun a moment ago finds them missing.
        let gone = std::mem::take(&mut state.entries);
        state.bytes = 0;

        let held = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        state.first.0 += held + entries;
        let next = state.next();
        drop(state);
        self.next.send_replace(next);
        next
    }

    /// Waits until watchers that keep up have read the entries that must make room for this one.
    pub(crate) async fn make_room(&self, entry: &Entry, clock: &dyn Clock) {
        let weight = entry.weight();
        loop {
            // Before the check: a read in between is not missed.
            let mut read = std::pin::pin!(self.read.notified());
            read.as_mut().enable();

            let asked = clock.now();
            let awaited = {
                let state = self.state();
                state.readers.awaited(state.first_beside(weight))
            };
            let Some(awaited) = awaited else { return };

            match select(read, clock.sleep(awaited.patience)).await {
                Either::Left(_) | Either::Right(_) => {}
            }
            let time = clock.now().since(asked);
            self.state().readers.waited(&awaited, time);
        }
    }

    /// Adds an entry, which is made once the number of the next one is known.
    pub(crate) fn push(&self, make: impl FnOnce(Sequence) -> Entry) {
        let mut gone = Vec::new();
        let mut state = self.state();
        let number = state.next();
        let entry = make(Sequence(number.0 + 1));
        let weight = entry.weight();
        if let Entry::Gap(gap) = &entry {
            state.gap = Some((number, gap.clone()));
        }

        state.entries.push_back((entry, weight));
        state.bytes += weight;

        while state.entries.len() > MOST || state.bytes > MOST_BYTES && state.entries.len() > 1 {
            if let Some((old, weight)) = state.entries.pop_front() {
                state.bytes -= weight;
                state.first.0 += 1;
                gone.push(old);
            }
        }

        drop(state);
        drop(gone);
        self.next.send_replace(Sequence(number.0 + 1));
    }

    /// Adds a watcher at the next entry; `None` if there are [`MAX_WATCHERS`] already.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Option<Watcher> {
        let mut state = self.state();
        if state.readers.len() >= MAX_WATCHERS {
            return None;
        }

        self.watched.store(true, Ordering::SeqCst);
        let end = state.next();
        let id = state.readers.add(end);
        drop(state);

        Some(Watcher {
            ring: Arc::clone(self),
            id,
            next: self.next.subscribe(),
        })
    }
}

impl Watcher {
    /// Returns the next entry, without waiting.
    pub(crate) fn take(&mut self) -> Taken {
        let mut state = self.ring.state();
        let (at, end) = (state.readers.at(self.id), state.next());
        if at < state.first {
            let missed = state.first.0 - at.0;
            let gap = state.gap.as_ref();
            let gap = gap.filter(|(number, _)| (at..state.first).contains(number));
            let gap = gap.map(|(_, gap)| gap.clone());
            let first = state.first;
            state.readers.move_to(self.id, first, end);
            drop(state);
            self.ring.missed.fetch_add(missed, Ordering::Relaxed);
            return Taken::Missed(missed, gap);
        }

        let ahead = usize::try_from(at.0 - state.first.0).unwrap_or(usize::MAX);
        let Some((entry, _)) = state.entries.get(ahead) else {
            return Taken::Nothing;
        };

        let entry = entry.clone();
        state.readers.has_read(self.id, end);
        drop(state);
        self.ring.read.notify_waiters();
        Taken::Entry(entry)
    }

    /// Ends all waits for this reader until it is at the end, because it reads the log first.
    pub(crate) fn step_aside(&self) {
        self.ring.state().readers.give_up(self.id);
        self.ring.read.notify_waiters();
    }

    /// Returns whether the entry that it would read next was dropped.
    pub(crate) fn has_missed(&self) -> bool {
        let state = self.ring.state();
        state.readers.at(self.id) < state.first
    }

    /// Waits until there may be something to take. Cancel safe.
    pub(crate) async fn filled(&mut self) {
        let at = self.ring.state().readers.at(self.id);
        // The sender is part of the ring, which this holds.
        drop(self.next.wait_for(|next| *next > at).await);
    }

    /// Goes back to an entry, if it is still kept. Otherwise it stays where it is.
    pub(crate) fn back_to(&mut self, at: Sequence) -> Result<(), Back> {
        let mut state = self.ring.state();
        let end = state.next();
        if at > end {
            return Err(Back::NeverWas);
        }
        if at < state.first {
            return Err(Back::Gone(state.first.0 - at.0));
        }

        state.readers.move_to(self.id, at, end);
        Ok(())
    }

    /// Skips everything that waits. Returns the last gap among it.
    pub(crate) fn pass_over(&mut self) -> Option<FeedGap> {
        let mut state = self.ring.state();
        let (from, end) = (state.readers.at(self.id), state.next());
        let gap = state.gap.as_ref().filter(|(at, _)| *at >= from);
        let gap = gap.map(|(_, gap)| gap.clone());
        state.readers.move_to(self.id, end, end);
        gap
    }
}

/// Why a watcher cannot go back to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// It was dropped; this many entries are missing up to the oldest that is kept.
    Gone(u64),
    /// There was no such entry.
    NeverWas,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut state = self.ring.state();
        state.readers.remove(self.id);

        let is_over = state.readers.len() == 0 && self.ring.keeps == Keeps::WhileWatched;
        let mut gone = VecDeque::new();
        if is_over {
            self.ring.watched.store(false, Ordering::SeqCst);
            state.first = state.next();
            gone = std::mem::take(&mut state.entries);
            state.bytes = 0;
        }

        drop(state);
        drop(gone);
        self.ring.read.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tidings_core::{
        clock::ManualClock,
        log::{Cursor, Epoch, Gap, GapReason, Place},
    };
    use uuid::Uuid;

    use super::{super::change::Draft, *};

    fn push(ring: &Ring, payload: &str) {
        let place = |next: Sequence| Place(Cursor::counted(Epoch::new(1, Uuid::nil()), next.0));
        let draft = Draft::of_event("test", "event", payload, None);
        ring.push(|next| draft.at(place(next), None).into());
    }

    fn taken(watcher: &mut Watcher) -> String {
        match watcher.take() {
            Taken::Entry(Entry::Change(change)) => change.place().0.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_slow_watcher_is_told_how_much_it_has_missed_and_holds_nothing() {
        let ring = Ring::new(Keeps::WhileWatched);
        let mut slow = ring.subscribe().expect("room for a watcher");
        for _ in 0..MOST + 7 {
            push(&ring, "1");
        }
        assert!(matches!(slow.take(), Taken::Missed(7, None)));
        assert!(taken(&mut slow).ends_with(".8"));
        assert_eq!(ring.missed(), 7);
        assert_eq!(ring.state().entries.len(), MOST);
    }

    #[test]
    fn entries_are_bounded_in_bytes_too() {
        let ring = Ring::new(Keeps::WhileWatched);
        let _watcher = ring.subscribe().expect("room for a watcher");
        let large = format!("\"{}\"", "x".repeat(MOST_BYTES / 3));
        for _ in 0..10 {
            push(&ring, &large);
        }
        let state = ring.state();
        assert!(state.entries.len() == 2 && state.bytes <= MOST_BYTES);
        let summed: usize = state.entries.iter().map(|(_, weight)| weight).sum();
        assert_eq!(state.bytes, summed);
    }

    #[test]
    fn room_is_made_once_those_that_keep_up_have_read_and_others_wait_half_a_second() {
        let (ring, clock) = (Ring::new(Keeps::WhileWatched), ManualClock::new());
        let (mut quick, mut slow) = (
            ring.subscribe().expect("free"),
            ring.subscribe().expect("free"),
        );
        let aside = ring.subscribe().expect("free");
        aside.step_aside();
        let gap = Entry::Gap(FeedGap::new(Gap::of_all(GapReason::Epoch), None));
        for _ in 0..MOST {
            assert!(ring.make_room(&gap, &clock).now_or_never().is_some());
            push(&ring, "1");
        }

        let mut full = std::pin::pin!(ring.make_room(&gap, &clock));
        assert!(full.as_mut().now_or_never().is_none());
        assert!(taken(&mut quick).ends_with(".1"));
        clock.advance(std::time::Duration::from_millis(499));
        assert!(full.as_mut().now_or_never().is_none(), "one has not read");
        clock.advance(std::time::Duration::from_millis(1));
        assert!(full.as_mut().now_or_never().is_some());
        push(&ring, "2");

        // The slow one is not waited for until it is at the end, the quick one always.
        let mut full = std::pin::pin!(ring.make_room(&gap, &clock));
        assert!(full.as_mut().now_or_never().is_none());
        assert!(taken(&mut quick).ends_with(".2"));
        assert!(full.as_mut().now_or_never().is_some());
        assert!(matches!(slow.take(), Taken::Missed(1, None)));
        while !matches!(slow.take(), Taken::Nothing) {}
        while !matches!(quick.take(), Taken::Nothing) {}
        for _ in 0..MOST {
            push(&ring, "3");
        }
        while !matches!(quick.take(), Taken::Nothing) {}
        assert!(ring.make_room(&gap, &clock).now_or_never().is_none());
        drop((slow, aside));
        assert!(ring.make_room(&gap, &clock).now_or_never().is_some());
    }

    #[test]
    fn a_gap_that_has_made_room_is_told_nevertheless() {
        let ring = Ring::new(Keeps::WhileWatched);
        let mut slow = ring.subscribe().expect("room for a watcher");
        let gap = FeedGap::new(Gap::of_all(GapReason::Epoch), None);
        ring.push(|_| Entry::Gap(gap.clone()));
        for _ in 0..MOST {
            push(&ring, "1");
        }
        assert!(matches!(slow.take(), Taken::Missed(1, Some(told)) if told == gap));
    }

    #[test]
    fn watchers_are_bounded_and_what_no_one_watches_is_not_kept() {
        let ring = Ring::new(Keeps::WhileWatched);
        let watchers: Vec<_> = (0..MAX_WATCHERS).map(|_| ring.subscribe()).collect();
        assert!(watchers.iter().all(Option::is_some) && ring.subscribe().is_none());
        push(&ring, "1");
        drop(watchers);
        assert!(!ring.is_watched() && ring.state().entries.is_empty());
        let mut watcher = ring.subscribe().expect("room for a watcher");
        assert!(watcher.filled().now_or_never().is_none());
        push(&ring, "2");
        assert!(watcher.filled().now_or_never().is_some() && taken(&mut watcher).ends_with(".2"));
    }

    #[test]
    fn a_watcher_goes_back_to_what_is_kept_and_to_nothing_else() {
        let ring = Ring::new(Keeps::OnceWatched);
        ring.pass(3);
        drop(ring.subscribe());
        push(&ring, "4");
        push(&ring, "5");
        let mut watcher = ring.subscribe().expect("room for a watcher");
        assert_eq!(watcher.back_to(Sequence(2)), Err(Back::Gone(1)));
        assert_eq!(watcher.back_to(Sequence(6)), Err(Back::NeverWas));
        assert!(matches!(watcher.take(), Taken::Nothing));
        assert_eq!(watcher.back_to(Sequence(4)), Ok(()));
        assert!(taken(&mut watcher).ends_with(".5"));
        assert_eq!(watcher.back_to(Sequence(3)), Ok(()));
        assert!(watcher.pass_over().is_none() && matches!(watcher.take(), Taken::Nothing));
    }
}
