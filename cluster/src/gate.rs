//! [`Gate`]: whether a load may fill the cache, and how fresh the cached entries are proven to be.
//!
//! Let *p* be the moment of the last proof of freshness, and *m* the last moment at which the node
//! saw its own unmarked row. With a bound, an entry is served until the bound has run out since the
//! later of p and the beginning of its load, and a load that begins later than m plus the bound
//! does not fill. So a log that stalls turns the cache into one with that ttl, and a node that
//! others may have given up keeps nothing.
//!
//! Moments are those *before* a question was sent. The cache notes what is proven first, then reads
//! the value, and the clock last. Otherwise a proof that came in between would be about what has
//! replaced the value, or a process that is stopped in between would serve what it must not.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_cache::{Pass, Proof};
use tidings_core::clock::{Clock, Tick};

use crate::faults::{Rule, removed};

/// The state of one node towards its cache. Shared by the tail, which moves it, and the cache,
/// which asks it.
pub struct Gate {
    clock: Arc<dyn Clock>,
    bound: Option<Duration>,
    state: Mutex<State>,
    /// What follows from the state. Written under its lock.
    word: Word,
}

#[derive(Debug)]
struct State {
    standing: Standing,
    /// Counts the times that fills were stopped: a load that began before does not fill after.
    generation: Generation,
    /// p.
    proven: Option<Tick>,
    /// m.
    counted: Option<Tick>,
}

/// Names the time between two stops of fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// What the node may do, from all to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It follows the log.
    Open,
    /// It has no cursor: it serves what it has, and fills nothing.
    Closed,
    /// Others may have given it up: it serves nothing from its cache and fills nothing.
    Suspended,
    /// Another start has its name: suspended for good.
    Superseded,
}

/// What is proven, in one word: the cache asks at every lookup in its second level.
#[derive(Debug, Default)]
struct Word(AtomicU64);

impl Word {
    const NONE: u64 = 0;
    const WITHHELD: u64 = u64::MAX;

    fn say(&self, proof: Proof) {
        let word = match proof {
            Proof::None => Self::NONE,
            Proof::Withheld => Self::WITHHELD,
            Proof::At(at) => at.0.saturating_add(1).min(Self::WITHHELD - 1),
        };
        // A reader of this word sees everything that was evicted before.
        self.0.store(word, Ordering::Release);
    }

    fn read(&self) -> Proof {
        match self.0.load(Ordering::Acquire) {
            Self::NONE => Proof::None,
            Self::WITHHELD => Proof::Withheld,
            at => Proof::At(Tick(at - 1)),
        }
    }
}

impl State {
    fn proof(&self) -> Proof {
        match (self.standing, self.proven) {
            (Standing::Suspended | Standing::Superseded, _) => Proof::Withheld,
            (Standing::Closed | Standing::Open, Some(proven)) => Proof::At(proven),
            (Standing::Closed | Standing::Open, None) => Proof::None,
        }
    }
}

impl Gate {
    pub(crate) fn new(clock: Arc<dyn Clock>, bound: Option<Duration>) -> Self {
        let state = State {
            standing: Standing::Closed,
            generation: Generation(0),
            proven: None,
            counted: None,
        };
        Self {
            clock,
            bound,
            state: Mutex::new(state),
            word: Word::default(),
        }
    }

    /// Notes that a load begins, before it reads anything. `None` if its value only answers the
    /// callers that wait for it.
    pub(crate) fn begin_load(&self) -> Option<Pass> {
        let began = self.clock.now();
        let state = self.state.lock();
        let counted = self.is_counted(&state, began);
        let open = match state.standing {
            Standing::Open => true,
            Standing::Closed | Standing::Suspended | Standing::Superseded => false,
        };
        let fills = (open || removed(Rule::FillNeedsCursor))
            && (counted || removed(Rule::FillNeedsMembership));
        fills.then_some(Pass(state.generation.0))
    }

    /// Returns whether others may have given this node up by now.
    pub(crate) fn is_given_up(&self) -> bool {
        let now = self.clock.now();
        let state = self.state.lock();
        match state.standing {
            Standing::Open | Standing::Closed => !self.is_counted(&state, now),
            Standing::Suspended | Standing::Superseded => true,
        }
    }

    /// Returns whether the node counted as a member within its bound before a moment.
    fn is_counted(&self, state: &State, at: Tick) -> bool {
        match (self.bound, state.counted) {
            (None, _) => true,
            (Some(bound), Some(counted)) => at <= counted.plus(bound),
            (Some(_), None) => false,
        }
    }

    /// Returns whether what a load has read may enter the cache: fills were not stopped since it
    /// began.
    pub(crate) fn fills(&self, pass: Pass) -> bool {
        self.state.lock().generation == Generation(pass.0)
    }

    /// Returns what is proven about the cached entries. Call it before a value is read.
    pub fn proof(&self) -> Proof {
        self.word.read()
    }

