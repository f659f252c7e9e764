//! One event for each row of a transaction, however often the transaction changed it.
//!
//! The records of one row in one transaction need not lie in the order in which it changed: where a
//! user's row trigger writes the row again, PostgreSQL logs the inner change first. But they make a
//! chain, in which each old image is the new image of the one before, and the ends of a chain do
//! not depend on the order in which its records are given. A group that is no chain counts from the
//! first old image to the last new one.

use std::sync::Arc;

use super::{Announce, Fields, Mark, RowRecord};
use crate::{change::Operation, primary_key::PrimaryKey};

/// Every record of one row in one transaction, whatever pages they lie in.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The number of the first of them in the log ([`Place::number`](super::Place::number)): a
    /// reader of pages that has met it has met the group.
    pub first: u64,
    /// The number of the last of them, by which a reader knows that no more will come.
    pub last: u64,
    /// What they say, in the log's order.
    pub rows: Vec<RowRecord>,
}

/// Names one row in one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct RowOf {
    /// The commit.
    pub mark: Mark,
    /// The name of the entity's schema.
    pub entity: Arc<str>,
    /// The primary key, all parts of it.
    pub key: PrimaryKey,
}

impl Group {
    /// Puts records together, each with its number, in the log's order. Returns none if there are
    /// none.
    #[must_use]
    pub fn of(records: impl IntoIterator<Item = (u64, RowRecord)>) -> Option<Self> {
        let (numbers, rows): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let (first, last) = (*numbers.first()?, *numbers.last()?);
        Some(Self { first, last, rows })
    }

    /// Returns roughly how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.rows.iter().map(RowRecord::weight).sum()
    }
}

/// What one transaction did to one row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowChange<'a> {
    /// What was done from beginning to end.
    pub operation: Operation,
    /// The row before the transaction; none for a create.
    pub old: Option<&'a Fields>,
    /// The row after the transaction; none for a delete.
    pub new: Option<&'a Fields>,
}

impl<'a> RowChange<'a> {
    /// Folds all records of one row in one transaction, given in the log's order. Returns none if
    /// the row ended as it began, or if no record is to be announced.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Operation, Value, log::{Announce, Fields, RowChange, RowRecord}};
    ///
    /// let image = |name: &str| Fields::from_iter([("name", Value::from(name.to_owned()))]);
    /// let update = |old, new| RowRecord {
    ///     entity: "consumers".into(),
    ///     operation: Operation::Update,
    ///     key: Value::Integer(1).into(),
    ///     old: image(old),
    ///     new: image(new),
    ///     announce: Announce::Event,
    /// };
    ///
    /// // A trigger's inner update (b to c) was logged before the statement's own (a to b).
    /// let group = [update("b", "c"), update("a", "b")];
    /// let change = RowChange::fold(&group).expect("the row changed");
    /// assert_eq!((change.old, change.new), (Some(&image("a")), Some(&image("c"))));
    ///
    /// assert_eq!(RowChange::fold(&[update("a", "b"), update("b", "a")]), None);
    /// ```
    #[must_use]
    pub fn fold<R: AsRef<RowRecord>>(group: &'a [R]) -> Option<Self> {
        let images: Vec<_> = group
            .iter()
            .map(AsRef::as_ref)
            .filter(|record| match record.announce {
                Announce::Event => true,
                Announce::Silent => false,
            })
            .map(Images::of)
            .collect();

        let in_log_order = (images.first()?.old, images.last()?.new);
        let (old, new) = ends_of_chain(&images).unwrap_or(in_log_order);
        let operation = match (old, new) {
            (None, None) => return None,
            (None, Some(_)) => Operation::Create,
            (Some(_), None) => Operation::Delete,
            // Images that hold the keys alone say nothing of what changed.
            (Some(old), Some(new)) if old == new && !old.is_partial() => return None,
            (Some(_), Some(_)) => Operation::Update,
        };
        Some(Self {
            operation,
            old,
            new,
        })
    }
}

impl AsRef<Self> for RowRecord {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The row before and after one record; none where there was no row.
#[derive(Clone, Copy)]
struct Images<'a> {
    old: Option<&'a Fields>,
    new: Option<&'a Fields>,
}

impl<'a> Images<'a> {
    fn of(record: &'a RowRecord) -> Self {
        let (old, new) = (&record.old, &record.new);
        match record.operation {
            Operation::Create => Self {
                old: None,
                new: Some(new),
            },
            Operation::Update => Self {
                old: Some(old),
                new: Some(new),
            },
            Operation::Delete => Self {
                old: Some(old),
                new: None,
            },
        }
    }
}

