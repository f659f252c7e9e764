//! How long an entry lives: its ttl, jitter, early refresh, and the bound on its staleness.

use std::time::Duration;

use tidings_core::CacheKey;

use crate::{level2::zone::NEVER, options::call::Terms};

/// Until when what was read at this time may be served.
pub(crate) fn bound(terms: &Terms, read: u64) -> u64 {
    if terms.max_staleness.is_zero() {
        NEVER
    } else {
        read.saturating_add(nanoseconds(terms.max_staleness))
    }
}

/// When an entry that is filled now expires, and when it is to be loaded anew; a ttl of zero is for ever. Neither goes beyond
/// `until`.
pub(crate) fn times(
    key: &CacheKey,
    terms: &Terms,
    ttl: Duration,
    now: u64,
    until: u64,
) -> (u64, u64) {
    if ttl.is_zero() && until == NEVER {
        return (NEVER, NEVER);
    }
    let longest = until.saturating_sub(now);
    let ttl = if ttl.is_zero() {
        longest
    } else {
        let ttl = nanoseconds(ttl);
        let short = (ttl as f64 * terms.jitter * fraction(key, now)) as u64;
        (ttl - short.min(ttl)).max(1).min(longest)
    };
    let refresh_at = if terms.refresh_early > 0.0 {
        now.saturating_add((ttl as f64 * terms.refresh_early) as u64)
    } else {
        NEVER
    };
    (now.saturating_add(ttl), refresh_at)
}

/// A number from 0 to 1 that keys of one moment, and one key at two moments, do not share. The key's hash is secret, so this
/// cannot be foretold either.
fn fraction(key: &CacheKey, now: u64) -> f64 {
    let mut mixed = key.hash_value() ^ now.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
