//! [`Snapshot`]: which transactions are over, as PostgreSQL says it.

use std::{fmt, str::FromStr};

use super::PositionError;

/// A set of transactions that are over: all below `xmin`, and those below `xmax` that are not
/// listed as in progress.
///
/// Its text is PostgreSQL's: `xmin:xmax:xip,xip,..`.
///
/// # Examples
///
/// ```
/// use tidings_core::log::Snapshot;
///
/// let snapshot: Snapshot = "10:20:10,14".parse()?;
/// assert!(snapshot.is_over(12));
/// assert!(!snapshot.is_over(14), "it was in progress");
/// assert!(!snapshot.is_over(20), "it had not begun");
/// assert_eq!(snapshot.to_string(), "10:20:10,14");
/// # Ok::<(), tidings_core::log::PositionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// Sorted, each once, all within `xmin..xmax`.
    in_progress: Vec<u64>,
}

impl Snapshot {
    /// Makes a snapshot of the transactions below `xmax`, but for those in progress.
    #[must_use]
    pub fn new(xmax: u64, mut in_progress: Vec<u64>) -> Self {
        in_progress.retain(|xid| *xid < xmax);
        in_progress.sort_unstable();
        in_progress.dedup();
        let xmin = in_progress.first().copied().unwrap_or(xmax);
        Self {
            xmin,
            xmax,
            in_progress,
        }
    }

    /// Returns a transaction below which all were over: the lowest one in progress, or `xmax` if
    /// there was none; PostgreSQL's own may lie below.
    #[must_use]
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// Returns the first transaction that had not begun.
    #[must_use]
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Returns the transactions below `xmax` that were in progress, in order.
    #[must_use]
    pub fn in_progress(&self) -> &[u64] {
        &self.in_progress
    }

    /// Returns whether a transaction was over: its effects, if it has any, are in what the snapshot
    /// shows.
    #[must_use]
    pub fn is_over(&self, xid: u64) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.in_progress.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{xid}")?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let malformed = || PositionError::Malformed("expected a snapshot, xmin:xmax:xip,..");
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(list), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };

        let number = |text: &str| text.parse::<u64>().map_err(|_| malformed());
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let in_progress = match list {
            "" => Vec::new(),
            list => list.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
        };

        let ordered = in_progress.is_sorted_by(|one, next| one < next);
        let within = in_progress.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin > xmax || !ordered || !within {
            return Err(malformed());
        }

        Ok(Self {
            xmin,
            xmax,
            in_progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_snapshot_is_refused() {
        for text in [
            "", "1:2", "2:1:", "1:4:3,2", "1:4:2,2", "1:4:4", "1:4:x", "1:4:2:", "-1:4:",
        ] {
            assert!(text.parse::<Snapshot>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_xmin_below_the_first_in_progress_is_kept() {
        // PostgreSQL's xmin may lie below xip: subtransactions and the vacuum horizon move it.
        let text = "5:9:7";
        assert_eq!(
            text.parse::<Snapshot>().map(|it| it.to_string()),
            Ok(text.into())
        );
    }

    #[test]
    fn transactions_in_progress_are_put_in_order_and_within_bounds() {
        let snapshot = Snapshot::new(20, vec![15, 12, 15, 30]);
        assert_eq!(snapshot.to_string(), "12:20:12,15");
        assert_eq!(Snapshot::new(20, Vec::new()).to_string(), "20:20:");
    }
}
