//! The rows that are evicted with a changed parent: found when the parent's record is applied, to
//! any depth and in batches.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, Row as _};
use tidings_core::{CacheKey, OnUpdate, Row, Schema, Value, log::LogError};

use super::{
    decode::{self, Image},
    engine::PgLog,
    error::PgLogError,
    link::Link,
    names::identifier,
    values::text_of,
};
use crate::logs::keys::key_fields;

/// How many parents one statement names.
const CHUNK: usize = 500;

impl PgLog {
    pub(super) async fn keys_of_children(
        &self,
        entity: &str,
        ids: Vec<Value>,
    ) -> Result<Vec<CacheKey>, LogError> {
        let mut keys = Vec::new();
        let mut seen = HashSet::new();
        let mut parents = vec![(entity.to_owned(), ids)];

        while let Some((parent, ids)) = parents.pop() {
            let children = self.with_link(async |link| Ok(evicted_with(link, &parent)));
            for (child, field) in children.await? {
                let mut next = Vec::new();
                for ids in ids.chunks(CHUNK) {
                    let found =
                        self.with_link(async |link| referring(link, child, &field, ids).await);
                    for row in found.await? {
                        if seen.insert(child.primary_cache_key(&row)) {
                            keys.extend(child.cache_keys_of(&row));
                            let key = child.single_key();
                            next.extend(key.map(|field| row.0[field].clone()));
                        }
                    }
                }

                if !next.is_empty() {
                    parents.push((child.name().to_owned(), next));
                }
            }
        }

        Ok(keys)
    }
}

/// Returns the entities and fields that refer to an entity and are evicted with it.
fn evicted_with(link: &Link, parent: &str) -> Vec<(&'static Schema, String)> {
    let mut found = Vec::new();
    for schema in link.decoder.schemas() {
        for field in schema.fields() {
            let goes = field
                .reference()
                .is_some_and(|it| it.on_update == OnUpdate::Evict && it.entity == parent);
            if goes {
                found.push((schema, field.name().to_owned()));
            }
        }
    }

    found
}

/// Returns the rows of an entity whose field names one of the parents, with the fields of their
/// keys; the other fields are absent.
async fn referring(
    link: &mut Link,
    child: &'static Schema,
    field: &str,
    ids: &[Value],
) -> Result<Vec<Row>, PgLogError> {
    let fields = key_fields(child);
    let texts: Vec<_> = fields
        .iter()
        .map(|name| format!("{}::text", identifier(name)))
        .collect();
    let kind = child.field(field).map(|(_, field)| field.kind());
    let sql = format!(
        "select array[{}]::text[] from {} where {} = any($1::text[]::{}[])",
        texts.join(", "),
        identifier(child.name()),
        identifier(field),
        match kind {
            Some(tidings_core::FieldKind::Uuid) => "uuid",
            Some(tidings_core::FieldKind::Integer) => "bigint",
            Some(tidings_core::FieldKind::Boolean) => "boolean",
            _ => "text",
        }
    );
    let ids: Vec<String> = ids.iter().map(text_of).collect();
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .fetch_all(&mut link.connection)
        .await?;
    let mut rows = Vec::with_capacity(found.len());

    for found in found {
        let image: Image = found.try_get(0)?;
        let mut row = Row::empty(child);
        for (name, text) in fields.iter().zip(image) {
            if let (Some((index, field)), Some(text)) = (child.field(name), text) {
                let value = decode::value(field.kind(), &text);
                row.0[index] = value.ok_or_else(|| {
                    PgLogError::malformed(format!("{name} of a row of {}", child.name()))
                })?;
            }
        }

        rows.push(row);
    }

    Ok(rows)
}