    /// Returns whether the node follows the log, fills and serves.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.lock().standing == Standing::Open
    }

    /// Stops fills; what is cached stays as it is, served or not.
    pub(crate) fn close(&self) {
        self.stop(Standing::Closed);
    }

    /// Ends a stop of hits, because nothing is cached any more. Fills stay stopped.
    pub(crate) fn emptied(&self) {
        let mut state = self.state.lock();
        if state.standing == Standing::Suspended {
            state.standing = Standing::Closed;
        }
        self.word.say(state.proof());
    }

    /// Stops fills and hits.
    pub(crate) fn suspend(&self) {
        self.stop(Standing::Suspended);
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.state.lock().standing == Standing::Superseded
    }

    /// Stops fills and hits for good.
    pub(crate) fn supersede(&self) {
        self.stop(Standing::Superseded);
    }

    fn stop(&self, standing: Standing) {
        let mut state = self.state.lock();
        state.generation.0 += 1;
        // A stop of fills alone does not allow hits that were stopped before.
        state.standing = state.standing.max(standing);
        self.word.say(state.proof());
    }

    /// Lets loads fill and hits be served.
    pub(crate) fn open(&self) {
        let mut state = self.state.lock();
        if state.standing != Standing::Superseded {
            state.standing = Standing::Open;
        }
        self.word.say(state.proof());
    }

    /// Opens again if nothing has stopped it since a generation.
    pub(crate) fn resume(&self, generation: Generation) {
        let mut state = self.state.lock();
        if state.generation == generation && state.standing == Standing::Suspended {
            state.standing = Standing::Open;
        }
        self.word.say(state.proof());
    }

    pub(crate) fn generation(&self) -> Generation {
        self.state.lock().generation
    }

    /// Notes a proof: the node was fresh at a moment before its question was sent.
    pub(crate) fn prove(&self, at: Tick, generation: Generation) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.proven = state.proven.max(Some(at));
        }
        self.word.say(state.proof());
    }

    /// Notes that the node counted as a member at a moment before its question was sent.
    pub(crate) fn counts(&self, at: Tick) {
        let mut state = self.state.lock();
        state.counted = state.counted.max(Some(at));
    }

    /// Returns how long ago the last proof was; `None` if there was none.
    pub(crate) fn unproven_for(&self) -> Option<Duration> {
        let proven = self.state.lock().proven?;
        Some(self.clock.now().since(proven))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("bound", &self.bound)
            .field("state", &*self.state.lock())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(bound: Option<Duration>) -> (Gate, ManualClock) {
        let clock = ManualClock::new();
        (Gate::new(Arc::new(clock.clone()), bound), clock)
    }

    fn fills(gate: &Gate) -> bool {
        gate.begin_load().is_some_and(|pass| gate.fills(pass))
    }

    #[test]
    fn proofs_only_move_on() {
        let (gate, clock) = gate(Some(SECOND));
        assert_eq!(gate.proof(), Proof::None);
        gate.open();
        let first = clock.now();
        gate.prove(first, gate.generation());
        assert_eq!(gate.proof(), Proof::At(first));
        clock.advance(SECOND);
        let at = clock.now();
        gate.prove(at, gate.generation());
        gate.prove(first, gate.generation());
        gate.close();
        assert_eq!(
            gate.proof(),
            Proof::At(at),
            "what it holds is as proven as it was"
        );
    }

    #[test]
    fn a_load_fills_only_while_the_node_has_lately_counted_as_a_member() {
        let (gate, clock) = gate(Some(SECOND));
        gate.open();
        assert!(!fills(&gate), "it never counted");
        gate.counts(clock.now());
        clock.advance(SECOND);
        assert!(fills(&gate));
        assert!(!gate.is_given_up());
        clock.advance(Duration::from_nanos(1));
        assert!(!fills(&gate) && gate.is_given_up());
    }

    #[test]
    fn a_node_that_only_keeps_nothing_was_not_given_up() {
        let (gate, clock) = gate(Some(SECOND));
        gate.counts(clock.now());
        assert!(!fills(&gate) && !gate.is_given_up(), "it has no cursor");
        gate.suspend();
        assert!(gate.is_given_up());
        let (gate, _) = self::gate(None);
        assert!(!gate.is_given_up());
        gate.supersede();
        assert!(gate.is_given_up());
    }

    #[test]
    fn a_load_that_began_before_fills_were_stopped_does_not_fill_afterwards() {
        let (gate, _) = gate(None);
        gate.open();
        let pass = gate.begin_load().expect("the node follows the log");
        gate.close();
        assert!(!fills(&gate));
        gate.open();
        assert!(!gate.fills(pass));
        assert!(fills(&gate));
    }

    #[test]
    fn a_proof_from_before_a_stop_counts_no_more() {
        let (gate, clock) = gate(Some(SECOND));
        gate.open();
        let generation = gate.generation();
        gate.suspend();
        assert_eq!(gate.proof(), Proof::Withheld);
        clock.advance(2 * SECOND);
        gate.prove(clock.now(), generation);
        gate.resume(generation);
        assert!(!gate.is_open());
        gate.resume(gate.generation());
        assert!(gate.is_open());
        assert_eq!(gate.proof(), Proof::None);
    }

    #[test]
    fn what_must_not_be_served_stays_so_at_a_gap_until_nothing_is_held() {
        let (gate, clock) = gate(Some(SECOND));
        gate.open();
        gate.counts(clock.now());
        gate.prove(clock.now(), gate.generation());
        let proven = gate.proof();

        gate.suspend();
        gate.close();
        assert_eq!(gate.proof(), Proof::Withheld);
        gate.emptied();
        assert!(gate.proof() == proven && !fills(&gate));
        gate.open();
        assert!(fills(&gate));
    }

    #[test]
    fn a_superseded_node_never_opens_again() {
        let (gate, _) = gate(None);
        gate.supersede();
        gate.open();
        gate.resume(gate.generation());
        assert!(gate.proof() == Proof::Withheld && !gate.is_open());
    }
}
