//! Decodes stored records.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};
use tidings_core::{
    Operation, PrimaryKey, Schema,
    log::{Announce, Body, Fields, RowRecord, Step},
};
use uuid::Uuid;

use super::{
    error::SqliteLogError,
    names::{identifier, side_table, split},
    triggers::Kept,
};
use crate::{
    logs::{
        entities::{LoggedEntity, entities_by_name},
        evictions::read_entry,
    },
    sqlite::values::value_at,
};

/// The columns of a record, in the order in which [`Stored::read`] reads them.
pub(super) const COLUMNS: &str = "l.id, l.kind, l.entity, l.layout, l.key, l.size, l.mark, \
     l.origin, l.silent, l.body, l.nonce, \
     CASE WHEN l.mark <> l.id THEN (SELECT m.nonce FROM tidings_log AS m WHERE m.id = l.mark) \
     ELSE l.nonce END";

/// Returns the id of a record from its random number. A record without a number was written by
/// hand.
pub(super) fn id_of(nonce: Option<i64>) -> Uuid {
    Uuid::from_u128(nonce.map_or(0, |nonce| u128::from(nonce.cast_unsigned())))
}

/// A record as it is stored, without its values.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: u64,
    /// Its random number.
    pub(super) nonce: Option<i64>,
    /// The last record of its transaction, if that is known; else the record itself.
    pub(super) mark: u64,
    /// The random number of that record.
    pub(super) of_mark: Option<i64>,
    pub(super) size: i64,
    kind: String,
    entity: String,
    layout: Option<i64>,
    origin: Option<String>,
    announce: Announce,
    body: Option<String>,
    /// The row itself, for the key, whose kind depends on the entity.
    row: SqliteRow,
}

/// The fields that the records of a layout hold.
#[derive(Clone, Debug)]
struct Layout {
    fields: Vec<String>,
    keys: Vec<String>,
}

/// The entities whose changes are read, and the layouts that were read so far.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    entities: HashMap<&'static str, LoggedEntity>,
    layouts: HashMap<i64, Layout>,
}

/// The values of records before and after the change, by the records' ids.
#[derive(Debug, Default)]
pub(super) struct Images(HashMap<u64, Option<(Fields, Fields)>>);

impl Stored {
    pub(super) fn read(row: SqliteRow) -> Result<Self, SqliteLogError> {
        let id: i64 = row.try_get(0)?;
        let mark: Option<i64> = row.try_get(6)?;
        let silent: Option<i64> = row.try_get(8)?;
        Ok(Self {
            id: id.unsigned_abs(),
            mark: mark.unwrap_or(id).unsigned_abs(),
            size: row.try_get::<Option<i64>, _>(5)?.unwrap_or(0),
            kind: row.try_get::<Option<_>, _>(1)?.unwrap_or_default(),
            entity: row.try_get::<Option<_>, _>(2)?.unwrap_or_default(),
            layout: row.try_get(3)?,
            origin: row.try_get(7)?,
            announce: match silent {
                None | Some(0) => Announce::Event,
                Some(_) => Announce::Silent,
            },
            body: row.try_get(9)?,
            nonce: row.try_get(10)?,
            of_mark: row.try_get(11)?,
            row,
        })
    }

    pub(super) fn step(&self) -> Step {
        Step {
            number: self.id,
            id: id_of(self.nonce),
        }
    }

    pub(super) fn origin(&self) -> Option<Arc<str>> {
        self.origin.as_deref().map(Into::into)
    }
}

