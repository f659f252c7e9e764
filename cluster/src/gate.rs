//! [`Gate`]: whether a load may fill the cache, and whether an entry may be served.
//!
//! Let *p* be the moment of the last proof of freshness, and *m* the last moment at which the node
//! saw its own unmarked row. With a bound, an entry is served until the bound has run out since the
//! later of p and the beginning of its load, and a load that begins later than m plus the bound
//! does not fill. So a log that stalls turns the cache into one with that ttl, and a node that
//! others may have given up keeps nothing.
//!
//! Moments are those *before* a question was sent. What is proven is noted first, then the value is
//! read, and the clock last. A proof that came in between would be of what has replaced the value;
//! in the other order a process that is stopped in between would serve what it must not.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_cache::Pass;
use tidings_core::clock::{Clock, Tick};

use crate::faults::{Rule, removed};

/// The state of one node towards its cache. Shared by the tail, which moves it, and the cache,
/// which asks it.
pub struct Gate {
    clock: Arc<dyn Clock>,
    bound: Option<Duration>,
    state: Mutex<State>,
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

/// What the node may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has no cursor: it serves what it has, and fills nothing.
    Closed,
    /// It follows the log.
    Open,
    /// Others may have given it up: it serves nothing from its cache and fills nothing.
    Suspended,
    /// Another start has its name: as suspended, for good.
    Superseded,
}

