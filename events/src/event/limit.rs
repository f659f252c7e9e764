//! Measures a payload where a limit is set, and only there: bytes of JSON, counted and not kept.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Refusal;

/// Checks that the payload's JSON form is at most `limit` bytes long.
///
/// # Errors
///
/// It is longer, which is found at the first byte too many; or the payload does not serialize.
pub(crate) fn check<T: Serialize>(payload: &T, limit: usize) -> Result<(), Refusal> {
    let mut counter = LimitedCounter {
        left: limit,
        exceeded: false,
    };
    match serde_json::to_writer(&mut counter, payload) {
        Ok(()) => Ok(()),
        Err(_) if counter.exceeded => Err(Refusal::Oversized { limit }),
        Err(error) => Err(Refusal::Unmeasurable {
            reason: error.to_string(),
        }),
    }
}

/// A writer that counts bytes up to a limit, and keeps none.
struct LimitedCounter {
    left: usize,
    exceeded: bool,
}

impl Write for LimitedCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len()) {
            Some(left) => {
                self.left = left;
                Ok(bytes.len())
            }
            None => {
                self.exceeded = true;
                Err(io::Error::other("over the limit"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_fits_and_one_more_byte_does_not() {
        assert_eq!(check(&"abc", 5), Ok(())); // with its quotes
        assert_eq!(check(&"abcd", 5), Err(Refusal::Oversized { limit: 5 }));
    }
}
