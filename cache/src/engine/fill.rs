//! Decides whether a load's result may enter L2, and what the callers that wait get.

use std::time::Duration;

use tidings_core::CacheKey;

use crate::{
    answer::tag::Tag,
    engine::{
        erased::{Admission, ErasedLoaded, Prepared},
        flight::{Answer, Flight, Landed, Why},
        node::Engine,
    },
    faults::{self, Step, removed},
    fence::number::{Moment, Number},
    level2::zone::{Extra, Found, Removed, Times},
    options::terms::Terms,
    record::{LoadedBy, RecordKind},
    stats::{Counter, Counters},
    sync::Arc,
};

/// Why a result does not enter L2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The flight was voided: another call decides what the key holds.
    Void,
    Tag,
    Position,
    Superseded,
    Contested,
    Uncached,
    Heavy,
    /// The node may not hear of changes.
    Unheard,
}

/// Why a `set` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed;

impl Refusal {
    /// Returns whether what L2 holds must go: the result is or may be newer, and only cannot or
    /// must not be kept. A renewal has given its result to its callers, who must not see an older
    /// one afterwards.
    fn empties(self, flight: &Flight) -> bool {
        match self {
            Self::Void | Self::Superseded => false,
            Self::Position => flight.is_promised(),
            Self::Tag | Self::Contested | Self::Uncached | Self::Heavy | Self::Unheard => true,
        }
    }

    /// Returns the word for it.
    const fn word(self) -> &'static str {
        match self {
            Self::Void => "voided",
            Self::Tag => "tag",
            Self::Position => "position",
            Self::Superseded => "superseded",
            Self::Contested => "contested",
            Self::Uncached => "uncached",
            Self::Heavy => "heavy",
            Self::Unheard => "unheard",
        }
    }

    fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Void => &counters.refused_void,
            Self::Tag => &counters.refused_tag,
            Self::Position => &counters.refused_position,
            Self::Superseded | Self::Contested => &counters.refused_superseded,
            Self::Uncached => &counters.uncached,
            Self::Heavy => &counters.refused_heavy,
            Self::Unheard => &counters.refused_unheard,
        }
    }
}

/// What is known of a result when it lands.
#[derive(Clone, Copy, Debug)]
struct Landing {
    /// The flight was in the table.
    current: bool,
    admission: Admission,
    /// It was read at a position before the key's last invalidation.
    behind: bool,
    /// Other loads ran beside it, and what L2 holds was read since it began.
    superseded: bool,
    /// It and the result of another renewal were read at the same time.
    contested: bool,
}

/// Decides whether a result enters L2.
fn judge(landing: Landing) -> Result<(), Refusal> {
    match landing {
        Landing { current: false, .. } => Err(Refusal::Void),
        Landing {
            admission: Admission::Uncached,
            ..
        } => Err(Refusal::Uncached),
        Landing {
            admission: Admission::Heavy { .. } | Admission::Weightless,
            ..
        } => Err(Refusal::Heavy),
        Landing {
            admission: Admission::Unheard,
            ..
        } => Err(Refusal::Unheard),
        Landing { behind: true, .. } => Err(Refusal::Position),
        Landing {
            contested: true, ..
        } => Err(Refusal::Contested),
        Landing {
            superseded: true, ..
        } => Err(Refusal::Superseded),
        Landing {
            current: true,
            admission: Admission::Keep,
            behind: false,
            superseded: false,
            contested: false,
        } => Ok(()),
    }
}

impl Engine {
    /// Lands a flight with what its load gave. If the flight is still current, that enters L2.
    pub(crate) fn fill(
        &self,
        flight: &Arc<Flight>,
        loaded: ErasedLoaded,
        terms: &Terms,
        call_tags: Option<&[Tag]>,
    ) {
        let prepared = self.prepare(&flight.key, loaded, flight.noted, terms, call_tags);

        // Before the lock: this is user code. If fills are stopped between this answer and the
        // lock, the changes that are missed from then on still void the flight or evict the entry:
        // once the node hears of them, or by the purge that takes their place.
        let decision = flight.allowed.judge(self.node.fills.as_ref());
        let prepared = prepared.apply_decision(decision);
        let (value, level1) = (prepared.held.value.clone(), prepared.level1);
        let (weight, ends) = (prepared.held.weight, prepared.ends);
        let since = prepared.held.times().read;
        let extra = prepared.held.extra.clone();

        faults::gap(Step::DisplacedGivesNothing);
        let (gone, verdict) = self.land(flight, prepared);
        let refused = verdict.err().map(Refusal::word);
        self.note_load(flight, |by, took| RecordKind::Loaded { by, took, refused });

        if let Err(refusal) = verdict {
            refusal.counter(&self.named.counters).add(1);
        }

        let answer = Answer {
            value,
            filled: verdict.is_ok().then_some(level1),
            weight,
            ends,
            since,
            not_from: match verdict {
                Ok(()) => Number::ALL,
                Err(_) => self.not_from(flight, extra.as_deref()),
            },
        };
        // The load that took its place may have read before it and still fill: a renewal must not
        // give what a later caller does not see.
        let displaced = flight.is_displaced() && flight.is_promised();
        let displaced = displaced && !removed(Step::DisplacedGivesNothing);
        flight.land(match displaced {
            true => Landed::Ended,
            false => Landed::Value(answer),
        });
        self.node.release(Some((&self.named, &flight.key)), gone);
    }