/// What was known of a node before a value was read.
#[derive(Clone, Copy, Debug)]
#[must_use = "it says whether the value that is read next may be served"]
pub struct Reading {
    stands: bool,
    proven: Option<Tick>,
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
        }
    }

    /// Notes that a load begins, before it reads anything. None: what it reads only answers those
    /// that wait for it.
    pub(crate) fn begin_load(&self) -> Option<Pass> {
        let began = self.clock.now();
        let state = self.state.lock();
        let counted = match (self.bound, state.counted) {
            (None, _) => true,
            (Some(bound), Some(counted)) => began <= counted.plus(bound),
            (Some(_), None) => false,
        };
        let open = match state.standing {
            Standing::Open => true,
            Standing::Closed | Standing::Suspended | Standing::Superseded => false,
        };
        let fills = (open || removed(Rule::FillNeedsCursor))
            && (counted || removed(Rule::FillNeedsMembership));
        fills.then_some(Pass(state.generation.0))
    }

    /// Returns whether what a load has read may enter the cache: fills were not stopped since it
    /// began.
    pub(crate) fn fills(&self, pass: Pass) -> bool {
        self.state.lock().generation == Generation(pass.0)
    }

    /// Notes what is proven, before a value is read.
    ///
    /// A proof that comes between the value and the question would be of what has replaced the
    /// value.
    pub fn begin_read(&self) -> Reading {
        let state = self.state.lock();
        Reading {
            stands: match state.standing {
                Standing::Closed | Standing::Open => true,
                Standing::Suspended | Standing::Superseded => false,
            },
            proven: state.proven,
        }
    }

    /// Returns whether an entry may be served whose load began at a moment. Reads the clock: call
    /// it after the value was read.
    #[must_use]
    pub fn serves(&self, reading: &Reading, loaded: Tick) -> bool {
        self.serves_at(reading, loaded, self.clock.now())
    }

    /// Waits for a value and the moment at which its load began, then asks whether it may be
    /// served.
    pub async fn read<T>(&self, value: impl Future<Output = (T, Tick)>) -> (T, bool) {
        let reading = self.begin_read();
        let (value, loaded) = value.await;
        if removed(Rule::ProofBeforeValue) {
            self.clock.sleep(Duration::from_millis(2)).await;
            return (value, self.serves(&self.begin_read(), loaded));
        }
        if removed(Rule::ClockAfterValue) {
            // A time that something else has read a while ago, as a worker's loop would.
            let kept = Tick(self.clock.now().0.saturating_sub(100_000_000));
            return (value, self.serves_at(&reading, loaded, kept));
        }
        let serves = self.serves(&reading, loaded);
        (value, serves)
    }

    /// Returns whether the node follows the log, fills and serves.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.lock().standing == Standing::Open
    }

    fn serves_at(&self, reading: &Reading, loaded: Tick, now: Tick) -> bool {
        let fresh = self.bound.is_none_or(|bound| {
            let since = reading.proven.map_or(loaded, |proven| proven.max(loaded));
            now < since.plus(bound)
        });
        reading.stands && fresh
    }

    /// Stops fills; what is cached stays as it is.
    pub(crate) fn close(&self) {
        self.stop(Standing::Closed);
    }

    /// Stops fills and hits.
    pub(crate) fn suspend(&self) {
        self.stop(Standing::Suspended);
    }

    /// Stops fills and hits for good.
    pub(crate) fn supersede(&self) {
        self.stop(Standing::Superseded);
    }

    fn stop(&self, standing: Standing) {
        let mut state = self.state.lock();
        state.generation.0 += 1;
        if state.standing != Standing::Superseded {
            state.standing = standing;
        }
    }

    /// Lets loads fill and hits be served.
    pub(crate) fn open(&self) {
        let mut state = self.state.lock();
        if state.standing != Standing::Superseded {
            state.standing = Standing::Open;
        }
    }

    /// Opens again if nothing has stopped it since a generation.
    pub(crate) fn resume(&self, generation: Generation) {
        let mut state = self.state.lock();
        if state.generation == generation && state.standing == Standing::Suspended {
            state.standing = Standing::Open;
        }
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
    }

    /// Notes that the node counted as a member at a moment before its question was sent.
    pub(crate) fn counts(&self, at: Tick) {
        let mut state = self.state.lock();
        state.counted = state.counted.max(Some(at));
    }

    /// Returns how long ago the last proof was; none if there was none.
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

    fn serves(gate: &Gate, loaded: Tick) -> bool {
        gate.serves(&gate.begin_read(), loaded)
    }

    fn fills(gate: &Gate) -> bool {
        gate.begin_load().is_some_and(|pass| gate.fills(pass))
    }

    #[test]
    fn a_proof_that_comes_after_the_value_was_read_is_not_of_that_value() {
        let (gate, clock) = gate(Some(SECOND));
        gate.open();
        let loaded = clock.now();
        clock.advance(2 * SECOND);
        let reading = gate.begin_read();
        gate.prove(clock.now(), gate.generation());
        assert!(!gate.serves(&reading, loaded));
        assert!(serves(&gate, loaded), "a value that is read from now on");
    }

    #[test]
    fn an_entry_is_served_until_the_bound_has_run_out_since_the_later_of_proof_and_load() {
        let (gate, clock) = gate(Some(SECOND));
        gate.open();
        let loaded = clock.now();
        clock.advance(SECOND / 2);
        gate.prove(clock.now(), gate.generation());
        clock.advance(SECOND - Duration::from_nanos(1));
        assert!(serves(&gate, loaded));
        clock.advance(Duration::from_nanos(1));
        assert!(!serves(&gate, loaded));
        assert!(serves(&gate, clock.now()), "a younger entry");
    }

    #[test]
    fn a_load_fills_only_while_the_node_has_lately_counted_as_a_member() {
        let (gate, clock) = gate(Some(SECOND));
        gate.open();
        assert!(!fills(&gate), "it never counted");
        gate.counts(clock.now());
        clock.advance(SECOND);
        assert!(fills(&gate));
        clock.advance(Duration::from_nanos(1));
        assert!(!fills(&gate));
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
        let (loaded, generation) = (clock.now(), gate.generation());
        gate.suspend();
        assert!(!serves(&gate, loaded));
        clock.advance(2 * SECOND);
        gate.prove(clock.now(), generation);
        gate.resume(generation);
        assert!(!gate.is_open());
        gate.resume(gate.generation());
        assert!(gate.is_open() && !serves(&gate, loaded));
    }

    #[test]
    fn a_superseded_node_never_opens_again() {
        let (gate, clock) = gate(None);
        gate.supersede();
        gate.open();
        gate.resume(gate.generation());
        assert!(!serves(&gate, clock.now()) && !gate.is_open());
    }
}
