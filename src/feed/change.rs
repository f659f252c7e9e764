//! [`FeedChange`]: a change rendered as JSON, with the secrets of its rows masked.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use tidings_core::{
    Operation,
    log::{Gap, GapReason, Mark, Place, Scope},
};
use tidings_store::RowChange;

use super::glob::Glob;

/// The source of the changes of entities.
const CRUD: &str = "crud";

/// A change, or an event of an application's own, as watchers of a node see it.
#[derive(Clone, Debug)]
pub struct FeedChange {
    source: Arc<str>,
    event: Arc<str>,
    operation: Option<Operation>,
    place: Place,
    mark: Option<Mark>,
    data: Box<str>,
}

/// Changes that watchers of a node have missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedGap {
    gap: Gap,
    missed: Option<u64>,
}

/// A change without its place.
#[derive(Debug)]
pub(crate) struct Draft {
    source: Arc<str>,
    event: Arc<str>,
    operation: Option<Operation>,
    /// The data up to the position.
    begun: String,
}

/// The members of the data, in this order; the position follows.
#[derive(Serialize)]
struct Said<'a> {
    source: &'a str,
    event: &'a str,
    operation: Option<&'a str>,
    /// The primary key as in a path of the admin API, if it has several fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    entity: Json,
    old_entity: Option<Json>,
    origin: Option<&'a str>,
}

impl Draft {
    pub(crate) fn of_row(change: &RowChange, origin: Option<&str>) -> Self {
        let (schema, operation) = (change.schema, change.operation);
        let event = format!("{}:{operation}", schema.name());
        let old = change.old_row.as_ref();
        let said = Said {
            source: CRUD,
            event: &event,
            operation: Some(operation.as_str()),
            key: shown_key(change),
            entity: change.row.to_shown_json(schema),
            old_entity: old.map(|row| row.to_shown_json(schema)),
            origin,
        };
        Self {
            begun: begun(&said),
            source: CRUD.into(),
            event: event.into(),
            operation: Some(operation),
        }
    }

    /// Describes an event of an application's own, whose payload is JSON.
    pub(crate) fn of_event(source: &str, event: &str, payload: &str, origin: Option<&str>) -> Self {
        let said = Said {
            source,
            event,
            operation: None,
            key: None,
            entity: serde_json::from_str(payload).unwrap_or_else(|_| payload.into()),
            old_entity: None,
            origin,
        };
        Self {
            begun: begun(&said),
            source: source.into(),
            event: event.into(),
            operation: None,
        }
    }

    pub(crate) fn at(self, place: Place, mark: Option<Mark>) -> FeedChange {
        // A place's text is letters, digits and dots.
        let data = format!("{},\"position\":\"{place}\"}}", self.begun);
        FeedChange {
            source: self.source,
            event: self.event,
            operation: self.operation,
            place,
            mark,
            data: data.into(),
        }
    }
}

/// Returns the text of a primary key of several fields, secret ones masked; `None` for one of a
/// single field, which the row shows.
fn shown_key(change: &RowChange) -> Option<String> {
    let schema = change.schema;
    if schema.single_key().is_some() {
        return None;
    }
    let key = schema.key_of(&change.row);
    Some(schema.shown_key(&key).to_text())
}

/// Renders the data, without the closing brace.
fn begun(said: &Said<'_>) -> String {
    // It has only texts and JSON values, which can always be written.
    let mut text = serde_json::to_string(said).unwrap_or_else(|_| "{}".to_owned());
    text.pop();
    text
}

impl FeedChange {
    /// Returns the channel's source: `crud` for the change of a row.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the channel's event, as `consumers:update`.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Returns what was done to the row; `None` for an event of an application.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.operation
    }

    /// Returns the place to resume from after it.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns all of it as JSON: `{"source", "event", "operation", "entity", "old_entity",
    /// "origin", "position"}`, secret fields masked. `old_entity` is null unless the change is an
    /// update; a delete has the deleted row as `entity`. `origin` is the node whose write it was,
    /// or null for another program's. A row whose primary key has several fields also has its text
    /// as `key`.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Returns about how much memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + self.source.len() + self.event.len() + size_of::<Self>()
    }

    /// Returns whether it is on a channel that fits. A row's change is on two channels: that of its
    /// entity, and that of its entity and its operation.
    pub(crate) fn is_on(&self, source: &Glob, event: &Glob) -> bool {
        let of_entity = || {
            let entity = self.operation.and_then(|_| self.event.split_once(':'));
            entity.is_some_and(|(entity, _)| event.matches(entity))
        };
        source.matches(&self.source) && (event.matches(&self.event) || of_entity())
    }
}