impl Decoder {
    pub(super) fn of<'a>(schemas: impl IntoIterator<Item = &'a &'static Schema>) -> Self {
        Self {
            entities: entities_by_name(schemas),
            layouts: HashMap::new(),
        }
    }

    /// Returns the schemas of the entities.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &'static Schema> {
        self.entities.values().map(|known| known.schema)
    }

    pub(super) fn schema(&self, entity: &str) -> Option<&'static Schema> {
        self.entities.get(entity).map(|known| known.schema)
    }

    /// Reads the values of records, and their layouts that are not known yet.
    pub(super) async fn images(
        &mut self,
        connection: &mut SqliteConnection,
        records: &[Stored],
    ) -> Result<Images, SqliteLogError> {
        // The ids by entity and layout; the lowest and the highest bound the search.
        let mut wanted: BTreeMap<(&str, i64), BTreeSet<u64>> = BTreeMap::new();
        for record in records {
            if let Some(layout) = record.layout
                && self.entities.contains_key(record.entity.as_str())
            {
                let ids = wanted.entry((&record.entity, layout)).or_default();
                ids.insert(record.id);
            }
        }

        let mut images = Images::default();
        for ((entity, id), ids) in wanted {
            let Some(layout) = self.layout(connection, id).await? else {
                continue;
            };
            let Some(known) = self.entities.get(entity) else {
                continue;
            };
            images
                .read(connection, known, &layout, &ids, records)
                .await?;
        }

        Ok(images)
    }

    async fn layout(
        &mut self,
        connection: &mut SqliteConnection,
        id: i64,
    ) -> Result<Option<Layout>, SqliteLogError> {
        if let Some(layout) = self.layouts.get(&id) {
            return Ok(Some(layout.clone()));
        }

        let found = sqlx::query("SELECT fields, keys FROM tidings_layouts WHERE id = ?")
            .bind(id)
            .fetch_optional(connection)
            .await?;
        let Some(row) = found else {
            return Ok(None);
        };

        let layout = Layout {
            fields: split(&row.try_get::<String, _>(0)?),
            keys: split(&row.try_get::<String, _>(1)?),
        };
        self.layouts.insert(id, layout.clone());
        Ok(Some(layout))
    }

    /// Returns the content of a record; `None` if this reader does not know the entity, or the
    /// record is empty.
    pub(super) fn body(&self, record: &Stored, images: &mut Images) -> Option<Body> {
        if record.kind == "i" {
            let texts: Option<Vec<String>> = record
                .body
                .as_deref()
                .and_then(|body| serde_json::from_str(body).ok());
            let texts = texts.unwrap_or_default();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let entry = read_entry(&texts, record.origin());
            return Some(entry.unwrap_or(Body::Unreadable { entity: None }));
        }

        if record.kind == "s" {
            return None;
        }
        let known = self.entities.get(record.entity.as_str())?;

        let (operation, announce) = match record.kind.as_str() {
            "c" => (Operation::Create, record.announce),
            "u" => (Operation::Update, record.announce),
            "d" => (Operation::Delete, record.announce),
            // The row may have been replaced: it is evicted, but no handler runs.
            "n" | "o" => (Operation::Delete, Announce::Silent),
            "t" => return Some(Body::Entity(Arc::clone(&known.name))),
            _ => return Some(unreadable(known)),
        };

        let Some((old, new)) = images.0.remove(&record.id).flatten() else {
            return Some(unreadable(known));
        };
        let Some(key) = key_of(known.schema, record, operation, (&old, &new)) else {
            return Some(unreadable(known));
        };

        Some(Body::Row(RowRecord {
            entity: Arc::clone(&known.name),
            operation,
            key,
            old: if operation == Operation::Create {
                Fields::default()
            } else {
                old
            },
            new: if operation == Operation::Delete {
                Fields::default()
            } else {
                new
            },
            announce,
        }))
    }
}

/// Returns the primary key of a record: a key of one field is stored as such; the parts of a longer
/// key are fields of the images.
fn key_of(
    schema: &Schema,
    record: &Stored,
    operation: Operation,
    (old, new): (&Fields, &Fields),
) -> Option<PrimaryKey> {
    if let Some(field) = schema.single_key() {
        let value = value_at(&record.row, 4, schema.fields()[field].kind())?;
        return Some(PrimaryKey::from(value));
    }
    match operation {
        Operation::Create | Operation::Update => new.key(schema),
        Operation::Delete => old.key(schema),
    }
}

fn unreadable(known: &LoggedEntity) -> Body {
    Body::Unreadable {
        entity: Some(Arc::clone(&known.name)),
    }
}

impl Images {
    /// Reads the values of some records of one entity and layout.
    async fn read(
        &mut self,
        connection: &mut SqliteConnection,
        known: &LoggedEntity,
        layout: &Layout,
        ids: &BTreeSet<u64>,
        records: &[Stored],
    ) -> Result<(), SqliteLogError> {
        let fields = layout.fields.iter();
        let fields: Vec<(usize, bool)> = fields
            .filter_map(|name| Some((known.schema.field(name)?.0, layout.keys.contains(name))))
            .collect();
        let columns: String = ["old", "new"]
            .iter()
            .flat_map(|image| {
                fields.iter().map(move |(field, _)| {
                    let name = &known.names[*field];
                    format!(", {}", identifier(&format!("{image}_{name}")))
                })
            })
            .collect();
        let side = side_table(known.schema.name());
        let sql = format!("SELECT id{columns} FROM {side} WHERE id BETWEEN ? AND ?");
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return Ok(());
        };

        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(first.cast_signed())
            .bind(last.cast_signed())
            .fetch_all(connection)
            .await?;

        let kept: HashMap<u64, Kept> = records
            .iter()
            .map(|record| (record.id, Kept::of_size(record.size)))
            .collect();

        for row in &found {
            let id = row.try_get::<i64, _>(0)?.unsigned_abs();
            if !ids.contains(&id) {
                continue;
            }
            let kept = kept.get(&id).copied().unwrap_or(Kept::Keys);
            let image = |from: usize| image(known, &fields, row, from, kept);
            let both = image(1).zip(image(1 + fields.len()));
            self.0.insert(id, both);
        }

        Ok(())
    }
}

/// Returns the values of one row; `None` if one is not a value of its field's kind.
fn image(
    known: &LoggedEntity,
    fields: &[(usize, bool)],
    row: &SqliteRow,
    from: usize,
    kept: Kept,
) -> Option<Fields> {
    let mut values = Vec::with_capacity(fields.len());
    for (index, (field, is_key)) in fields.iter().enumerate() {
        if kept == Kept::Whole || *is_key {
            let kind = known.schema.fields()[*field].kind();
            let value = value_at(row, from + index, kind)?;
            values.push((Arc::clone(&known.names[*field]), value));
        }
    }

    Some(match kept {
        Kept::Whole => values.into_iter().collect(),
        Kept::Keys => Fields::keys_alone(values),
    })
}
