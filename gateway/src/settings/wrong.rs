//! Why a value is refused, and what a parser gives.

use super::source::Raw;

/// Why a value is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not among what is allowed.
    NotAllowed,
    /// It is understood, and comes with a later release.
    Later(&'static str),
    /// It is wrong for this reason.
    Because(String),
}

impl Wrong {
    pub(super) fn reason(&self, allowed: &str) -> String {
        match self {
            Self::NotAllowed => format!("expected {allowed}"),
            Self::Later(what) => {
                format!("{what} belongs to a later release; expected {allowed}")
            }
            Self::Because(reason) => format!("{reason}; expected {allowed}"),
        }
    }
}

pub(super) type Parsed<T> = Result<T, Wrong>;

/// Returns whether digits are written as the number itself would be: `7`, not `007` or `+7`.
pub(super) fn is_canonical(digits: &str) -> bool {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain && (digits.len() == 1 || !digits.starts_with('0'))
}

/// Returns the text of a value.
pub(super) fn text(raw: &Raw) -> Parsed<&str> {
    if !raw.utf8 {
        return Err(Wrong::Because("it is not UTF-8".into()));
    }
    raw.as_text().ok_or(Wrong::NotAllowed)
}
