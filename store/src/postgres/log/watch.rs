//! Checks whether capture is in place, in the same statement that reads the log.
//!
//! Each check also takes a fingerprint of every trigger and function. If it changes between two
//! checks, capture was off and on again, or a partition was added or removed.

use tidings_core::Schema;

use super::error::PgLogError;
use crate::logs::{
    capture::{CaptureState, CaptureStates},
    keys::key_fields,
};

/// The entities and fields that must be captured for a node.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedCapture {
    pub(super) entities: Vec<String>,
    /// The fields of each, joined by commas.
    pub(super) fields: Vec<String>,
}

/// The check, as a scalar subquery; `ENTITIES` and `FIELDS` stand for the two arrays of
/// [`ExpectedCapture`]. Tables are found by their names each time, so that a table that took
/// another's name is checked.
const CHECK: &str = "(with recursive tree as ( \
      select w.entity, to_regclass(quote_ident(w.entity))::oid as relid, string_to_array(w.fields, ',') as fields \
      from unnest(ENTITIES::text[], FIELDS::text[]) as w (entity, fields) \
      union all \
      select t.entity, i.inhrelid, t.fields \
      from tree t join pg_catalog.pg_inherits i on i.inhparent = t.relid \
    ), checked as ( \
      select t.entity, t.relid, l.in_place, l.fingerprint from tree t cross join lateral ( \
        select count(*) filter (where tr.tgenabled = 'A' and n.nspname = 'tidings' \
            and string_to_array(substring(p.prosrc from '-- tidings [0-9]+: ([^\n]*)'), ',') @> t.fields \
            and (tr.tgtype & 1 = 1) = (tr.tgname <> 'tidings_truncate' and exists ( \
              select from pg_catalog.pg_subscription_rel s where s.srrelid = t.relid))) = 4 as in_place, \
          coalesce(string_agg(concat_ws('.', tr.oid, tr.xmin, p.oid, p.xmin), ' ' order by tr.tgname), '') as fingerprint \
        from pg_catalog.pg_trigger tr join pg_catalog.pg_proc p on p.oid = tr.tgfoid \
          join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
        where tr.tgrelid = t.relid \
          and tr.tgname in ('tidings_insert', 'tidings_update', 'tidings_delete', 'tidings_truncate') \
      ) l \
    ) \
    select coalesce(json_agg(json_build_array(e.entity, e.in_place, e.fingerprint)), '[]')::text from ( \
      select entity, bool_and(in_place) as in_place, \
        md5(string_agg(concat(relid, ':', fingerprint), ' ' order by relid)) as fingerprint \
      from checked group by entity) e)";

/// Returns the subquery that checks capture, with its two parameters numbered from `first` on.
pub(super) fn check(first: usize) -> String {
    CHECK
        .replace("ENTITIES", &format!("${first}"))
        .replace("FIELDS", &format!("${}", first + 1))
}

impl ExpectedCapture {
    pub(super) fn of(schemas: &[&'static Schema]) -> Self {
        let mut expected = Self::default();
        for schema in schemas {
            expected.entities.push(schema.name().to_owned());
            expected.fields.push(key_fields(schema).join(","));
        }
        expected
    }
}

/// Parses the result of the check.
pub(super) fn parse(text: &str) -> Result<CaptureStates, PgLogError> {
    let found: Vec<(String, bool, String)> = serde_json::from_str(text)
        .map_err(|_| PgLogError::malformed("the state of capture cannot be read"))?;
    let entities = found.into_iter().map(|(entity, in_place, fingerprint)| {
        (
            entity,
            CaptureState {
                in_place,
                fingerprint,
            },
        )
    });
    Ok(entities.collect())
}
