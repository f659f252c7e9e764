//! One load in progress, and the callers that wait for it.
//!
//! A flight is overdue when the longest deadline of its callers has passed, counted from its own
//! start. No caller joins it any more then; those that wait go on until their own deadline.
//!
//! Wakers are code of other people's executors: they are cloned, dropped and woken with no lock
//! held, and one that panics leaves no other asleep.

use std::{
    any::TypeId,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tidings_core::{CacheKey, spawn::AbortHandle};

use crate::{
    answer::fills::Allowed,
    error::GetError,
    fence::number::{Moment, Noted, Number},
    level2::stored::Stored,
    sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering},
    user_code,
};

/// Why a load is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Neither level has the key.
    Miss,
    /// A caller wants it loaded whatever is cached; a load in progress will do.
    Renew,
    /// A caller wants a load that begins now.
    Reload,
    /// The entry asks to be loaded again in the background.
    Refresh,
}

impl Why {
    /// Returns whether landing replaces what workers may hold in L1.
    pub(crate) const fn replaces(self) -> bool {
        match self {
            Self::Miss => false,
            Self::Renew | Self::Reload | Self::Refresh => true,
        }
    }
}

/// Whether a caller is itself the future of a load, which holds what other loads wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// It waits for its turn.
    Outer,
    /// It goes ahead at once: the load that it is part of would wait for itself.
    Nested,
}

/// A place in the order in which the loads of a share of the table were entered. A load is begun
/// after it was entered, so a call that came before it was entered came before its load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(pub(crate) u64);

/// The type of a value, to be compared and to be named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl ValueType {
    pub(crate) fn of<V: 'static>() -> Self {
        Self {
            id: TypeId::of::<V>(),
            name: std::any::type_name::<V>(),
        }
    }
}

/// How a load ended, for the callers that waited.
#[derive(Clone)]
pub(crate) enum Landed {
    Value(Answer),
    Failed(GetError),
    /// It was ended without a result, because it was late: callers that have time left ask again.
    Ended,
}

/// What a load gave.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) value: Option<Arc<dyn Stored>>,
    /// Until when L1 may serve it, if L2 holds it.
    pub(crate) filled: Option<Moment>,
    /// What an entry of it weighs.
    pub(crate) weight: u32,
    /// Until when the value is what it is.
    pub(crate) ends: Moment,
    /// From when on the node's bound counts for it.
    pub(crate) since: Moment,
    /// Callers that noted this number or a higher one came after a tag of the value was
    /// invalidated: they ask again.
    pub(crate) not_from: Number,
}

/// One load of one key.
pub(crate) struct Flight {
    pub(crate) key: CacheKey,
    /// The sequence, and the time, before the load began.
    pub(crate) noted: Noted,
    pub(crate) of: ValueType,
    /// Why it was started.
    pub(crate) why: Why,
    /// When it was entered into its share of the table.
    pub(crate) turn: Turn,
    /// Whether what it reads may be kept, as far as that was known before it began.
    pub(crate) allowed: Allowed,
    /// Written under the shard's lock only.
    overdue: AtomicBool,
    /// Landing replaces what workers may hold in L1: a renewal or a refresh. Written under the
    /// shard's lock only.
    replaces: AtomicBool,
    /// A renewal has started or joined it: what it gives is what later callers see. Written under
    /// the shard's lock only.
    promised: AtomicBool,
    /// No caller joins it any more, although it has time left: a later caller wanted a load of its
    /// own. Written under the shard's lock only.
    closed: AtomicBool,
    /// Another flight that replaces has landed since this one began: which of the two read later is
    /// not known. Written under the shard's lock only.
    contested: AtomicBool,
    /// It had to make room for a younger load that is overdue, which may fill after it. Written
    /// under the shard's lock only.
    displaced: AtomicBool,
    state: Mutex<State>,
}