impl FeedGap {
    pub(crate) fn new(gap: Gap, missed: Option<u64>) -> Self {
        Self { gap, missed }
    }

    /// Makes the gap of changes that were not read in time.
    pub(crate) fn overflow(missed: u64) -> Self {
        Self::new(Gap::of_all(GapReason::Overflow), Some(missed))
    }

    /// Returns why changes are missing, and what they may have been about.
    #[must_use]
    pub fn gap(&self) -> &Gap {
        &self.gap
    }

    /// Returns how many changes are missing at most, if that is known. Changes on channels that the
    /// feed did not ask for are counted too.
    #[must_use]
    pub fn missed(&self) -> Option<u64> {
        self.missed
    }

    /// Returns all of it as JSON: `{"missed", "reason"}`, and `"entity"` if only changes of one
    /// entity may be missing.
    #[must_use]
    pub fn data(&self) -> String {
        let mut said = serde_json::json!({
            "missed": self.missed,
            "reason": self.gap.reason.as_str(),
        });
        if let Scope::Entity(entity) = &self.gap.scope {
            said["entity"] = (**entity).into();
        }
        said.to_string()
    }

    /// Returns whether missing changes may have been on a channel that fits.
    pub(crate) fn is_on(&self, source: &Glob, event: &Glob) -> bool {
        match &self.gap.scope {
            Scope::All => true,
            Scope::Entity(entity) => {
                let channel = |it: Operation| event.matches(&format!("{entity}:{it}"));
                let channels = Operation::ALL.into_iter();
                source.matches(CRUD) && (event.matches(entity) || channels.into_iter().any(channel))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{
        Field, Row, Schema,
        log::{Cursor, Epoch},
    };
    use uuid::Uuid;

    use super::*;

    fn place() -> Place {
        Place(Cursor::counted(Epoch::new(1, Uuid::nil()), 7))
    }

    fn credential() -> FeedChange {
        let schema = Schema::builder("credentials")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<String>("key").secret())
            .build();
        let row = |key: &str| Row(vec![7_i64.into(), key.into()]);
        let change = RowChange {
            schema: Box::leak(Box::new(schema)),
            operation: Operation::Update,
            row: row("new-s3cret"),
            old_row: Some(row("old-s3cret")),
        };
        Draft::of_row(&change, Some("a")).at(place(), None)
    }

    #[test]
    fn secrets_are_masked_and_the_position_is_the_place() {
        let change = credential();
        assert_eq!(
            change.data(),
            format!(
                r#"{{"source":"crud","event":"credentials:update","operation":"update","entity":{{"id":7,"key":"***"}},"old_entity":{{"id":7,"key":"***"}},"origin":"a","position":"{}"}}"#,
                place()
            )
        );
    }

    #[test]
    fn a_change_is_on_the_channels_of_its_entity_and_of_its_operation() {
        let change = credential();
        let on = |source, event| change.is_on(&Glob::new(source), &Glob::new(event));
        assert!(on("crud", "credentials") && on("*", "credentials:*") && on("c*", "*:update"));
        assert!(!on("crud", "credential") && !on("crud", "*:create") && !on("search", "*"));

        let event = Draft::of_event("search", "a:b", "{\"shop\":7}", None).at(place(), None);
        assert!(
            event
                .data()
                .contains(r#""operation":null,"entity":{"shop":7}"#)
        );
        assert!(!event.is_on(&Glob::any(), &Glob::new("a")));
    }

    #[test]
    fn a_gap_of_one_entity_concerns_those_that_asked_for_it() {
        let gap = FeedGap::new(Gap::of_entity(GapReason::Malformed, "acls"), None);
        let on = |source, event| gap.is_on(&Glob::new(source), &Glob::new(event));
        assert!(on("crud", "acls:create") && on("*", "acls") && on("crud", "*"));
        assert!(!on("crud", "consumers:*") && !on("search", "*"));
        assert_eq!(
            gap.data(),
            r#"{"entity":"acls","missed":null,"reason":"malformed"}"#
        );
        assert!(FeedGap::overflow(3).is_on(&Glob::new("search"), &Glob::new("x")));
    }
}
