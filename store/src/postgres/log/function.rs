//! The trigger functions of an entity, as text.
//!
//! What they promise: a write by any program never fails because of them (short of a full disk);
//! every image of a row is logged as text under fixed settings; a row that is written to itself
//! leaves no record. What they name is qualified, so that no column, alias or setting of the
//! session changes their meaning.

use std::fmt;

use super::{
    columns::{Column, settings_of},
    names::{function, identifier, literal},
};

/// The version of the functions; told in their first line.
pub(super) const VERSION: u32 = 1;
/// The most that the values of one row may take: above it only the keys are logged.
const LONGEST_ROW: usize = 1 << 20;

/// What a function is run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// How often a trigger fires. A subscribed table's changes reach row triggers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Statement,
    Row,
}

/// Whether a function wakes the listeners itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// Readers find the records at their next poll.
    No,
    /// `NOTIFY` in the writer's transaction, with its price.
    Notify,
}

/// A layout: which fields an image holds.
pub(super) struct Layout<'a> {
    pub(super) id: i32,
    pub(super) columns: Vec<&'a Column>,
}

/// The columns of a primary key.
pub(super) struct Key<'a>(pub(super) Vec<&'a Column>);

impl Key<'_> {
    /// Returns the key of a row as text: that of its value, or of an array of those of its parts.
    /// It is null where there is no row: no part of a primary key is.
    fn text(&self, alias: &str) -> String {
        match &self.0[..] {
            [single] => single.text(alias),
            columns => {
                let texts: Vec<_> = columns.iter().map(|column| column.text(alias)).collect();
                let first = columns.first().map(|column| column.of(alias));
                format!(
                    "case when {} is not null then array[{}]::text[]::text end",
                    first.unwrap_or_default(),
                    texts.join(", ")
                )
            }
        }
    }
}

/// What a function logs.
pub(super) struct Plan<'a> {
    pub(super) entity: &'a str,
    pub(super) key: Key<'a>,
    pub(super) whole: Layout<'a>,
    pub(super) keys: Layout<'a>,
    pub(super) push: Push,
}

impl Event {
    pub(super) const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Delete, Self::Truncate];

    fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
        }
    }

    /// Returns the name of the trigger; the same on every table.
    pub(super) fn trigger(self) -> String {
        format!("tidings_{}", self.word())
    }

    /// Returns the level at which the event can be heard: `TRUNCATE` has no rows.
    pub(super) fn level(self, wanted: Level) -> Level {
        match self {
            Self::Truncate => Level::Statement,
            Self::Insert | Self::Update | Self::Delete => wanted,
        }
    }

    /// Returns the name of the function, without its schema.
    pub(super) fn function(self, entity: &str, level: Level) -> String {
        match self.level(level) {
            Level::Statement => function(entity, self.word()),
            Level::Row => function(entity, &format!("{}_row", self.word())),
        }
    }

    /// Makes the trigger, for every session whatever its replication role.
    pub(super) fn create_trigger(self, entity: &str, table: &str, level: Level) -> String {
        let referencing = match (self, self.level(level)) {
            (_, Level::Row) | (Self::Truncate, _) => "",
            (Self::Insert, _) => " referencing new table as tidings_new",
            (Self::Update, _) => " referencing old table as tidings_old new table as tidings_new",
            (Self::Delete, _) => " referencing old table as tidings_old",
        };

        let each = match self.level(level) {
            Level::Statement => "statement",
            Level::Row => "row",
        };
        let (trigger, function) = (self.trigger(), self.function(entity, level));
        format!(
            "create trigger {trigger} after {} on {table}{referencing} for each {each} \
             execute function tidings.{function}(); \
             alter table {table} enable always trigger {trigger};",
            self.word(),
            function = identifier(&function),
        )
    }
}

