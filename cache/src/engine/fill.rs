//! What becomes of a load's result: whether it may enter L2, and what those who wait get.

use std::time::Duration;

use tidings_core::CacheKey;

use crate::{
    answer::loaded::Loaded,
    api::cache::Cache,
    engine::flight::{Answer, Flight, Landed},
    engine::tags::Tag,
    error::{GetError, OptionError},
    level2::size::size_of_value,
    level2::stored::{Cacheable, Stored},
    level2::zone::{ABSENCE_OVERHEAD, ENTRY_OVERHEAD, Extra, Held, NEVER, Present, Removed},
    options::call::{Terms, check_duration, check_tags},
    options::lifetime::{self, nanoseconds},
    stats::Counter,
    sync::Arc,
};

/// What a load gave, its type erased.
pub(crate) struct Cargo {
    value: Option<Arc<dyn Stored>>,
    /// The value's bytes; `None` if it does not serialize.
    bytes: Option<u64>,
    ttl: Option<Duration>,
    tags: Vec<Tag>,
    cached: bool,
    position: Option<u64>,
}

/// What a tag weighs in an entry and in the index, besides its text.
const TAG_OVERHEAD: u64 = 160;

/// Why a result does not enter L2.
enum Refusal {
    /// The flight was voided: somebody else decides what the key holds.
    Void,
    Tag,
    Position,
    Superseded,
    /// The result is newer than what L2 holds, and cannot or must not be kept: what L2 holds goes.
    Uncached,
    Heavy,
}

impl Cargo {
    pub(crate) fn new<V: Cacheable>(loaded: Loaded<V>) -> Self {
        let bytes = loaded
            .value
            .as_ref()
            .map_or(Some(0), |value| size_of_value(value).ok());
        Self {
            bytes,
            value: loaded.value.map(|value| Arc::new(value) as Arc<dyn Stored>),
            ttl: loaded.ttl,
            tags: loaded.tags,
            cached: loaded.cached,
            position: loaded.position,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionError> {
        check_duration("ttl", self.ttl)?;
        check_tags(&self.tags)
    }
}

impl Cache {
    /// Lands a flight with what its load gave. If the flight is still current, that enters L2.
    pub(crate) fn fill(
        &self,
        flight: &Arc<Flight>,
        cargo: Cargo,
        terms: &Terms,
        call_tags: Option<&[Tag]>,
    ) {
        let key = &flight.key;
        let (cached, position) = (cargo.cached, cargo.position);
        let noted = (flight.number, flight.started);
        let (held, weight) = self.held(key, cargo, noted, terms, call_tags);
        let keep_until = held.expires.min(held.refresh_at());
        let extra = held.extra.clone();
        let mut answer = Answer {
            value: held.value.clone(),
            filled: None,
            not_from: NEVER,
            stale: false,
        };
        let (removed, refusal) = {
            let mut shard = self.named.flights.lock(key);
            let overdue = flight.is_overdue();
            #[cfg_attr(
                not(any(shuttle, tidings_faults)),
                expect(unused_mut, reason = "a model overrides the look")
            )]
            let mut current = shard.finish(flight);
            #[cfg(any(shuttle, tidings_faults))]
            {
                use crate::faults::{Step, removed};
                current |= removed(Step::FillChecksFlight);
                if removed(Step::FillHoldsLock) {
                    drop(shard);
                    crate::faults::pause();
                    shard = self.named.flights.lock(key);
                    drop(shard);
                }
            }
            if !current {
                (Removed::default(), Some(Refusal::Void))
            } else if !cached {
                (self.take_out(key), Some(Refusal::Uncached))
            } else if weight.is_none() {
                (self.take_out(key), Some(Refusal::Heavy))
            } else if position.is_some_and(|at| at < self.named.slots.floor(key.hash_value())) {
                (Removed::default(), Some(Refusal::Position))
            } else if overdue && self.is_newer_in_level2(key, flight.started) {
                (Removed::default(), Some(Refusal::Superseded))
            } else {
                match self.insert(key, held, flight.number) {
                    Ok(removed) => {
                        answer.filled = Some(keep_until);
                        (removed, None)
                    }
                    Err(_) => (Removed::default(), Some(Refusal::Tag)),
                }
            }
        };
        if answer.filled.is_none() {
            answer.not_from = self.not_from(flight, extra.as_deref());
        }
        // After L2 holds the new value: whoever notes the new number reads it there.
        let changed = !matches!(
            refusal,
            Some(Refusal::Void | Refusal::Tag | Refusal::Position | Refusal::Superseded)
        );
        if changed && flight.replaces() {
            step!(RenewRaisesSlot, {
                self.named
                    .slots
                    .raise(key.hash_value(), self.node.sequence.next());
            });
        }
        if let Some(counter) = refusal.and_then(|refusal| self.refused(&refusal)) {
            counter.add(1);
        }
        flight.land(Landed::Value(answer));
        self.node.settle(Some((&self.named, key)), removed);
    }

