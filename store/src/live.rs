//! [`Live`]: a row, and the time that it has left.

use std::time::Duration;

/// A row as it was read, with the time that it has left by the database's clock: told by the same
/// statement that read it.
///
/// What keeps the row must let go of it once this much time has passed since before it was asked
/// for, measured by a clock of its own; then no clock need agree with the database's.
#[derive(Clone, Debug, PartialEq)]
pub struct Live<T> {
    /// The row.
    pub row: T,
    /// How long it was still there; `None` if it does not expire.
    pub left: Option<Duration>,
}

impl<T> Live<T> {
    /// Returns the row in another form.
    pub(crate) fn try_map<U, E>(self, form: impl FnOnce(T) -> Result<U, E>) -> Result<Live<U>, E> {
        Ok(Live {
            row: form(self.row)?,
            left: self.left,
        })
    }
}

/// Makes a duration of seconds that a database counted; less than none is none.
pub(crate) fn seconds(left: f64) -> Duration {
    Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX)
}
