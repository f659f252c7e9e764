//! The trigger functions of an entity, as text.
//!
//! They promise: no program's write fails because of them (short of a full disk); every image of a
//! row is logged as text under fixed settings; an update that changes nothing leaves no record. All
//! names are qualified, so that no column, alias or setting of the session changes their meaning.

use std::fmt;

use super::{
    columns::{Column, settings_of},
    names::{function, identifier, literal},
};

/// The version of the functions, in their first line.
pub(super) const VERSION: u32 = 1;
/// The maximum size of the values of one row: above it only the keys are logged.
const LONGEST_ROW: usize = 1 << 20;

/// The event that runs a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// How often a trigger fires. Changes that a subscription applies fire only row triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Statement,
    Row,
}

/// Whether a function itself notifies listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// Readers find the records at their next poll.
    No,
    /// `NOTIFY` in the writer's transaction, which has a price.
    Notify,
}

/// A layout: the fields that an image holds.
pub(super) struct Layout<'a> {
    pub(super) id: i32,
    pub(super) columns: Vec<&'a Column>,
}

/// The columns of a primary key.
pub(super) struct Key<'a>(pub(super) Vec<&'a Column>);

impl Key<'_> {
    /// Returns the key of a row as text: of its value, or of an array of the texts of its parts. It
    /// is null only if there is no row, because no part of a primary key is null.
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

/// Everything that a function logs.
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

    /// Returns the level at which a trigger can fire: `TRUNCATE` has no rows.
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

    /// Returns the statements that create the trigger, for every session regardless of its
    /// replication role.
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
    /// Returns the first lines of a function's body: its version, its fields and its settings.
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

        // If a column was dropped or renamed since, the write must not fail. The first statement
        // detects that; it writes nothing, so its savepoint takes no transaction id.
        format!(
            "\n#variable_conflict use_column\n{header}\nbegin\n  begin\n    \
             perform {columns} from {from} limit 1;\n    \
             if not found then return null; end if;\n  \
             exception when others then\n    {touched}{notify}\n    return null;\n  end;\n  \
             insert into tidings.log (kind, entity, layout, key, key_hash, old, new, origin, silent)\n  \
             {rows};{notify}\n  return null;\nend ",
        )
    }

    /// Returns the statement that creates or replaces a function.
    pub(super) fn create(&self, event: Event, level: Level) -> String {
        let name = identifier(&event.function(self.entity, level));
        let texts = settings_of(self.whole.columns.iter().copied());
        let settings = match event {
            Event::Truncate => String::new(),
            Event::Insert | Event::Delete => texts,
            // If a session has disabled joins, the estimated cost of this one would have it
            // compiled at every call.
            Event::Update => texts + " set jit = off",
        };
        let body = self.body(event, level);
        format!(
            "create or replace function tidings.{name}() returns trigger language plpgsql security definer \
             set search_path = pg_catalog, pg_temp{settings} as $tidings${body}$tidings$",
        )
    }

    /// Returns a query with one record for each row of a transition table.
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

    /// Returns a query with one record for each row that differs between the transition tables. A
    /// row whose key changed is a delete and a create.
    fn pairs(&self, old: &str, new: &str) -> String {
        let (before, after) = (self.key.text("tidings_old"), self.key.text("tidings_new"));
        let (was_long, is_long) = (self.is_long("tidings_old"), self.is_long("tidings_new"));

        // Null for a missing side.
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

    /// Returns the condition that a row is too long to be logged whole.
    fn is_long(&self, alias: &str) -> String {
        let sizes = self.whole.columns.iter();
        let sizes: Vec<_> = sizes.filter_map(|column| column.size(alias)).collect();
        if sizes.is_empty() {
            return "false".to_owned();
        }
        // Columns without a value count zero, and so does a missing row.
        format!("({}) > {LONGEST_ROW}", sizes.join(" + "))
    }

    /// Returns the statement that logs a change of any rows of the entity.
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

/// Returns the hash by which the index is searched: a key may be longer than an index entry can be.
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