struct State {
    landed: Option<Landed>,
    wakers: Vec<Option<Waker>>,
    /// Indexes of `wakers` whose waiter went away.
    free: Vec<usize>,
    /// When the longest deadline of its callers has passed.
    due: Moment,
    rank: Rank,
    /// Wakes the task while it waits for its turn.
    turn: Option<Waker>,
    task: TaskState,
}

/// What is known of the flight's task.
enum TaskState {
    /// It may be about to start.
    Unknown,
    Runs(TaskEnd),
    /// It must end, or has ended.
    Ended,
}

/// How to end the task of a load, which may be that of several keys: it ends once none of its
/// flights wants it any more.
#[derive(Clone)]
pub(crate) struct TaskEnd {
    abort: AbortHandle,
    /// How many flights want it; `None` if there is only one.
    wanted: Option<Arc<AtomicUsize>>,
}

impl TaskEnd {
    pub(crate) fn new(abort: AbortHandle, flights: usize) -> Self {
        Self {
            abort,
            wanted: (flights > 1).then(|| Arc::new(AtomicUsize::new(flights))),
        }
    }

    /// Notes that one flight does not want the task any more. Returns whether it was the last.
    fn leave(&self) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_none_or(|wanted| wanted.fetch_sub(1, Ordering::AcqRel) == 1)
    }
}

