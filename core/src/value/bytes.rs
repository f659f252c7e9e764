//! Bytes as text: base64 with padding, in its one canonical spelling.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Writes bytes as text.
pub(super) fn to_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads bytes from text; `None` if it is not what [`to_text`] writes.
pub(super) fn from_text(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
