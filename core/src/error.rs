//! Errors that belong to no part of Tidings: those of user code, as values and as the text of a
//! panic.

use std::any::Any;

/// An error of any type, as loads and hooks return it.
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
}