    /// Records how a flight has landed.
    pub(crate) fn note_load(
        &self,
        flight: &Flight,
        kind: impl FnOnce(LoadedBy, Duration) -> RecordKind,
    ) {
        let by = match flight.why {
            Why::Miss => LoadedBy::Miss,
            Why::Renew | Why::Reload => LoadedBy::Renew,
            Why::Refresh => LoadedBy::Refresh,
        };
        let (now, noted) = (self.node.now(), flight.noted);
        let hash = self.named.key_ref(&flight.key).hash_value();
        let kind = kind(by, now.since(noted.read));
        self.node
            .recorder
            .record(hash, now, noted.number, None, kind);
    }

    /// Takes a flight out of the table, and puts what it gave into L2 if it may enter.
    fn land(&self, flight: &Arc<Flight>, prepared: Prepared) -> (Removed, Result<(), Refusal>) {
        let key = &flight.key;
        let mutex = self.named.flights.shard(key);

        // Decided and entered under one lock: an invalidation comes before, and has voided the
        // flight, or after, and finds the entry.
        let mut shard = mutex.lock();
        let beside_others = flight.is_overdue() || flight.is_closed();
        let current = shard.finish(flight) || removed(Step::FillChecksFlight);
        let mut shard = faults::window(Step::FillHoldsLock, shard, mutex);

        let floor = self.named.slots().floor(key.hash_value());
        let superseded = beside_others && self.is_newer_in_level2(key, flight.noted.read);
        let verdict = judge(Landing {
            current,
            admission: prepared.admission,
            behind: self.is_behind(prepared.position, floor),
            contested: flight.is_contested() || (superseded && flight.replaces()),
            superseded,
        });
        let (gone, verdict) = match verdict {
            Ok(()) => match self.insert(key, prepared.held) {
                Ok(gone) => (gone, Ok(())),
                Err(mut refused) => {
                    refused.extend(self.take_out(key));
                    (refused, Err(Refusal::Tag))
                }
            },
            Err(refusal) if refusal.empties(flight) => (self.take_out(key), verdict),
            Err(_) => (Removed::default(), verdict),
        };

        // After L2 holds the new value: a thread that notes the new number reads it there. Before
        // the lock is released: a set of what was read before this is compared with the slot.
        let changed = verdict.err().is_none_or(|refusal| refusal.empties(flight));
        let replaced = changed && flight.replaces();
        if replaced && !removed(Step::RenewRaisesSlot) {
            self.raise(key);
        }

        let outdated = (replaced && !removed(Step::RenewOutdates)).then(|| shard.outdate(key));
        drop(shard);

        drop(outdated); // with the lock released: this may end a task
        (gone, verdict)
    }

    /// Returns from which number on callers that joined this flight came after an invalidation of
    /// one of its tags. It matters whatever kept the flight from filling: a tag's invalidation
    /// voids nothing, since it cannot know the tags of a load, so such callers may have joined
    /// before something else voided it. No caller joins any more.
    fn not_from(&self, flight: &Flight, extra: Option<&Extra>) -> Number {
        let Some(extra) = extra.filter(|extra| !extra.tags.is_empty()) else {
            return Number::ALL;
        };
        if removed(Step::VoidedTellsTags) {
            return Number::ALL;
        }

        let began = flight.noted.number;
        match self.named.tags.lock().newest(&extra.tags) {
            // Only the last number of a tag is known, and one before it may lie between: so every
            // caller that noted a higher number than the flight did asks again.
            newest if began < newest => began.after(),
            _ => Number::ALL,
        }
    }

    /// Returns whether what was read at a position may be older than an invalidation of its key, or
    /// of any tag or of everything. Under the lock of the key's shard, under which the key's
    /// invalidations raise its floor.
    fn is_behind(&self, position: Option<Number>, floor: Number) -> bool {
        let floor = floor.max(self.named.announced());
        position.is_some_and(|position| position < floor) && !removed(Step::FillChecksPosition)
    }