    /// From which number on callers that joined this flight came after an invalidation of one of its tags. Whatever else
    /// kept it from filling: a tag's invalidation voids nothing, since it cannot know the tags of a load, so such callers
    /// may have joined before something else voided it. Nobody joins any more.
    fn not_from(&self, flight: &Flight, extra: Option<&Extra>) -> u64 {
        let Some(extra) = extra.filter(|extra| !extra.tags.is_empty()) else {
            return NEVER;
        };
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::VoidedTellsTags) {
            return NEVER;
        }
        match self.named.tags.lock().newest(&extra.tags) {
            // Only the last number of a tag is known, and one before it may lie between: so everybody who noted a higher
            // number than the flight did asks again.
            newest if flight.number < newest => flight.number + 1,
            _ => NEVER,
        }
    }

    fn refused(&self, refusal: &Refusal) -> Option<&Counter> {
        let counters = &self.named.counters;
        Some(match refusal {
            Refusal::Void => &counters.refused_void,
            Refusal::Tag => &counters.refused_tag,
            Refusal::Position => &counters.refused_position,
            Refusal::Superseded => &counters.refused_superseded,
            Refusal::Uncached => &counters.uncached,
            Refusal::Heavy => &counters.refused_heavy,
        })
    }

    /// Voids a key's loads and puts a value in their place, under one lock: a load that starts in between would be older
    /// than the value, and entitled to fill.
    pub(crate) fn replace(
        &self,
        key: &CacheKey,
        cargo: Cargo,
        number: u64,
        terms: &Terms,
        call_tags: Option<&[Tag]>,
    ) -> Removed {
        let cached = cargo.cached;
        let noted = (number, self.node.now());
        let (held, weight) = self.held(key, cargo, noted, terms, call_tags);
        let (removed, voided) = {
            let mut shard = self.named.flights.lock(key);
            let voided = step!(SetVoids, Some(shard.void(key, NEVER)), or None);
            #[cfg(any(shuttle, tidings_faults))]
            if crate::faults::removed(crate::faults::Step::SetHoldsLock) {
                drop(shard);
                crate::faults::pause();
                shard = self.named.flights.lock(key);
            }
            let removed = step!(
                SetInserts,
                if cached && weight.is_some() {
                    // A tag that was invalidated since wins: whoever sets may read first and set later.
                    self.insert(key, held, number).unwrap_or_else(|_| self.take_out(key))
                } else {
                    self.take_out(key)
                },
                or Removed::default()
            );
            drop(shard);
            (removed, voided)
        };
        drop(voided); // with the lock released: this may end a task
        removed
    }

    fn take_out(&self, key: &CacheKey) -> Removed {
        self.node.level2.remove(&self.named.name_of(key), NEVER)
    }

    /// An entry as L2 is to hold it, and its weight if L2 can. With the number, and the time, from before its source was read.
    fn held(
        &self,
        key: &CacheKey,
        cargo: Cargo,
        (number, read): (u64, u64),
        terms: &Terms,
        call_tags: Option<&[Tag]>,
    ) -> (Held<Option<Arc<dyn Stored>>>, Option<u64>) {
        let mut tags = cargo.tags.clone();
        tags.extend(call_tags.unwrap_or_default().iter().cloned());
        tags.sort_unstable();
        tags.dedup();
        let born = self.node.now();
        let until = lifetime::bound(terms, read);
        let default = if cargo.value.is_some() {
            terms.ttl
        } else {
            terms.neg_ttl
        };
        let ttl = cargo.ttl.unwrap_or(default);
        let (expires, refresh_at) = lifetime::times(key, terms, ttl, born, until);
        let weight = self.weight(key, &cargo, &tags);
        let extra = (!tags.is_empty() || refresh_at != NEVER || until != NEVER).then(|| {
            Arc::new(Extra {
                tags: tags.into(),
                refresh_at,
                until,
            })
        });
        let held = Held {
            value: cargo.value,
            number,
            born,
            expires,
            weight: u32::try_from(weight.unwrap_or_default()).unwrap_or(u32::MAX),
            extra,
        };
        (held, weight)
    }

    /// Puts an entry into its zone, and into the tag index. Under the lock of the key's shard.
    ///
    /// Refused, with the tag's number, if a tag of it was invalidated after `number` was noted.
    pub(crate) fn insert(
        &self,
        key: &CacheKey,
        held: Held<Option<Arc<dyn Stored>>>,
        number: u64,
    ) -> Result<Removed, u64> {
        let stored = self.named.stored(key);
        if held.tags().is_empty() {
            return Ok(self.insert_untagged(stored, held));
        }
        // Held until the entry is in L2 and in the index: an invalidation of the tag comes before or after both.
        let mut index = self.named.tags.lock();
        let newest = index.newest(held.tags());
        #[cfg(any(shuttle, tidings_faults))]
        let newest = if crate::faults::removed(crate::faults::Step::FillChecksTag) {
            0
        } else {
            newest
        };
        if number < newest {
            return Err(newest);
        }
        #[cfg(any(shuttle, tidings_faults))]
        if crate::faults::removed(crate::faults::Step::FillHoldsTagLock) {
            drop(index);
            crate::faults::pause();
            index = self.named.tags.lock();
        }
        index.enter(&stored, held.tags());
        Ok(self.insert_untagged(stored, held))
    }

    fn insert_untagged(
        &self,
        stored: crate::level2::zone::StoredKey,
        held: Held<Option<Arc<dyn Stored>>>,
    ) -> Removed {
        let level2 = &self.node.level2;
        match held.split() {
            Ok(present) => level2.insert(stored, present),
            Err(absent) => level2.insert_absent(stored, absent),
        }
    }

    fn is_newer_in_level2(&self, key: &CacheKey, started: u64) -> bool {
        let name = self.named.name_of(key);
        let level2 = &self.node.level2;
        let times = match level2.present.peek(&name) {
            Some(held) => Some((held.born, held.expires)),
            None => (level2.absent.peek(&name)).map(|held| (held.born, held.expires)),
        };
        times.is_some_and(|(born, expires)| born >= started && self.node.is_ahead(expires))
    }

    /// What the entry weighs; `None` if that is more than L2 takes, or cannot be told.
    fn weight(&self, key: &CacheKey, cargo: &Cargo, tags: &[Tag]) -> Option<u64> {
        let tags: u64 = tags
            .iter()
            .map(|tag| TAG_OVERHEAD + key.as_bytes().len() as u64 + tag.len() as u64)
            .sum();
        let base = if cargo.value.is_some() {
            ENTRY_OVERHEAD
        } else {
            ABSENCE_OVERHEAD
        };
        let weight = base + key.as_bytes().len() as u64 + cargo.bytes? + tags;
        (weight <= self.node.level2.heaviest(cargo.value.is_some())).then_some(weight)
    }

    /// Lands a flight with an error, or with the expired value if that may be served.
    pub(crate) fn fail(&self, flight: &Arc<Flight>, terms: &Terms, error: GetError) {
        let (resurrected, removed) = {
            let mut shard = self.named.flights.lock(&flight.key);
            if shard.finish(flight) {
                match self.resurrect(flight, terms) {
                    None if flight.replaces() => (None, self.put_refresh_off(&flight.key)),
                    resurrected => (resurrected, None),
                }
            } else {
                (None, None)
            }
        };
        flight.land(
            self.resurrected(flight, resurrected)
                .unwrap_or(Landed::Failed(error)),
        );
        self.node.settle(
            Some((&self.named, &flight.key)),
            removed.unwrap_or_default(),
        );
    }

    /// Tells those who wait that the load is late. Gives whether its result could still be of use.
    pub(crate) fn overdue(&self, flight: &Arc<Flight>, terms: &Terms, after: Duration) -> bool {
        let (current, displaced, resurrected) = {
            let mut shard = self.named.flights.lock(&flight.key);
            if shard.is_current(flight) {
                let displaced = shard.make_overdue(flight);
                (true, Some(displaced), self.resurrect(flight, terms))
            } else {
                (false, None, None)
            }
        };
        drop(displaced);
        let error = GetError::Deadline { after };
        flight.land(
            self.resurrected(flight, resurrected)
                .unwrap_or(Landed::Failed(error)),
        );
        current
    }

    /// Gives an expired value a new time, if the terms allow that. Under the lock of the key's shard, for a current flight:
    /// so the value was not invalidated.
    fn resurrect(&self, flight: &Flight, terms: &Terms) -> Option<(Answer, Removed)> {
        if terms.resurrect_ttl.is_zero() {
            return None;
        }
        let now = self.node.now();
        let held = self
            .node
            .level2
            .present
            .peek(&self.named.name_of(&flight.key))?;
        if held.expires > now {
            return None; // a renewal failed: what is cached stays, and whoever renews hears of it
        }
        let until = held.until();
        let expires = now
            .saturating_add(nanoseconds(terms.resurrect_ttl))
            .min(until);
        if expires <= now {
            return None;
        }
        let answer = Answer {
            value: Some(Arc::clone(&held.value)),
            filled: Some(expires),
            not_from: NEVER,
            stale: true,
        };
        let tags = held.tags().into();
        let extra = Arc::new(Extra {
            tags,
            refresh_at: NEVER,
            until,
        });
        let held = Held {
            expires,
            extra: Some(extra),
            ..held
        };
        let removed = self.exchange(&flight.key, held)?;
        Some((answer, removed))
    }

    fn resurrected(
        &self,
        flight: &Flight,
        resurrected: Option<(Answer, Removed)>,
    ) -> Option<Landed> {
        let (answer, removed) = resurrected?;
        self.named.counters.stale_served.add(1);
        self.node.settle(Some((&self.named, &flight.key)), removed);
        Some(Landed::Value(answer))
    }

    /// A background load failed: the next attempt waits until half of the entry's remaining time has passed. Under the
    /// lock of the key's shard, for a current flight: so the value was not invalidated.
    fn put_refresh_off(&self, key: &CacheKey) -> Option<Removed> {
        let now = self.node.now();
        let held = self.node.level2.present.peek(&self.named.name_of(key))?;
        if held.refresh_at() == NEVER {
            return None;
        }
        let left = held.expires.checked_sub(now)?;
        let extra = Arc::new(Extra {
            tags: held.tags().into(),
            refresh_at: now.saturating_add((left / 2).max(1)),
            until: held.until(),
        });
        let held = Held {
            extra: Some(extra),
            ..held
        };
        self.exchange(key, held)
    }

    /// Puts an entry in the place of itself, with other times. It keeps its number, so that an invalidation that has not
    /// come round to removing it yet still does.
    fn exchange(&self, key: &CacheKey, held: Present) -> Option<Removed> {
        let stored = self.named.stored(key);
        step!(
            StaleStaysRemoved,
            self.node.level2.exchange(stored, held),
            or {
                crate::faults::pause();
                Some(self.node.level2.insert(stored, held))
            }
        )
    }
}
