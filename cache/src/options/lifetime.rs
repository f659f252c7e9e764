//! How long an entry lives: its ttl, jitter, early refresh, and the bound on its staleness.

use std::time::Duration;

use tidings_core::entropy::Entropy;

use crate::{
    answer::ttl::Ttl,
    fence::number::{Moment, nanoseconds},
    options::terms::Terms,
};

/// The times of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) expires: Moment,
    /// When to load it again in the background.
    pub(crate) refresh_at: Moment,
    /// The end of its bound on staleness: no new expiry goes beyond it.
    pub(crate) until: Moment,
}

/// Returns the moment at which a limit that begins at `start` is reached.
pub(crate) fn limit(start: Moment, limit: Ttl) -> Moment {
    match limit {
        Ttl::Never => Moment::NEVER,
        Ttl::After(after) => start.plus(after),
    }
}

impl Lifetime {
    /// Returns the times of an entry that is filled now, was read from its backing store at `read`,
    /// and is valid for a time that counts from then.
    pub(crate) fn new(
        terms: &Terms,
        ttl: Ttl,
        valid: Ttl,
        read: Moment,
        now: Moment,
        entropy: &dyn Entropy,
    ) -> Self {
        let until = limit(read, terms.max_staleness).min(limit(read, valid));
        let ttl = match ttl {
            Ttl::Never => nanoseconds(until.since(now)),
            Ttl::After(ttl) => shortened(ttl, terms, entropy).min(nanoseconds(until.since(now))),
        };
        if ttl >= nanoseconds(Moment::NEVER.since(now)) {
            return Self {
                expires: Moment::NEVER,
                refresh_at: Moment::NEVER,
                until,
            };
        }

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

    /// Returns until when a thread's own level may serve it: at most until it is due to be loaded
    /// again, since only L2 starts that load.
    pub(crate) fn level1(&self) -> Moment {
        self.expires.min(self.refresh_at)
    }
}

/// Returns a ttl after jitter, in nanoseconds. Jitter makes none of them zero, and without jitter
/// no random number is drawn.
fn shortened(ttl: Duration, terms: &Terms, entropy: &dyn Entropy) -> u64 {
    let ttl = nanoseconds(ttl);
    let most = (ttl as f64 * terms.jitter) as u64;
    let short = if most == 0 { 0 } else { entropy.below(most) };
    (ttl - short.min(ttl)).max(1)
}