/// Returns the old image of a chain's first record and the new one of its last; none if the records
/// make no chain, or too long a one.
///
/// The records are the edges of a graph of images, and a chain is an Eulerian trail through it:
/// there is one if the edges hang together and each image is entered as often as it is left, but
/// for the first, which is left once more, and the last, which is entered once more.
fn ends_of_chain<'a>(images: &[Images<'a>]) -> Option<Ends<'a>> {
    const LONGEST: usize = 64; // the comparisons take cubic time

    let begin = images.first()?.old;
    if images.len() > LONGEST || !hang_together(images, begin) {
        return None;
    }

    let mut left: Vec<_> = images.iter().map(|record| record.old).collect();
    let mut entered = Vec::new();
    for record in images {
        match left.iter().position(|image| *image == record.new) {
            Some(index) => {
                left.swap_remove(index);
            }
            None => entered.push(record.new),
        }
    }
    match (left.as_slice(), entered.as_slice()) {
        // It ends where it began: of a circle, the log's order says where that was.
        ([], []) => Some((begin, begin)),
        ([first], [last]) => Some((*first, *last)),
        _ => None,
    }
}

/// The row before and after a group; none where there was no row.
type Ends<'a> = (Option<&'a Fields>, Option<&'a Fields>);

/// Returns whether every record shares an image with another one that can be reached from `begin`.
fn hang_together<'a>(images: &[Images<'a>], begin: Option<&'a Fields>) -> bool {
    let mut reached = vec![begin];
    let mut rest = images.to_vec();
    loop {
        let before = rest.len();
        rest.retain(|record| {
            let touches = reached.contains(&record.old) || reached.contains(&record.new);
            if touches {
                reached.extend([record.old, record.new]);
            }
            !touches
        });

        if rest.is_empty() || rest.len() == before {
            return rest.is_empty();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn image(name: &str) -> Fields {
        Fields::from_iter([("name", Value::Text(name.into()))])
    }

    fn record(operation: Operation, old: &str, new: &str) -> RowRecord {
        let image = |name: &str| {
            if name.is_empty() {
                Fields::default()
            } else {
                image(name)
            }
        };
        RowRecord {
            entity: "consumers".into(),
            operation,
            key: Value::Integer(1).into(),
            old: image(old),
            new: image(new),
            announce: Announce::Event,
        }
    }

    fn folded(group: &[RowRecord]) -> Option<(Operation, Option<Fields>, Option<Fields>)> {
        RowChange::fold(group)
            .map(|change| (change.operation, change.old.cloned(), change.new.cloned()))
    }

    use Operation::{Create, Delete, Update};

    #[test]
    fn a_row_that_was_made_and_changed_is_created_as_it_is_last() {
        let group = [record(Create, "", "a"), record(Update, "a", "b")];
        assert_eq!(folded(&group), Some((Create, None, Some(image("b")))));
    }

    #[test]
    fn a_row_that_was_made_and_deleted_is_no_event() {
        let group = [record(Create, "", "a"), record(Delete, "a", "")];
        assert_eq!(folded(&group), None);
    }

    #[test]
    fn a_row_that_was_deleted_and_made_again_is_updated() {
        let group = [record(Delete, "a", ""), record(Create, "", "b")];
        let both = Some((Update, Some(image("a")), Some(image("b"))));
        assert_eq!(folded(&group), both);
    }

    #[test]
    fn a_group_that_is_no_chain_goes_from_the_first_old_to_the_last_new() {
        let group = [record(Update, "a", "b"), record(Update, "x", "y")];
        let both = Some((Update, Some(image("a")), Some(image("y"))));
        assert_eq!(folded(&group), both);
    }

    #[test]
    fn a_trigger_within_a_trigger_is_logged_first_and_does_not_hide_what_was_made() {
        // An insert; its trigger writes the row as it is; that one's trigger changes it.
        let inner = record(Update, "a", "b");
        let group = [inner, record(Update, "a", "a"), record(Create, "", "a")];
        assert_eq!(folded(&group), Some((Create, None, Some(image("b")))));
    }

    #[test]
    fn a_row_that_comes_back_to_an_image_ends_where_its_chain_does() {
        // From a to b, to c, back to b, to d: the changes of triggers are logged first.
        let group = [("a", "b"), ("b", "d"), ("c", "b"), ("b", "c")];
        let group = group.map(|(old, new)| record(Update, old, new));
        let both = Some((Update, Some(image("a")), Some(image("d"))));
        assert_eq!(folded(&group), both);
    }

    #[test]
    fn records_with_the_key_alone_are_an_update() {
        let both = Some((Update, Some(Fields::default()), Some(Fields::default())));
        assert_eq!(folded(&[record(Update, "", "")]), both);
    }

    #[test]
    fn records_with_equal_keys_of_a_row_that_was_too_long_are_an_update() {
        let keys = Fields::keys_alone([("name", Value::Text("a".into()))]);
        let mut long = record(Update, "", "");
        (long.old, long.new) = (keys.clone(), keys.clone());
        assert_eq!(
            folded(&[long]),
            Some((Update, Some(keys.clone()), Some(keys)))
        );
    }

    #[test]
    fn a_silent_record_is_no_event() {
        let mut silent = record(Delete, "a", "");
        silent.announce = Announce::Silent;
        assert_eq!(folded(&[silent]), None);
    }
}
