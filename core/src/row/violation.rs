//! [`Violations`]: the faults of a row, each with its field, its rule and a message for people.
//!
//! The rule is for programs: it says which kind of correction is needed. The message says what was
//! expected. It never repeats the value, which may be a secret.

use std::fmt;

/// The rule of a schema that was broken.
///
/// # Examples
///
/// ```
/// use tidings_core::{Field, Rule, Value};
///
/// let field = Field::of::<String>("name").length(3..=40);
/// let breach = field.check(&Value::from("ab")).unwrap_err();
/// assert_eq!(breach.rule, Rule::Length);
/// assert_eq!(breach.to_string(), "length must be at least 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// There is no such field, or it cannot be named here.
    Unknown,
    /// The field is named more than once, or contradicts another part of the request.
    Contradiction,
    /// A value is required.
    Required,
    /// The value is of another kind or type.
    Kind,
    /// The number is too small, too large, or cannot be kept exactly.
    Range,
    /// The text is empty, or holds a character that it must not.
    Text,
    /// The value is too short or too long.
    Length,
    /// The text does not match the field's pattern.
    Pattern,
    /// The value is not one of those allowed.
    OneOf,
    /// The value cannot change after the insert.
    Immutable,
    /// One of several fields must have a value.
    AtLeastOneOf,
    /// A check function of the application refused the row.
    Check,
}

impl Rule {
    /// Returns the word for it in logs and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Contradiction => "contradiction",
            Self::Required => "required",
            Self::Kind => "kind",
            Self::Range => "range",
            Self::Text => "text",
            Self::Length => "length",
            Self::Pattern => "pattern",
            Self::OneOf => "one_of",
            Self::Immutable => "immutable",
            Self::AtLeastOneOf => "at_least_one_of",
            Self::Check => "check",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a field cannot have a value: the broken rule, and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Breach {
    /// Makes a breach of a rule.
    #[must_use]
    pub fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
        }
    }
}

/// One fault of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field; `@entity` for a rule about the row as a whole.
    pub field: String,
    /// The rule that is broken.
    pub rule: Rule,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// All faults of a row.
///
/// # Examples
///
/// ```
/// use tidings_core::{Rule, Violations};
///
/// let mut violations = Violations::default();
/// violations.add("username", Rule::Required, "required field missing");
/// violations.add("tags", Rule::Kind, "expected a set of strings");
/// assert_eq!(
///     violations.or("a row").unwrap_err().to_string(),
///     "username: required field missing; tags: expected a set of strings"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// Makes the single violation of a check function, of a field or of `@entity`.
    #[must_use]
    pub fn check(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.add(field, Rule::Check, message);
        violations
    }

    /// Returns whether there is no violation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a violation.
    pub fn add(&mut self, field: impl Into<String>, rule: Rule, message: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            rule,
            message: message.into(),
        });
    }

    /// Adds a violation: the value of a field breaks a rule.
    pub fn broken(&mut self, field: impl Into<String>, breach: Breach) {
        self.add(field, breach.rule, breach.message);
    }

    /// Returns the value, if there is no violation.
    ///
    /// # Errors
    ///
    /// These violations, unless there are none.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
