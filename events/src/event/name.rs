//! Names of channels, and patterns over them.

use std::{fmt, sync::Arc};

use tidings_core::Operation;

/// The source of every CRUD channel.
pub const CRUD: &str = "crud";

/// What a wildcard is written as.
pub(crate) const ANY: &str = "*";

/// What a registration listens to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    /// `"*", "*"`
    Everything,
    /// `"crud", "*"`
    Source(Arc<str>),
    /// `"crud", "consumers"`
    Event(Arc<str>, Arc<str>),
    /// `"crud", "consumers:update"`
    Operation(Arc<str>, Arc<str>, Operation),
}

impl Pattern {
    /// Orders handlers: the wider pattern runs before the narrower.
    pub(crate) fn level(&self) -> u8 {
        match self {
            Self::Everything => 0,
            Self::Source(_) => 1,
            Self::Event(..) => 2,
            Self::Operation(..) => 3,
        }
    }

    pub(crate) fn operation(&self) -> Option<Operation> {
        match self {
            Self::Operation(_, _, operation) => Some(*operation),
            _ => None,
        }
    }

    pub(crate) fn covers(&self, source: &str, event: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Source(own) => &**own == source,
            Self::Event(own, name) | Self::Operation(own, name, _) => {
                &**own == source && &**name == event
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("(\"*\", \"*\")"),
            Self::Source(source) => write!(f, "({source:?}, \"*\")"),
            Self::Event(source, event) => write!(f, "({source:?}, {event:?})"),
            Self::Operation(source, event, operation) => {
                write!(f, "({source:?}, \"{event}:{operation}\")")
            }
        }
    }
}

/// Splits `"consumers:update"`.
pub(crate) fn split_operation(event: &str) -> Option<(&str, Operation)> {
    let (name, operation) = event.rsplit_once(':')?;
    Some((name, operation.parse().ok()?))
}

/// Returns up to three of `candidates` that the misspelt `wanted` may have meant, the nearest
/// first.
pub(crate) fn near<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = wanted.chars().count() / 3 + 1;
    let mut found: Vec<_> = candidates
        .map(|candidate| (strsim::levenshtein(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    found.sort();
    found.dedup();

    found
        .into_iter()
        .take(3)
        .map(|(_, name)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_nearest_first_and_far_ones_not() {
        let names = ["acls", "consumers", "consumer_groups", "comsumers"];
        assert_eq!(
            near("consumer", names.into_iter()),
            ["consumers", "comsumers"]
        );
        assert!(near("zebra", names.into_iter()).is_empty());
    }

    #[test]
    fn only_the_last_word_is_an_operation() {
        assert_eq!(split_operation("a:update"), Some(("a", Operation::Update)));
        assert_eq!(
            split_operation("a:b:delete"),
            Some(("a:b", Operation::Delete))
        );
        assert_eq!(split_operation("a:touch"), None);
        assert_eq!(split_operation("a"), None);
    }
}
