//! [`ErasedLoaded`]: the result of a load or a `set` without its type, and the entry made of it.

use tidings_core::CacheKey;

use crate::{
    answer::{fills::Decision, loaded::Loaded, tag::Tag, ttl::Ttl},
    engine::node::Engine,
    error::OptionError,
    fence::number::{Moment, Noted, Number},
    level2::{
        stored::{Cacheable, Stored},
        zone::{ABSENCE_OVERHEAD, ENTRY_OVERHEAD, Extra, Found, Held, Kind},
    },
    options::{
        lifetime::{Lifetime, limit},
        terms::{Terms, check_tags, check_ttl},
    },
    sync::Arc,
};

/// What a tag weighs in an entry and in the index, besides its text.
const TAG_OVERHEAD: u64 = 160;

/// A [`Loaded`] with its type erased.
pub(crate) struct ErasedLoaded {
    pub(crate) value: Option<Arc<dyn Stored>>,
    /// The value's size in bytes; `None` if it cannot be measured.
    bytes: Option<u64>,
    ttl: Option<Ttl>,
    tags: Vec<Tag>,
    cached: bool,
    valid: Ttl,
    pub(crate) position: Option<Number>,
}

/// Whether L2 may keep an entry, as far as the entry alone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Keep,
    /// Its load asked not to keep it, or its ttl is zero.
    Uncached,
    /// It is heavier than L2 takes.
    Heavy {
        weight: u64,
        allowed: u64,
    },
    /// Its weight cannot be measured.
    Weightless,
    /// The node may not receive its changes.
    Unheard,
}

/// An entry as L2 is to hold it.
pub(crate) struct Prepared {
    pub(crate) held: Found,
    pub(crate) admission: Admission,
    /// Until when L1 may serve it.
    pub(crate) level1: Moment,
    /// Until when the value is true, whatever its ttl.
    pub(crate) ends: Moment,
    pub(crate) position: Option<Number>,
}

impl Prepared {
    /// Refuses to keep an entry whose changes the node may not receive.
    pub(crate) fn apply_decision(mut self, decision: Decision) -> Self {
        if self.admission == Admission::Keep && decision == Decision::Discard {
            self.admission = Admission::Unheard;
        }
        self
    }
}

impl ErasedLoaded {
    /// Weighs a value, which runs user code, and erases its type. Not to be called with a lock
    /// held.
    pub(crate) fn new<V: Cacheable>(loaded: Loaded<V>) -> Self {
        let bytes = match &loaded.value {
            Some(value) => value.weight(),
            None => Some(0),
        };
        Self {
            bytes,
            value: loaded.value.map(|value| Arc::new(value) as Arc<dyn Stored>),
            ttl: loaded.ttl,
            tags: loaded.tags,
            cached: loaded.cached,
            valid: loaded.valid,
            position: loaded.position.map(Number),
        }
    }

    /// Checks what the load said besides its value.
    pub(crate) fn check(&self) -> Result<(), OptionError> {
        check_ttl("ttl", self.ttl)?;
        check_tags(&self.tags)
    }

    fn kind(&self) -> Kind {
        match self.value {
            Some(_) => Kind::Value,
            None => Kind::Absence,
        }
    }

    /// Returns what an entry of it weighs; `None` if that cannot be measured.
    fn weight(&self, key: &CacheKey, tags: &[Tag]) -> Option<u64> {
        let key = key.as_bytes().len() as u64;
        let tags = tags.iter().map(|tag| TAG_OVERHEAD + key + tag.len() as u64);
        let base = match self.kind() {
            Kind::Value => ENTRY_OVERHEAD,
            Kind::Absence => ABSENCE_OVERHEAD,
        };
        Some(base + key + self.bytes? + tags.sum::<u64>())
    }
}

impl Engine {
    /// Makes the entry of what was read after `noted`.
    pub(crate) fn prepare(
        &self,
        key: &CacheKey,
        loaded: ErasedLoaded,
        noted: Noted,
        terms: &Terms,
        call_tags: Option<&[Tag]>,
    ) -> Prepared {
        let mut tags = loaded.tags.clone();
        tags.extend(call_tags.unwrap_or_default().iter().cloned());
        tags.sort_unstable();
        tags.dedup();

        let kind = loaded.kind();
        let default = match kind {
            Kind::Value => terms.ttl,
            Kind::Absence => terms.neg_ttl,
        };
        let ttl = loaded.ttl.unwrap_or(default);
        let weight = loaded.weight(key, &tags);
        let allowed = self.node.level2.heaviest(kind);
        let admission = match weight {
            _ if !loaded.cached || ttl.is_zero() || loaded.valid.is_zero() => Admission::Uncached,
            None => Admission::Weightless,
            Some(weight) if weight > allowed => Admission::Heavy { weight, allowed },
            Some(_) => Admission::Keep,
        };

        let (now, entropy) = (self.node.now(), &*self.node.entropy);
        let lifetime = Lifetime::new(terms, ttl, loaded.valid, noted.read, now, entropy);
        let Lifetime {
            expires,
            refresh_at,
            until,
        } = lifetime;
        let positioned = loaded.position.is_some();
        let untimed = refresh_at == Moment::NEVER && until == Moment::NEVER;
        let plain = tags.is_empty() && untimed && !positioned;
        let extra = (!plain).then(|| {
            Arc::new(Extra {
                tags: tags.into(),
                refresh_at,
                until,
                positioned,
            })
        });

        // A value that was read at a position is as old as that: handlers of a change since then
        // evict it.
        let position = loaded.position.unwrap_or(Number::ALL);
        let held = Held {
            value: loaded.value,
            number: noted.number.min(position),
            read: noted.read,
            expires,
            weight: u32::try_from(weight.unwrap_or_default()).unwrap_or(u32::MAX),
            extra,
        };
        Prepared {
            held,
            admission,
            level1: lifetime.level1(),
            ends: limit(noted.read, loaded.valid),
            position: loaded.position,
        }
    }
}