impl Flight {
    pub(crate) fn new(
        key: CacheKey,
        noted: Noted,
        of: ValueType,
        allowed: Allowed,
        (why, turn): (Why, Turn),
        due: Moment,
        rank: Rank,
    ) -> Self {
        let state = State {
            landed: None,
            wakers: Vec::new(),
            free: Vec::new(),
            due,
            rank,
            turn: None,
            task: TaskState::Unknown,
        };
        Self {
            key,
            noted,
            of,
            why,
            turn,
            allowed,
            overdue: AtomicBool::new(false),
            replaces: AtomicBool::new(why.replaces()),
            promised: AtomicBool::new(matches!(why, Why::Renew | Why::Reload)),
            closed: AtomicBool::new(false),
            contested: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Hands the result to all callers that wait. The first result stays.
    pub(crate) fn land(&self, landed: Landed) {
        let mut state = self.state.lock();
        if state.landed.is_some() {
            drop(state);
            return; // the result is dropped with no lock held
        }

        state.landed = Some(landed);
        state.free = Vec::new();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);

        // Woken without the lock: the first thing they do is to take it.
        user_code::wake(wakers.into_iter().flatten());
    }

    pub(crate) fn replaces(&self) -> bool {
        self.replaces.load(Ordering::Relaxed)
    }

    /// Makes the flight that of a renewal, which replaces what is cached. Must be called under the
    /// shard's lock.
    pub(crate) fn make_replace(&self) {
        self.replaces.store(true, Ordering::Relaxed);
        self.promised.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_promised(&self) -> bool {
        self.promised.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Closes the flight to new callers. Must be called under the shard's lock.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_contested(&self) -> bool {
        self.contested.load(Ordering::Relaxed)
    }

    /// Notes that another load was in progress. Must be called under the shard's lock.
    pub(super) fn make_contested(&self) {
        self.contested.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_displaced(&self) -> bool {
        self.displaced.load(Ordering::Relaxed)
    }

    /// Notes that a younger load has taken its place. Must be called under the shard's lock.
    pub(super) fn make_displaced(&self) {
        self.displaced.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::Relaxed)
    }

    /// Notes that the flight is overdue. Must be called under the shard's lock.
    pub(super) fn make_overdue(&self) {
        self.overdue.store(true, Ordering::Relaxed);
    }

    /// Lets a caller join: the flight has as long as the longest deadline of its callers, and the
    /// highest rank. Under the shard's lock, so that no flight is joined that is overdue. What is
    /// returned is to be woken without it.
    #[must_use]
    pub(crate) fn join(&self, due: Moment, rank: Rank) -> Option<Waker> {
        let mut state = self.state.lock();
        state.due = state.due.max(due);
        match rank {
            Rank::Outer => None,
            Rank::Nested => {
                state.rank = rank;
                state.turn.take()
            }
        }
    }

    /// Returns whether the load must not wait for its turn; if it may, this waker is woken when
    /// that changes.
    pub(crate) fn is_urgent(&self, context: &Context<'_>) -> bool {
        let waker = context.waker().clone(); // with no lock held

        let mut state = self.state.lock();
        if state.rank == Rank::Nested {
            drop(state);
            return true;
        }

        let old = state.turn.replace(waker);
        drop(state);
        drop(old); // a waker's drop may run code of its executor
        false
    }

    /// Returns when the longest deadline of its callers has passed.
    pub(crate) fn due(&self) -> Moment {
        self.state.lock().due
    }

    /// Remembers how to end the load's task. A flight that was ended before leaves it at once.
    pub(crate) fn runs_as(&self, task: TaskEnd) {
        let mut state = self.state.lock();
        match state.task {
            TaskState::Unknown | TaskState::Runs(_) => state.task = TaskState::Runs(task),
            TaskState::Ended => {
                drop(state);
                self.leave(&task);
            }
        }
    }

    /// Ends the load: nothing may be filled from it, and callers that have time left ask again. If
    /// other flights share the task, it goes on for them. With no lock held: this wakes callers.
    pub(crate) fn end(&self) {
        let task = std::mem::replace(&mut self.state.lock().task, TaskState::Ended);
        if let TaskState::Runs(task) = task {
            self.leave(&task);
        }
    }

    fn leave(&self, task: &TaskEnd) {
        match task.leave() {
            true => task.abort.abort(), // which lands the flight
            false => self.land(Landed::Ended),
        }
    }

    /// Ends the task, whatever other flights it has.
    pub(crate) fn abandon(&self) {
        let task = std::mem::replace(&mut self.state.lock().task, TaskState::Ended);
        if let TaskState::Runs(task) = task {
            task.abort.abort();
        }
    }

    /// Returns whether the task must end, or has ended.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state.lock().task, TaskState::Ended)
    }

    /// Waits for the result. Cancel safe: the load does not notice.
    pub(crate) fn wait(self: Arc<Self>) -> Wait {
        Wait {
            flight: self,
            place: None,
        }
    }
}

/// A caller that waits for a flight.
pub(crate) struct Wait {
    flight: Arc<Flight>,
    place: Option<usize>,
}

impl Wait {
    /// Returns the result if it is there, or makes sure that this waker is woken when it is. A
    /// waker that is missing is asked for, and then given, so that it is cloned with no lock held.
    fn look(&mut self, current: &Waker, own: &mut Option<Waker>) -> Result<Landed, Missing> {
        let mut state = self.flight.state.lock();
        if let Some(landed) = &state.landed {
            return Ok(landed.clone());
        }

        let place = self.place.or_else(|| state.free.pop());
        let place = place.unwrap_or_else(|| {
            state.wakers.push(None);
            state.wakers.len() - 1
        });
        self.place = Some(place);

        let kept = &mut state.wakers[place];
        if kept.as_ref().is_some_and(|kept| kept.will_wake(current)) {
            return Err(Missing::Result);
        }
        if own.is_none() {
            return Err(Missing::Waker);
        }

        std::mem::swap(kept, own); // the old one is dropped by the caller of this
        Err(Missing::Result)
    }
}

/// What a caller that waits still lacks.
enum Missing {
    Result,
    Waker,
}

impl Future for Wait {
    type Output = Landed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Landed> {
        let mut own = None;
        loop {
            match self.look(context.waker(), &mut own) {
                Ok(landed) => return Poll::Ready(landed),
                Err(Missing::Result) => return Poll::Pending,
                Err(Missing::Waker) => own = Some(context.waker().clone()),
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(place) = self.place else {
            return;
        };

        let mut state = self.flight.state.lock();
        if state.landed.is_none() {
            let waker = state.wakers[place].take();
            state.free.push(place);
            drop(state);
            drop(waker); // a waker's drop may run code of its executor
        }
    }
}
