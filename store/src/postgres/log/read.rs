//! The cursor statement: records beyond a cursor, and in the same snapshot everything that is
//! needed to prove that none is missing.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};
use tidings_core::log::{Epoch, Position, Snapshot};

use super::{
    error::PgLogError,
    members::own_row,
    record::{COLUMNS, Stored},
    values::number,
    watch::{self, ExpectedCapture},
};
use crate::logs::{capture::CaptureStates, tracker::CaptureCheck};

/// How much memory the records of one page, or of several rows, may take before the rest is cut
/// off.
const PAGE_BYTES: usize = 8 << 20;

/// What the statement returns besides the records.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) snapshot: Snapshot,
    /// `None` if the epoch has ended.
    pub(super) epoch: Option<Epoch>,
    pub(super) pruned_below: u64,
    /// `None` if capture was not checked.
    pub(super) states: Option<CaptureStates>,
    /// The row of the member that reads; `None` if it has no row, or no member reads.
    pub(super) own: Option<String>,
}

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) head: Head,
    pub(super) records: Vec<Stored>,
    /// Whether there are more records after the last.
    pub(super) cut: bool,
}

/// Reads at most `limit` records beyond a position; with no position, the head alone.
pub(super) async fn page(
    connection: &mut PgConnection,
    expected: &ExpectedCapture,
    from: Option<&Position>,
    limit: usize,
    check: CaptureCheck,
    node: Option<&str>,
) -> Result<Page, PgLogError> {
    let (sql, parameters) = match from {
        None => (String::new(), 0),
        // Not by id: PostgreSQL would walk the index on ids from its beginning for one old
        // transaction.
        Some(Position::Snapshot(_)) => (records("", "l.id + 0"), 3),
        Some(Position::Page { .. }) => {
            let beyond = "and l.id > $4 and pg_visible_in_snapshot(l.xid::text::xid8, $5::text::pg_snapshot)";
            (records(beyond, "l.id"), 5)
        }
        Some(Position::Counted(_) | Position::Numbered { .. }) => {
            return Err(PgLogError::malformed("a cursor of another kind of log"));
        }
    };

    let capture = match check {
        CaptureCheck::NotDue => "null".to_owned(),
        CaptureCheck::Due => watch::check(parameters + 1),
    };
    let own = node.map_or_else(|| "null".to_owned(), own_row);
    let sql = format!(
        "select * from ({HEAD}{own}]::text[] as old, array[{capture}]::text[] as new, ''::text as origin, false as silent) {sql}) as page \
         order by page.id"
    );
    let query = sqlx::query(AssertSqlSafe(sql));

    let query = match from {
        None | Some(Position::Counted(_) | Position::Numbered { .. }) => query,
        Some(Position::Snapshot(applied) | Position::Page { applied, .. }) => {
            let in_progress = applied.in_progress().iter().map(|xid| number(*xid));
            query
                .bind(number(applied.xmax()))
                .bind(in_progress.collect::<Vec<_>>())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
        }
    };

    let query = match from {
        Some(Position::Page { target, last, .. }) => {
            query.bind(number(*last)).bind(target.to_string())
        }
        None | Some(Position::Counted(_) | Position::Numbered { .. } | Position::Snapshot(_)) => {
            query
        }
    };

    let query = match check {
        CaptureCheck::NotDue => query,
        CaptureCheck::Due => query.bind(&expected.entities).bind(&expected.fields),
    };

    let mut head = None;
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut cut = false;
    let mut rows = query.fetch(connection);

    while let Some(row) = rows.try_next().await? {
        if head.is_none() {
            head = Some(Head::read(&row)?);
            continue;
        }

        // The statement asks for one more than a page holds. The rest of the answer is discarded,
        // and read again later.
        if records.len() >= limit || bytes > PAGE_BYTES {
            cut = true;
            break;
        }

        let record = Stored::read(&row)?;
        bytes += record.bytes();
        records.push(record);
    }

    drop(rows);
    let head = head.ok_or_else(|| PgLogError::malformed("a read without its head"))?;
    Ok(Page { head, records, cut })
}

