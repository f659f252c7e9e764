//! The triggers of one entity, as SQL that every SQLite from 3.34 on can run, in any program.
//!
//! They cannot make a write fail: values are copied without a type, nothing that they write has a
//! constraint, and only the keys of a row beyond [`WHOLE`] are recorded.
//!
//! `REPLACE` fires no delete trigger. So the triggers before a write note the rows that it may
//! replace (kind `n`), and those after it turn the notes of the rows that are gone into deletes. A
//! note without a delete still evicts, but runs no handler.
//!
//! If a user's trigger writes the row again, that write may have been recorded before the one that
//! fired it. The trigger after the first write detects that the row has another value, and gives
//! all records of the statement one mark. Readers sort such a group by its chain of old and new
//! values.

use super::{
    key::Key,
    names::{identifier, joined, literal, side_table},
    shape::Shape,
};

/// The maximum total length of a row's texts for its record to hold the whole row.
const WHOLE: usize = 1 << 20;
/// How far back to look for notes and records of one statement.
const NEAR: usize = 1_000;
/// The version of the triggers' text.
const VERSION: u32 = 1;

/// What the triggers of an entity record.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) entity: &'a str,
    /// The primary key.
    pub(super) key: Key<'a>,
    pub(super) layout: i64,
    /// All recorded fields.
    pub(super) fields: &'a [String],
    /// The fields that are recorded of rows that are too long.
    pub(super) keys: &'a [String],
    /// The fields that may be long.
    pub(super) texts: &'a [String],
    pub(super) shape: &'a Shape,
}

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    BeforeInsert,
    BeforeUpdate,
    AfterInsert,
    AfterUpdate,
    AfterDelete,
}

impl When {
    pub(super) const ALL: [Self; 5] = [
        Self::BeforeInsert,
        Self::BeforeUpdate,
        Self::AfterInsert,
        Self::AfterUpdate,
        Self::AfterDelete,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::BeforeInsert => "before_insert",
            Self::BeforeUpdate => "before_update",
            Self::AfterInsert => "after_insert",
            Self::AfterUpdate => "after_update",
            Self::AfterDelete => "after_delete",
        }
    }

    /// Returns which writes would not be captured without it.
    pub(super) fn misses(self) -> &'static str {
        match self {
            Self::BeforeInsert | Self::BeforeUpdate => "replaced rows",
            Self::AfterInsert => "inserts",
            Self::AfterUpdate => "updates",
            Self::AfterDelete => "deletes",
        }
    }

    /// Returns the name of an entity's trigger.
    pub(super) fn trigger(self, entity: &str) -> String {
        format!("tidings:{}:{entity}", self.word())
    }
}

/// Returns the version and the fields in a trigger's text; `None` if it is not one of our triggers.
pub(super) fn recorded_by(sql: &str) -> Option<(u32, Vec<String>)> {
    let (_, rest) = sql.split_once("/* tidings ")?;
    let (head, _) = rest.split_once(" */")?;
    let (version, fields) = head.split_once(": ")?;
    Some((version.parse().ok()?, super::names::split(fields)))
}

/// Returns whether a version of triggers is newer than this program.
pub(super) fn is_newer(version: u32) -> bool {
    version > VERSION
}

