//! Errors of user code, as values and as the text of a panic.

use std::{any::Any, fmt};

/// An error of any type, such as loads and hooks return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the text of a caught panic. A payload that is not text, which `panic_any` can make, has
/// a fixed one.
#[doc(hidden)]
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is not text")
}

/// Shows an error with all of its causes, for a line of a log. Errors of Tidings name the attempt
/// and leave the cause to their `source`. If the text of an error already contains its cause, as in
/// many libraries, the cause is left out.
///
/// # Examples
///
/// ```
/// use tidings_core::Chain;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the settings cannot be read")]
/// struct Unread(#[source] std::num::ParseIntError);
///
/// let cause = "x".parse::<u8>().unwrap_err();
/// let line = Chain(&Unread(cause)).to_string();
/// assert_eq!(line, "the settings cannot be read: invalid digit found in string");
/// ```
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }

        f.write_str(&text)
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, panic_any};

    use super::*;

    #[test]
    fn the_text_of_a_panic_is_what_it_was_raised_with() {
        let text = |raise: fn()| panic_text(&*catch_unwind(raise).unwrap_err()).to_owned();

        assert_eq!(text(|| panic!("plain")), "plain");
        assert_eq!(
            text(|| panic!("number {}", std::hint::black_box(7))),
            "number 7"
        );
        assert_eq!(text(|| panic_any(7_u8)), "with a value that is not text");
    }

    #[test]
    fn a_repeated_cause_is_written_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot connect: {0}")]
        struct Repeats(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("no database")]
        struct Leaves(#[source] Repeats);

        let error = Leaves(Repeats(std::io::Error::other("connection refused")));
        let line = Chain(&error).to_string();
        assert_eq!(line, "no database: cannot connect: connection refused");
    }
}