impl Plan<'_> {
    /// Returns the first lines of a function's body, by which its version, its fields and its
    /// settings are told.
    pub(super) fn header(&self) -> String {
        let fields: Vec<_> = self.whole.columns.iter().map(|it| it.name()).collect();
        let settings = settings_of(self.whole.columns.iter().copied());
        format!("-- tidings {VERSION}: {}\n--{settings}", fields.join(","))
    }

    /// Returns the body of a function.
    pub(super) fn body(&self, event: Event, level: Level) -> String {
        let header = self.header();
        if event == Event::Truncate {
            let touched = self.touched();
            let notify = self.notify();
            return format!("\n{header}\nbegin\n  {touched}{notify}\n  return null;\nend ");
        }

        let (old, new) = match level {
            Level::Statement => ("tidings_old", "tidings_new"),
            Level::Row => (
                "(select old.*) as tidings_old",
                "(select new.*) as tidings_new",
            ),
        };

        let (seen, rows) = match event {
            Event::Delete => (
                ("tidings_old", old),
                self.images("tidings_old", old, Kind::Deleted),
            ),
            Event::Insert => (
                ("tidings_new", new),
                self.images("tidings_new", new, Kind::Created),
            ),
            Event::Update | Event::Truncate => (("tidings_new", new), self.pairs(old, new)),
        };

        let (alias, from) = seen;
        let columns = self.whole.columns.iter().chain(&self.keys.columns);
        let columns: Vec<_> = columns.map(|column| column.of(alias)).collect();
        let columns = columns.join(", ");
        let touched = self.touched();
        let notify = self.notify();

        // A column that was dropped or renamed since must not make the write fail: the first
        // statement would say so, and takes no transaction id for its savepoint, since it writes
        // nothing.
        format!(
            "\n#variable_conflict use_column\n{header}\nbegin\n  begin\n    \
             perform {columns} from {from} limit 1;\n    \
             if not found then return null; end if;\n  \
             exception when others then\n    {touched}{notify}\n    return null;\n  end;\n  \
             insert into tidings.log (kind, entity, layout, key, key_hash, old, new, origin, silent)\n  \
             {rows};{notify}\n  return null;\nend ",
        )
    }

    /// Makes or replaces a function.
    pub(super) fn create(&self, event: Event, level: Level) -> String {
        let name = identifier(&event.function(self.entity, level));
        let texts = settings_of(self.whole.columns.iter().copied());
        let settings = match event {
            Event::Truncate => String::new(),
            Event::Insert | Event::Delete => texts,
            // Where a session has switched joins off, the price of this one would have it compiled
            // at every call.
            Event::Update => texts + " set jit = off",
        };
        let body = self.body(event, level);
        format!(
            "create or replace function tidings.{name}() returns trigger language plpgsql security definer \
             set search_path = pg_catalog, pg_temp{settings} as $tidings${body}$tidings$",
        )
    }

    /// Returns one record for each row of a transition table.
    fn images(&self, alias: &str, from: &str, kind: Kind) -> String {
        let long = self.is_long(alias);
        let image = format!(
            "case when {long} then {} else {} end",
            image(&self.keys, alias),
            image(&self.whole, alias)
        );
        let (kind, old, new) = match kind {
            Kind::Created => ('c', "null", image.as_str()),
            Kind::Deleted => ('d', image.as_str(), "null"),
        };
        let key = self.key.text(alias);
        format!(
            "select '{kind}', {entity}, case when {long} then {keys} else {whole} end, {key}, {hash}, {old}, {new}, {tail} \
             from {from}",
            entity = literal(self.entity),
            keys = self.keys.id,
            whole = self.whole.id,
            hash = hash(&key),
            tail = tail(),
        )
    }

    /// Returns one record for each row of both transition tables that differs; a row whose key
    /// changed is one that went and one that came.
    fn pairs(&self, old: &str, new: &str) -> String {
        let (before, after) = (self.key.text("tidings_old"), self.key.text("tidings_new"));
        let (was_long, is_long) = (self.is_long("tidings_old"), self.is_long("tidings_new"));

        // Null for the side that is not there.
        let long = format!("(coalesce({was_long}, false) or coalesce({is_long}, false))");
        let side = |alias: &str, key: &str| {
            format!(
                "case when ({key}) is null then null when {long} then {} else {} end",
                image(&self.keys, alias),
                image(&self.whole, alias)
            )
        };
        format!(
            "select case when pair.old is null then 'c' when pair.new is null then 'd' else 'u' end, {entity}, \
             case when pair.long then {keys} else {whole} end, pair.key, {hash}, pair.old, pair.new, {tail} \
             from (select coalesce({before}, {after}) as key, {long} as long, {was} as old, {is} as new \
             from {old} full join {new} on ({before}) collate \"C\" = ({after}) collate \"C\") as pair \
             where pair.long or pair.old is distinct from pair.new",
            entity = literal(self.entity),
            keys = self.keys.id,
            whole = self.whole.id,
            hash = hash("pair.key"),
            tail = tail(),
            was = side("tidings_old", &before),
            is = side("tidings_new", &after),
        )
    }

    /// Returns whether a row is too long to be logged whole.
    fn is_long(&self, alias: &str) -> String {
        let sizes = self.whole.columns.iter();
        let sizes: Vec<_> = sizes.filter_map(|column| column.size(alias)).collect();
        if sizes.is_empty() {
            return "false".to_owned();
        }
        // Columns without a value count nothing, so the sum of a row that is not there is zero.
        format!("({}) > {LONGEST_ROW}", sizes.join(" + "))
    }

    /// Returns the record of a change that may be to any row.
    fn touched(&self) -> String {
        format!(
            "insert into tidings.log (kind, entity, origin) \
             values ('t', {}, coalesce(current_setting('tidings.origin', true), ''));",
            literal(self.entity)
        )
    }

    fn notify(&self) -> &'static str {
        match self.push {
            Push::No => "",
            Push::Notify => "\n  perform pg_notify('tidings', '');",
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Created,
    Deleted,
}

fn image(layout: &Layout<'_>, alias: &str) -> String {
    let values: Vec<_> = layout.columns.iter().map(|it| it.text(alias)).collect();
    format!("array[{}]::text[]", values.join(", "))
}

/// Returns what the index is searched by: a key may be longer than an index entry can be.
fn hash(key: &str) -> String {
    format!("hashtextextended(({key}) collate \"C\", 0)")
}

fn tail() -> &'static str {
    "coalesce(current_setting('tidings.origin', true), ''), \
     coalesce(current_setting('tidings.no_event', true), '') = 'on'"
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