impl Plan<'_> {
    /// Returns the statement that creates a trigger, in the form in which SQLite stores it.
    pub(super) fn create(&self, when: When) -> String {
        let (fires, body) = match when {
            When::BeforeInsert => self.note("INSERT", ""),
            When::BeforeUpdate => {
                let other = format!(" AND {}", self.key.different("t", "OLD"));
                self.note("UPDATE", &other)
            }
            When::AfterInsert => self.inserted(),
            When::AfterUpdate => self.updated(),
            When::AfterDelete => self.deleted(),
        };
        let name = identifier(&when.trigger(self.entity));
        let fields = joined(self.fields);
        format!("CREATE TRIGGER {name} {fires} BEGIN\n/* tidings {VERSION}: {fields} */\n{body}END")
    }

    fn table(&self) -> String {
        identifier(self.entity)
    }

    fn noted(&self) -> String {
        format!("kind = 'n' AND entity = {}", literal(self.entity))
    }

    /// Returns the trigger that notes the rows which a write may replace.
    fn note(&self, event: &str, other: &str) -> (String, String) {
        let (table, side, key) = (self.table(), side_table(self.entity), self.key.of_row("t"));
        let (entity, noted, layout) = (literal(self.entity), self.noted(), self.layout);
        let conflict = format!("({}){other}", self.shape.conflict());
        let (columns, values) = (self.columns("old"), self.values("t"));
        let size = self.size("t");

        // The value of a key of one field finds a row by its index. The text of a longer key does
        // not, so the row is looked for among the conflicting ones.
        let is_noted = if self.key.is_single() {
            format!("{key} IS l.key")
        } else {
            format!("({conflict}) AND {key} IS l.key")
        };
        let fires = format!(
            "BEFORE {event} ON {table} WHEN EXISTS (SELECT 1 FROM {table} AS t WHERE {conflict})"
        );
        let body = format!(
            "UPDATE tidings_log SET kind = 'o' WHERE {noted} AND \
               (id < (SELECT max(id) FROM tidings_log) - {NEAR} OR key IN (SELECT {key} FROM {table} AS t WHERE {conflict}));\n\
             INSERT INTO tidings_log (kind, entity, layout, key, size) \
               SELECT 'n', {entity}, {layout}, {key}, {size} FROM {table} AS t WHERE {conflict};\n\
             INSERT INTO {side} (id{columns}) SELECT l.id{values} FROM tidings_log AS l CROSS JOIN {table} AS t \
               ON {is_noted} WHERE l.kind = 'n' AND l.entity = {entity} \
               AND NOT EXISTS (SELECT 1 FROM {side} AS s WHERE s.id = l.id);\n"
        );
        (fires, body)
    }

    fn inserted(&self) -> (String, String) {
        let record = self.record("c", "NEW", &self.size("NEW"), &["new"]);
        let (replaced, again) = (self.replaced(), self.written_again());
        let fires = format!("AFTER INSERT ON {}", self.table());
        (fires, format!("{record}{replaced}{again}"))
    }

    fn updated(&self) -> (String, String) {
        let size = format!("{} + {}", self.size("OLD"), self.size("NEW"));
        let record = self.record("u", "NEW", &size, &["old", "new"]);
        let (still, replaced, again) =
            (self.withdraw_notes(), self.replaced(), self.written_again());
        let fires = format!("AFTER UPDATE ON {}", self.table());
        (fires, format!("{record}{still}{replaced}{again}"))
    }

    fn deleted(&self) -> (String, String) {
        let record = self.record("d", "OLD", &self.size("OLD"), &["old"]);
        let (table, still) = (self.table(), self.withdraw_notes());
        let (same, key) = (self.key.same("t", "OLD"), self.key.of_row("OLD"));
        let entity = literal(self.entity);

        // A user's trigger may have created the row again.
        let again = format!(
            "UPDATE tidings_log SET mark = last_insert_rowid() WHERE id >= \
             CASE WHEN EXISTS (SELECT 1 FROM {table} AS t WHERE {same}) THEN (\
               SELECT max(+i.id) FROM tidings_log AS i WHERE {} AND i.entity = {entity} AND i.kind = 'c' \
               AND i.key IS {key}) END;\n",
            near()
        );
        let fires = format!("AFTER DELETE ON {table}");
        (fires, format!("{record}{still}{again}"))
    }

    /// Returns the statements that write the record and its values.
    fn record(&self, kind: &str, row: &str, size: &str, images: &[&str]) -> String {
        let (side, key, entity) = (
            side_table(self.entity),
            self.key.of_row(row),
            literal(self.entity),
        );
        let columns: String = images.iter().map(|image| self.columns(image)).collect();
        let values: String = images
            .iter()
            .map(|image| self.values(&image.to_ascii_uppercase()))
            .collect();
        format!(
            "INSERT INTO tidings_log (kind, entity, layout, key, size) \
               VALUES ('{kind}', {entity}, {}, {key}, {size});\n\
             INSERT INTO {side} (id{columns}) SELECT l.id{values} FROM tidings_log AS l \
               WHERE l.id = last_insert_rowid();\n",
            self.layout
        )
    }

    /// Returns the statement that withdraws the notes of a row that was written itself.
    fn withdraw_notes(&self) -> String {
        let (noted, key) = (self.noted(), self.key.of_row("OLD"));
        format!("UPDATE tidings_log SET kind = 'o' WHERE {noted} AND key IS {key};\n")
    }

    /// Returns the statements that turn the notes of replaced rows into deletes.
    fn replaced(&self) -> String {
        let (table, key, noted) = (self.table(), self.key.of_row("NEW"), self.noted());
        let there = if self.key.is_single() {
            let own = self.key.of_row("t");
            format!("SELECT 1 FROM {table} AS t WHERE {own} IS tidings_log.key")
        } else {
            let (side, same) = (side_table(self.entity), self.key.same_as_old("t", "s"));
            format!(
                "SELECT 1 FROM {side} AS s CROSS JOIN {table} AS t ON {same} WHERE s.id = tidings_log.id"
            )
        };
        let gone = format!("(key IS {key} OR NOT EXISTS ({there}))");
        format!(
            "UPDATE tidings_log SET mark = last_insert_rowid() \
               WHERE id >= (SELECT min(+id) FROM tidings_log WHERE {noted} AND {gone});\n\
             UPDATE tidings_log SET kind = 'd' WHERE {noted} AND {gone};\n"
        )
    }

    /// Returns the statement that groups the records of a statement if a user's trigger wrote the
    /// row again before this trigger fired.
    fn written_again(&self) -> String {
        let (table, side) = (self.table(), side_table(self.entity));
        let own = self.key.same("t", "NEW");
        let entity = literal(self.entity);
        let same = |left: &str, names: &[&String]| {
            let equal = names.iter().map(|name| {
                let column = identifier(&format!("{left}{name}"));
                let column = if left.is_empty() {
                    format!("t.{column}")
                } else {
                    format!("s.{column}")
                };
                format!("{column} IS NEW.{}", identifier(name))
            });
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let all: Vec<_> = self.fields.iter().collect();
        let keys: Vec<_> = self.keys.iter().collect();
        let (as_left, was, was_named) = (same("", &all), same("old_", &all), same("old_", &keys));
        format!(
            "UPDATE tidings_log SET mark = last_insert_rowid() WHERE id >= \
             CASE WHEN NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {own} AND {as_left}) THEN (\
               SELECT max(+i.id) FROM tidings_log AS i CROSS JOIN {side} AS s ON s.id = i.id \
               WHERE {} AND i.entity = {entity} AND i.kind IN ('u', 'd') \
               AND {was_named} AND (i.size > {WHOLE} OR ({was}))) END;\n",
            near()
        )
    }

    /// Returns the columns of the side table for one image, each with a comma before it.
    fn columns(&self, image: &str) -> String {
        let names = self.fields.iter();
        names
            .map(|name| format!(", {}", identifier(&format!("{image}_{name}"))))
            .collect()
    }

    /// Returns the values of a row for these columns.
    fn values(&self, row: &str) -> String {
        let value = |name: &String| {
            let column = format!("{row}.{}", identifier(name));
            if self.keys.contains(name) {
                format!(", {column}")
            } else {
                format!(", CASE WHEN l.size <= {WHOLE} THEN {column} END")
            }
        };
        self.fields.iter().map(value).collect()
    }

    /// Returns the total length of a row's texts.
    fn size(&self, row: &str) -> String {
        let lengths = self.texts.iter();
        let lengths: Vec<_> = lengths
            .map(|name| format!("coalesce(length({row}.{}), 0)", identifier(name)))
            .collect();
        if lengths.is_empty() {
            return "0".to_owned();
        }
        lengths.join(" + ")
    }
}

/// What a record holds of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Whole,
    Keys,
}

impl Kept {
    /// Returns what a record with this size holds.
    pub(super) fn of_size(size: i64) -> Self {
        if usize::try_from(size).is_ok_and(|size| size <= WHOLE) {
            Self::Whole
        } else {
            Self::Keys
        }
    }
}

/// Returns the condition of records shortly before the one that was just written, as far as one
/// statement may reach. Use it inside a CASE: otherwise SQLite would search them before it checks
/// another condition.
fn near() -> String {
    format!("i.id < last_insert_rowid() AND i.id > last_insert_rowid() - {NEAR}")
}