/// One of several rows whose records are read.
#[derive(Debug)]
pub(super) struct RowRequest<'a> {
    /// Its place in the request.
    pub(super) place: i64,
    pub(super) xid: i64,
    pub(super) entity: &'a str,
    pub(super) key: String,
}

/// The records of several rows, in the order of the request.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) records: Vec<Stored>,
    /// For each record, the place of its row.
    pub(super) places: Vec<usize>,
    /// The number of rows whose records were read: all of the requested ones, or the first ones.
    pub(super) answered: usize,
}

/// Reads the records of several rows, of a request for `asked` rows.
pub(super) async fn rows(
    connection: &mut PgConnection,
    requests: &[RowRequest<'_>],
    asked: usize,
) -> Result<Rows, PgLogError> {
    let sql = format!(
        "select {COLUMNS}, asked.place \
         from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) \
         as asked (place, xid, entity, key) \
         join tidings.log l on l.xid = asked.xid and l.entity = asked.entity \
         and l.key_hash = hashtextextended(asked.key collate \"C\", 0) \
         and l.key = asked.key \
         order by asked.place, l.id"
    );
    let places: Vec<_> = requests.iter().map(|row| row.place).collect();
    let xids: Vec<_> = requests.iter().map(|row| row.xid).collect();
    let entities: Vec<_> = requests.iter().map(|row| row.entity).collect();
    let keys: Vec<_> = requests.iter().map(|row| &*row.key).collect();
    let mut found = sqlx::query(AssertSqlSafe(sql))
        .bind(places)
        .bind(xids)
        .bind(entities)
        .bind(keys)
        .fetch(connection);

    let mut read = Rows {
        records: Vec::new(),
        places: Vec::new(),
        answered: asked,
    };
    let mut bytes = 0;
    while let Some(row) = found.try_next().await? {
        let place: i64 = row.try_get("place")?;
        let place = usize::try_from(place).map_err(|_| PgLogError::malformed("no place"))?;
        // All records of a row are read, whatever their size.
        if bytes > PAGE_BYTES && read.places.last() != Some(&place) {
            read.answered = place;
            break;
        }

        let record = Stored::read(&row)?;
        bytes += record.bytes();
        read.records.push(record);
        read.places.push(place);
    }

    Ok(read)
}

/// The row with everything but the records. It comes first, by its id.
const HEAD: &str = "(select -1::bigint as id, 0::bigint as xid, 'h'::text as kind, ''::text as entity, \
     null::integer as layout, null::text as key, array[pg_is_in_recovery()::text, pg_current_snapshot()::text, \
     (select number::text from tidings.epoch), (select id::text from tidings.epoch), \
     (select id::text from tidings.epoch_volatile), (select below::text from tidings.pruned), ";

fn records(further: &str, order: &str) -> String {
    format!(
        "union all (select {COLUMNS} from tidings.log l \
         where (l.xid >= $1 or l.xid = any($2)) {further} order by {order} limit $3)"
    )
}

impl Head {
    fn read(row: &PgRow) -> Result<Self, PgLogError> {
        let head: Vec<Option<String>> = row.try_get(6)?;
        let [standby, snapshot, number, id, volatile, pruned, own] = head.as_slice() else {
            return Err(PgLogError::malformed("the head of a read has another form"));
        };
        if standby.as_deref() != Some("false") {
            return Err(PgLogError::Standby);
        }

        let snapshot = snapshot.as_deref().unwrap_or_default().parse();
        let epoch = match (number, id) {
            (Some(number), Some(id)) if Some(id) == volatile.as_ref() => {
                let (number, id) = (number.parse().ok(), id.parse().ok());
                number.zip(id).map(|(number, id)| Epoch::new(number, id))
            }
            _ => None,
        };

        let pruned = pruned.as_deref().and_then(|below| below.parse().ok());
        let capture: Vec<Option<String>> = row.try_get(7)?;
        let capture = capture.first().and_then(Option::as_deref);
        Ok(Self {
            snapshot: snapshot
                .map_err(|_| PgLogError::malformed("a snapshot that cannot be read"))?,
            epoch,
            pruned_below: pruned
                .ok_or_else(|| PgLogError::malformed("the bound of pruning is missing"))?,
            states: capture.map(watch::parse).transpose()?,
            own: own.clone(),
        })
    }
}
