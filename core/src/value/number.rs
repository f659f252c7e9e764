//! Decimal numbers as floats, where nothing of them is lost.
//!
//! A float keeps a decimal number if its shortest text, which is what it is shown as, has the same
//! digits. So `0.1` is kept, although no float equals it, and `9007199254740993` is not: it would
//! come back as another number.

use super::FieldKind;

/// What is said of a number that a float cannot keep.
pub(crate) const INEXACT: &str = "has more digits than can be kept exactly";

/// Reads a decimal number as JSON writes it, if it is kept exactly.
///
/// # Errors
///
/// A message that says what was expected.
pub(crate) fn parsed(text: &str) -> Result<f64, String> {
    // Rust reads "inf", "NaN" and "+1" too, and JSON knows none of them.
    let is_decimal = text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte));
    let number = text.parse().ok();
    let number = number.filter(|number: &f64| is_decimal && number.is_finite());
    let number = number.ok_or_else(|| FieldKind::Number.expectation().to_owned())?;

    if digits(text) == digits(&format!("{number:e}")) {
        Ok(number)
    } else {
        Err(INEXACT.to_owned())
    }
}

/// Keeps a number that a float of single precision keeps.
///
/// # Errors
///
/// A message that says that it has too many digits.
pub(crate) fn single(number: f64) -> Result<f64, String> {
    let narrow = number as f32;
    if narrow.is_finite() && digits(&format!("{narrow:e}")) == digits(&format!("{number:e}")) {
        Ok(number)
    } else {
        Err(INEXACT.to_owned())
    }
}

/// Returns the number that a float of single precision is written as: `0.1` and not what it is
/// exactly, so that JSON shows the one that was given.
pub(crate) fn widened(narrow: f32) -> f64 {
    let written = format!("{narrow:e}").parse::<f64>();
    // The shortest text leads back to it, but for what has no digits, such as infinity.
    let written = written.ok().filter(|&wide| wide as f32 == narrow);
    written.unwrap_or_else(|| f64::from(narrow))
}

/// Returns the significant digits of a decimal number and the power of ten of the first; its sign
/// does not matter here. Zero has no digits.
fn digits(text: &str) -> (String, i64) {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(0)),
        None => (text, 0_i64),
    };
    let mantissa = mantissa.trim_start_matches(['+', '-']);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));

    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let leading = all.len() - significant.len();
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return (String::new(), 0);
    }

    let place = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let first = exponent
        .saturating_add(place(whole.len()))
        .saturating_sub(place(leading));
    (significant.to_owned(), first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_float_holds_exactly_as_written_is_taken() {
        for text in [
            "0",
            "-0",
            "0.0",
            "1",
            "-1.50",
            "0.1",
            "1e3",
            "1E-3",
            "100000000000000000000",
            "9007199254740992",
            "9007199254740994",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "5e-324",
            "0.000e99999999999999999999",
        ] {
            assert!(parsed(text).is_ok(), "{text}: {:?}", parsed(text));
        }
    }

    #[test]
    fn a_number_that_would_come_back_as_another_is_refused() {
        for text in [
            "9007199254740993",
            "0.1000000000000000055",
            "1e-400",
            "123456789012345678901",
        ] {
            assert_eq!(parsed(text), Err(INEXACT.to_owned()), "{text}");
        }
        for text in [
            "", "x", "NaN", "inf", "-inf", "infinity", "1e999", "1.2.3", "--1", "1e",
        ] {
            assert_eq!(parsed(text), Err("expected a number".to_owned()), "{text}");
        }
    }
}
