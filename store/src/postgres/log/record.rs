//! Decodes stored records.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sqlx::{PgConnection, Row as _, postgres::PgRow};
use tidings_core::{
    Operation, PrimaryKey, Schema,
    log::{Announce, Body, Fields, RowRecord},
};

use super::{
    decode::{self, Image, Layout},
    error::PgLogError,
};
use crate::logs::{
    entities::{LoggedEntity, entities_by_name},
    evictions::read_entry,
};

/// The columns of a record, in the order in which [`Stored::read`] reads them.
pub(super) const COLUMNS: &str =
    "l.id, l.xid, l.kind, l.entity, l.layout, l.key, l.old, l.new, l.origin, l.silent";

/// A record as it is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: u64,
    pub(super) xid: u64,
    kind: String,
    entity: String,
    layout: Option<i32>,
    key: Option<String>,
    old: Option<Image>,
    new: Option<Image>,
    origin: String,
    silent: bool,
}

/// The entities whose changes are read, and the layouts that were read so far.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    entities: HashMap<&'static str, LoggedEntity>,
    layouts: HashMap<i32, Layout>,
}

impl Stored {
    pub(super) fn read(row: &PgRow) -> Result<Self, PgLogError> {
        let number = |index: usize| -> Result<u64, PgLogError> {
            let number: i64 = row.try_get(index)?;
            u64::try_from(number).map_err(|_| PgLogError::malformed("a number below zero"))
        };
        Ok(Self {
            id: number(0)?,
            xid: number(1)?,
            kind: row.try_get(2)?,
            entity: row.try_get(3)?,
            layout: row.try_get(4)?,
            key: row.try_get(5)?,
            old: row.try_get(6)?,
            new: row.try_get(7)?,
            origin: row.try_get(8)?,
            silent: row.try_get(9)?,
        })
    }

    pub(super) fn origin(&self) -> Option<Arc<str>> {
        (!self.origin.is_empty()).then(|| self.origin.as_str().into())
    }

    /// Returns roughly how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let images = self.old.iter().chain(&self.new).flatten();
        let values: usize = images.flatten().map(|text| text.len() + 24).sum();
        values + self.key.as_ref().map_or(0, String::len) + 200
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

    /// Reads the layouts of records that are not known yet.
    pub(super) async fn load_layouts(
        &mut self,
        connection: &mut PgConnection,
        records: &[Stored],
    ) -> Result<(), PgLogError> {
        let unknown: BTreeSet<i32> = records
            .iter()
            .filter_map(|record| record.layout)
            .filter(|id| !self.layouts.contains_key(id))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }

        let unknown: Vec<i32> = unknown.into_iter().collect();
        let found = sqlx::query("select id, fields, whole from tidings.layouts where id = any($1)")
            .bind(unknown)
            .fetch_all(connection)
            .await?;
        for row in found {
            let layout = Layout {
                fields: row.try_get(1)?,
                whole: row.try_get(2)?,
            };
            self.layouts.insert(row.try_get(0)?, layout);
        }

        Ok(())
    }

    /// Returns the content of a record; `None` if this reader does not know the entity.
    pub(super) fn body(&self, record: &Stored) -> Option<Body> {
        if record.kind == "i" {
            return Some(entry(record).unwrap_or(Body::Unreadable { entity: None }));
        }
        let known = self.entities.get(record.entity.as_str())?;

        let operation = match record.kind.as_str() {
            "c" => Operation::Create,
            "u" => Operation::Update,
            "d" => Operation::Delete,
            "t" => return Some(Body::Entity(Arc::clone(&known.name))),
            _ => {
                let entity = Some(Arc::clone(&known.name));
                return Some(Body::Unreadable { entity });
            }
        };

        Some(self.row(known, operation, record).map_or_else(
            || Body::Unreadable {
                entity: Some(Arc::clone(&known.name)),
            },
            Body::Row,
        ))
    }

    fn row(
        &self,
        known: &LoggedEntity,
        operation: Operation,
        record: &Stored,
    ) -> Option<RowRecord> {
        let layout = self.layouts.get(&record.layout?)?;
        let fields = |image: &Option<Image>| match image {
            Some(image) => decode::fields(known, layout, image),
            None => Some(Fields::default()),
        };
        let (old, new) = (fields(&record.old)?, fields(&record.new)?);
        let schema = known.schema;

        // A key of one field is stored as such; the parts of a longer key are fields of the image.
        let key = match schema.single_key() {
            Some(field) => {
                let kind = schema.fields()[field].kind();
                PrimaryKey::from(decode::value(kind, record.key.as_deref()?)?)
            }
            None => match operation {
                Operation::Create | Operation::Update => new.key(schema)?,
                Operation::Delete => old.key(schema)?,
            },
        };
        Some(RowRecord {
            entity: Arc::clone(&known.name),
            operation,
            key,
            old,
            new,
            announce: if record.silent {
                Announce::Silent
            } else {
                Announce::Event
            },
        })
    }
}

fn entry(record: &Stored) -> Option<Body> {
    let stored = record.new.as_ref()?.iter().flatten();
    let stored: Vec<&str> = stored.map(String::as_str).collect();
    read_entry(&stored, record.origin())
}
