//! The rows that are evicted with a changed parent: found when the parent's record is applied, to
//! any depth and in batches.

use std::collections::HashSet;

use tidings_core::{CacheKey, OnUpdate, Row, RowError, Schema, Value, log::LogError};

use super::{engine::SqliteLog, error::SqliteLogError, key, link::Link};
use crate::{
    engine::statements::rows_touched,
    error::Error,
    parameter::Parameter,
    sqlite::{
        connection::rows,
        dialect::Sqlite,
        values::{arguments, decode},
    },
};

/// How many parents one statement names.
const CHUNK: usize = 500;
/// How many rows one statement returns.
const PAGE: usize = 1_000;

impl SqliteLog {
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
                        self.with_link(async |link| referring(link, child, field, ids).await);
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
fn evicted_with(link: &Link, parent: &str) -> Vec<(&'static Schema, usize)> {
    let mut found = Vec::new();
    for schema in link.decoder.schemas() {
        for (index, field) in schema.fields().iter().enumerate() {
            let goes = field
                .reference()
                .is_some_and(|it| it.on_update == OnUpdate::Evict && it.entity == parent);
            if goes {
                found.push((schema, index));
            }
        }
    }

    found
}

/// Returns the rows of an entity whose field names one of the parents.
async fn referring(
    link: &mut Link,
    child: &'static Schema,
    field: usize,
    ids: &[Value],
) -> Result<Vec<Row>, SqliteLogError> {
    let pages = rows_touched(&Sqlite, child, field);
    let parents = || Parameter::list(&child.fields()[field], ids);
    let mut all: Vec<Row> = Vec::new();

    loop {
        let last_key;
        let (sql, given) = match all.last() {
            None => (&pages.first, vec![parents(), Parameter::Count(PAGE)]),
            Some(last) => {
                last_key = child.key_of(last);
                let mut given = vec![parents()];
                given.extend(key::parameters(child, &last_key));
                given.push(Parameter::Count(PAGE));
                (&pages.next, given)
            }
        };
        let found = rows(&mut link.connection, sql, arguments(given)?).await?;
        let count = found.len();
        let decoded = found.iter().map(|row| decode(child, row));
        let decoded = decoded.collect::<Result<Vec<_>, RowError>>();
        all.extend(decoded.map_err(Error::from)?);

        if count < PAGE {
            return Ok(all);
        }
    }
}
