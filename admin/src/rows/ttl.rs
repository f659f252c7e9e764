//! `ttl`: the lifetime of a row in seconds, in place of the time at which it expires.
//!
//! The time is counted by the database's clock, which also decides when a row has expired.

use serde_json::{Map, Value as Json};
use tidings::{
    Node,
    core::{Rule, Schema, Violations},
};

use crate::{problem::Problem, request::form::TTL};

/// The most seconds; some three years.
const MOST: i64 = 100_000_000;

/// The meaning of an explicit `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NullTtl {
    /// As if it were absent.
    Absent,
    /// The row never expires.
    Clears,
}

/// Replaces a row's `ttl` with the time at which the row expires. Returns what is wrong with it.
pub(crate) async fn resolve(
    node: &Node,
    schema: &Schema,
    object: &mut Map<String, Json>,
    null: NullTtl,
) -> Result<Violations, Problem> {
    let mut violations = Violations::default();
    let Some(expiry) = schema.expiry().map(|index| schema.fields()[index].name()) else {
        return Ok(violations);
    };
    let Some(ttl) = object.remove(TTL) else {
        return Ok(violations);
    };
    let is_given = object.get(expiry).is_some_and(|time| !time.is_null());

    match ttl.as_i64() {
        _ if ttl.is_null() => {
            if null == NullTtl::Clears && !is_given {
                object.insert(expiry.to_owned(), Json::Null);
            }
        }
        Some(_) if is_given => {
            let message = format!("give either {TTL} or {expiry}");
            violations.add(TTL, Rule::Contradiction, message);
        }
        Some(seconds @ 1..=MOST) => {
            // Up to a second more, never less.
            let now = node.store().time().await?.as_unix() + 1;
            object.insert(expiry.to_owned(), (now + seconds).into());
        }
        Some(_) => {
            let message = format!("must be between 1 and {MOST} seconds");
            violations.add(TTL, Rule::Range, message);
        }
        None => violations.add(TTL, Rule::Kind, "expected a whole number of seconds"),
    }

    Ok(violations)
}
