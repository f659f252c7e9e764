//! [`Wrong`]: why the value of an option is refused, and what parsers of all options share.

use super::source::Raw;

/// Why the value of an option is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not one of the allowed values.
    NotAllowed,
    /// It is understood, but this release cannot do it yet.
    Later(&'static str),
    /// Something else is wrong with it.
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
