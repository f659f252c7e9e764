//! Finds the transaction of a record, and all records of one row in a transaction.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use tidings_core::{
    Chain, FieldKind, PrimaryKey, Value,
    log::{Body, Group, LogError, Mark},
};

use super::{
    engine::SqliteLog,
    error::SqliteLogError,
    key,
    link::Link,
    read::{self, begin, end},
    record::{COLUMNS, Stored, id_of},
    tables::run,
};
use crate::{
    parameter::Parameter,
    sqlite::{location::Location, values::arguments},
};

/// How long an optional record waits for its turn and for other programs.
const SOON: Duration = Duration::from_secs(1);

impl SqliteLog {
    /// Returns the number that names a record's transaction: its last record if the transaction is
    /// known, else the record's own mark.
    pub(super) fn commit_of(&self, stored: &Stored) -> u64 {
        let commits = self.commits();
        commits.last_of(stored.id).unwrap_or(stored.mark)
    }

    /// Returns the mark of each record's transaction, which is its last record, in the snapshot of
    /// the records.
    pub(super) async fn marks_of(
        &self,
        link: &mut Link,
        records: &[Stored],
    ) -> Result<Vec<Mark>, SqliteLogError> {
        let mut marks: Vec<Mark> = Vec::with_capacity(records.len());
        for stored in records {
            let number = self.commit_of(stored);
            let before = marks.last().filter(|before| before.number() == number);
            let id = match before {
                Some(before) => before.id(),
                None if number == stored.mark => Some(id_of(stored.of_mark)),
                None => read::id_at(&mut link.connection, number).await?,
            };
            marks.push(Mark::new(link.epoch, number).with_id(id));
        }

        Ok(marks)
    }

    /// Scans for the commits of a snapshot, while it is open.
    pub(super) async fn scan_commits(
        &self,
        link: &mut Link,
        newest: u64,
    ) -> Result<(), SqliteLogError> {
        let Location::File(path) = &self.settings.location else {
            return Ok(());
        };
        let schema = read::schema_version(&mut link.connection).await?;
        if link.place.is_none_or(|place| place.schema != schema) {
            link.place = read::place(&mut link.connection, schema).await?;
        }

        if let Some(place) = link.place {
            let mut wal = path.clone().into_os_string();
            wal.push("-wal");
            let mut commits = self.commits();
            commits.scan(wal.as_ref(), link.epoch, place, newest);
        }
        Ok(())
    }

    /// Finds the last record of the last commit, for a read of the head. If the write-ahead log
    /// does not show it, writes an empty record, after which the next commit begins. If that cannot
    /// be written, because another program holds the file or the disk is full, it is left out:
    /// readers can do without it.
    pub(super) async fn follow_commits(&self) -> Result<(), LogError> {
        self.with_link(async |link| {
            begin(&mut link.connection).await?;
            let head = read::head(&mut link.connection, None).await?;
            self.scan_commits(link, head.newest).await?;
            end(&mut link.connection).await
        })
        .await?;

        if self.commits().is_following() {
            return Ok(());
        }
        let nothing = "INSERT INTO tidings_log (kind) VALUES ('s')".to_owned();
        let write = async |connection: &mut _| run(connection, nothing).await;
        if let Err(error) = self.settings.writer.write_within(SOON, write).await {
            tracing::debug!(error = %Chain(&error), "the next commit may be reported record by record");
        }

        Ok(())
    }

    /// Reads every record of a row in a transaction.
    pub(super) async fn rows_of(
        &self,
        mark: Mark,
        entity: &str,
        key: &PrimaryKey,
    ) -> Result<Option<Group>, LogError> {
        self.with_link(async |link| {
            let known = link.decoder.schema(entity);
            let (Some(schema), true) = (known, link.epoch == mark.epoch()) else {
                return Ok(None);
            };
            if key.parts().len() != schema.primary_key().len() {
                return Ok(None);
            }

            let places = (4..).take(key.parts().len());
            let own_key = key::written(places.map(|place: usize| format!("?{place}")));
            let row = format!("l.entity = ?3 AND l.key IS {own_key}");
            let known = self.commits().ended_by(mark.number());
            let of_commit = match &known {
                Some(_) => format!("l.id BETWEEN ?1 AND ?2 AND +{row}"),
                None => format!("l.mark = ?2 AND {row} OR l.id = ?1 AND l.mark IS NULL AND {row}"),
            };
            let sql =
                format!("SELECT {COLUMNS} FROM tidings_log AS l WHERE {of_commit} ORDER BY l.id");
            let first = known.map_or(mark.number(), |records| *records.start());
            let count = |id: u64| Parameter::Count(usize::try_from(id).unwrap_or(usize::MAX));
            let entity = Value::Text(entity.to_owned());
            let named = Parameter::One(FieldKind::Text, &entity);
            let named = [count(first), count(mark.number()), named];
            let bound = arguments(named.into_iter().chain(key::parameters(schema, key)))?;
            begin(&mut link.connection).await?;

            // A restored log may have assigned the number to another commit.
            let there = match mark.id() {
                Some(_) => read::id_at(&mut link.connection, mark.number()).await?,
                None => None,
            };
            if there != mark.id() {
                end(&mut link.connection).await?;
                return Ok(None);
            }

            let found = sqlx::query_with(AssertSqlSafe(sql), bound)
                .fetch_all(&mut link.connection)
                .await?;
            let stored = found
                .into_iter()
                .map(Stored::read)
                .collect::<Result<Vec<_>, _>>()?;
            let mut images = link.decoder.images(&mut link.connection, &stored).await?;
            end(&mut link.connection).await?;

            let rows = stored.iter().filter_map(|stored| {
                match link.decoder.body(stored, &mut images)? {
                    Body::Row(row) => Some((stored.id, row)),
                    Body::Entity(_) | Body::Evict(_) | Body::Event(_) | Body::Unreadable { .. } => {
                        None
                    }
                }
            });
            Ok(Group::of(rows))
        })
        .await
    }
}
