//! How long an entry lives: its ttl, jitter, early refresh, and the bound on its staleness.

use std::time::Duration;

use tidings_core::CacheKey;

use crate::{
    fence::number::{Moment, nanoseconds},
    options::terms::Terms,
};

/// The times of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) expires: Moment,
    /// When to load it again in the background.
    pub(crate) refresh_at: Moment,
    /// The bound on its staleness: no new time goes beyond it.
    pub(crate) until: Moment,
}

impl Lifetime {
    /// Returns the times of an entry that is filled now and was read from its backing store at `read`.
    pub(crate) fn new(
        key: &CacheKey,
        terms: &Terms,
        ttl: Duration,
        read: Moment,
        now: Moment,
    ) -> Self {
        let until = if terms.max_staleness.is_zero() {
            Moment::NEVER
        } else {
            read.plus(terms.max_staleness)
        };
        if ttl.is_zero() && until == Moment::NEVER {
            return Self {
                expires: Moment::NEVER,
                refresh_at: Moment::NEVER,
                until,
            };
        }

        let longest = nanoseconds(until.since(now));
        let ttl = if ttl.is_zero() {
            longest
        } else {
            let ttl = nanoseconds(ttl);
            let short = (ttl as f64 * terms.jitter * fraction(key, now)) as u64;
            (ttl - short.min(ttl)).max(1).min(longest)
        };
        let refresh_at = if terms.refresh_early > 0.0 {
            Moment(
                now.0
                    .saturating_add((ttl as f64 * terms.refresh_early) as u64),
            )
        } else {
            Moment::NEVER
        };
        Self {
            expires: Moment(now.0.saturating_add(ttl)),
            refresh_at,
            until,
        }
    }

    /// Returns until when a thread's own level may serve it: what asks to be loaded again is seen in L2.
    pub(crate) fn level1(&self) -> Moment {
        self.expires.min(self.refresh_at)
    }
}

/// Returns a fraction in 0..1 that differs between keys, and for one key between moments. The key's hash is secret, so
/// this cannot be foretold either.
fn fraction(key: &CacheKey, now: Moment) -> f64 {
    let mut mixed = key.hash_value() ^ now.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
