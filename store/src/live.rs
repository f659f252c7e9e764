//! [`Live`]: a row, and the time that it has left.

use std::time::Duration;

/// A row, with the time that it has left by the database's clock, as of the statement that read it.
///
/// Code that keeps the row must drop it once this much time has passed since before the read began,
/// measured by its own clock. Then no clock has to agree with the database's.
#[derive(Clone, Debug, PartialEq)]
pub struct Live<T> {
    /// The row.
    pub row: T,
    /// The time that it had left; `None` if it does not expire.
    pub left: Option<Duration>,
}

impl<T> Live<T> {
    /// Converts the row.
    pub(crate) fn try_map<U, E>(self, form: impl FnOnce(T) -> Result<U, E>) -> Result<Live<U>, E> {
        Ok(Live {
            row: form(self.row)?,
            left: self.left,
        })
    }
}

/// Converts seconds that a database counted to a duration; a negative number becomes zero.
pub(crate) fn seconds(left: f64) -> Duration {
    Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX)
}