    /// Voids a key's loads and puts a value in their place, under one lock: a load that starts in
    /// between would be older than the value, and entitled to fill. Nothing is changed if the value
    /// was read before the key's last change.
    pub(crate) fn replace(&self, key: &CacheKey, prepared: Prepared) -> Result<Removed, Changed> {
        let Prepared {
            held,
            admission,
            position,
            ..
        } = prepared;
        let number = held.number;
        let mut refused = match admission {
            Admission::Keep => None,
            Admission::Uncached => Some(Refusal::Uncached),
            Admission::Heavy { .. } | Admission::Weightless => Some(Refusal::Heavy),
            Admission::Unheard => Some(Refusal::Unheard),
        };
        let mutex = self.named.flights.shard(key);

        let mut shard = mutex.lock();
        let floor = self.named.slots().floor(key.hash_value());
        // A renewal in progress may have read something newer, and would be voided for it.
        let renewed = position.is_some() && shard.is_being_replaced(key);
        if renewed || self.is_behind(position, floor) {
            drop(shard); // first: the value is dropped with no lock held
            return Err(Changed);
        }

        if removed(Step::SetNumbersLast) {
            self.raise(key);
        }

        let voided = (!removed(Step::SetVoids)).then(|| shard.void(key, Number::ALL));
        let shard = faults::window(Step::SetHoldsLock, shard, mutex);
        let gone = match admission {
            _ if removed(Step::SetInserts) => Removed::refused(held),
            // A tag that was invalidated since wins: callers may read first and set later.
            Admission::Keep => match self.insert(key, held) {
                Ok(gone) => gone,
                Err(mut gone) => {
                    self.named.counters.refused_tag.add(1);
                    refused = Some(Refusal::Tag);
                    gone.extend(self.take_out(key));
                    gone
                }
            },
            Admission::Uncached
            | Admission::Heavy { .. }
            | Admission::Weightless
            | Admission::Unheard => {
                let mut gone = self.take_out(key);
                gone.extend(Removed::refused(held));
                gone
            }
        };

        // After L2 holds the value: a thread that notes the new number reads it there. Before the
        // lock is released: what was read before this set and comes after it is compared with the
        // slot.
        let shard = faults::window(Step::SetRaisesUnderLock, shard, mutex);
        if !removed(Step::SetNumbersLast) && !removed(Step::SetRaisesSlot) {
            self.raise(key);
        }
        drop(shard);

        let kind = RecordKind::Loaded {
            by: LoadedBy::Set,
            took: Duration::ZERO,
            refused: refused.map(Refusal::word),
        };
        let hash = self.named.key_ref(key).hash_value();
        let now = self.node.now();
        self.node.recorder.record(hash, now, number, None, kind);
        drop(voided); // with the lock released: this may end a task

        Ok(gone)
    }

    fn raise(&self, key: &CacheKey) {
        let number = self.node.sequence.next();
        self.named.slots().raise(key.hash_value(), number);
    }

    fn take_out(&self, key: &CacheKey) -> Removed {
        let mut gone = Removed::default();
        let key = self.named.key_ref(key);
        self.node.level2.remove(&key, Number::ALL, &mut gone);
        gone
    }

    /// Puts an entry into its zone, and into the tag index. Under the lock of the key's shard.
    ///
    /// Refused, and handed back to be dropped without a lock, if a tag of it was invalidated after
    /// its number was noted.
    fn insert(&self, key: &CacheKey, held: Found) -> Result<Removed, Removed> {
        let stored = self.named.stored(key);
        if held.tags().is_empty() {
            return Ok(self.node.level2.put(stored, held));
        }

        // Held until the entry is in L2 and in the index: an invalidation of the tag comes before
        // or after both.
        let index = self.named.tags.lock();
        if held.number < index.newest(held.tags()) && !removed(Step::FillChecksTag) {
            return Err(Removed::refused(held));
        }

        let mut index = faults::window(Step::FillHoldsTagLock, index, self.named.tags.mutex());
        index.enter(&stored, held.tags());
        Ok(self.node.level2.put(stored, held))
    }

    fn is_newer_in_level2(&self, key: &CacheKey, started: Moment) -> bool {
        let key = self.named.key_ref(key);
        let is_newer =
            |times: &Times, _: &[Tag]| times.read >= started && self.node.is_ahead(times.expires);
        self.node.level2.inspect(&key, is_newer).unwrap_or(false)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_refused_for_the_first_reason_that_holds() {
        let right = Landing {
            current: true,
            admission: Admission::Keep,
            behind: false,
            superseded: false,
            contested: false,
        };
        let admission = |admission| Landing { admission, ..right };
        let heavy = Admission::Heavy {
            weight: 2,
            allowed: 1,
        };
        let table = [
            (right, Ok(())),
            (
                Landing {
                    current: false,
                    behind: true,
                    ..admission(heavy)
                },
                Err(Refusal::Void),
            ),
            (
                Landing {
                    behind: true,
                    ..admission(Admission::Uncached)
                },
                Err(Refusal::Uncached),
            ),
            (admission(heavy), Err(Refusal::Heavy)),
            (admission(Admission::Weightless), Err(Refusal::Heavy)),
            (admission(Admission::Unheard), Err(Refusal::Unheard)),
            (
                Landing {
                    behind: true,
                    superseded: true,
                    ..right
                },
                Err(Refusal::Position),
            ),
            (
                Landing {
                    superseded: true,
                    contested: true,
                    ..right
                },
                Err(Refusal::Contested),
            ),
            (
                Landing {
                    superseded: true,
                    ..right
                },
                Err(Refusal::Superseded),
            ),
        ];
        for (landing, verdict) in table {
            assert_eq!(judge(landing), verdict, "{landing:?}");
        }
    }
}
