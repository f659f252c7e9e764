//! Epochs and bytes as text.

use std::fmt::Write as _;

use tidings_core::log::Epoch;
use uuid::Uuid;

/// Returns the text of an epoch: its number, a dot, and its id.
#[must_use]
pub fn epoch_text(epoch: Epoch) -> String {
    epoch.to_string()
}

/// Reads the text of an epoch.
#[must_use]
pub fn epoch_of_text(text: &str) -> Option<Epoch> {
    let (number, id) = text.split_once('.')?;
    Some(Epoch::new(number.parse().ok()?, Uuid::try_parse(id).ok()?))
}

/// Returns bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // into a string it cannot fail
        text
    })
}

/// Reads hexadecimal digits, as many as fill the bytes.
pub(crate) fn of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
