//! The limit on open files, and the share of it that connections may use.
//!
//! Connections of clients leave a reserve: the database, the event loops and the admin side need
//! descriptors too, and an operator must be able to reach the admin side just when there are too
//! many clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The reserve for everything that is not a client's connection, unless a quarter of the limit is
/// less.
const RESERVE: u64 = 256;
/// A limit above this counts as none.
const UNLIMITED: u64 = 1 << 20;

/// Raises the limit as far as the process may without further rights, as other servers do. If that
/// fails, the process keeps its limit.
pub fn raise() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum.or(Some(UNLIMITED)),
        maximum: limits.maximum,
    };
    if limits.current.is_some() {
        // What follows reads the limit again.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// Returns the most connections of clients that the limit of open files allows.
pub(crate) fn most_connections() -> usize {
    connections(limit())
}

/// Returns half of that, because a forwarded request has a connection to the upstream too.
pub(crate) fn default_connections() -> usize {
    (most_connections() / 2).max(1)
}

pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile)
        .current
        .unwrap_or(UNLIMITED)
        .min(UNLIMITED)
}

/// Returns the most connections that the admin side takes of the reserve.
pub(crate) fn admin_connections() -> usize {
    let reserve = RESERVE.min(limit() / 4);
    usize::try_from(reserve / 2).map_or(1, |most| most.max(1))
}

fn connections(limit: u64) -> usize {
    let reserve = RESERVE.min(limit / 4);
    usize::try_from(limit.saturating_sub(reserve)).map_or(1, |most| most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_small_limit_and_256_of_a_large_one_is_kept() {
        assert_eq!(connections(64), 48);
        assert_eq!(connections(1024), 768);
        assert_eq!(connections(1 << 20), (1 << 20) - 256);
        assert_eq!(connections(0), 1);
    }
}
