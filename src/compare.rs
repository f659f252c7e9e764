//! Compares a cached entry with its row.
//!
//! An entry is sampled first and its row read afterwards, as a load would read it. So if the two
//! differ, the row is the newer one, and its write must evict the entry. Whether it has done so is
//! checked later, on the same entry ([`Differing::still_held`]).

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::Value as Json;
use tidings_cache::{Cache, Sampled};
use tidings_core::{CacheKey, Entity, Row, Value};
use tidings_store::{Error, FieldInput, Store};

use crate::loads::read_by;

/// The entry to compare: its key, and the lookup that makes it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: CacheKey,
    pub(crate) fields: Vec<&'static str>,
    pub(crate) values: Vec<Value>,
}

/// The result of a comparison.
pub(crate) enum Compared {
    /// The key holds nothing that would be served, or its value is not a row of the entity.
    Nothing,
    Equal,
    Different(Box<dyn Differing>),
}

/// An entry that differs from its row.
pub(crate) trait Differing: Send {
    /// Returns how old the entry is, if it is still there and would be served.
    fn still_held(&self) -> Option<Duration>;
}

/// Compares an entry with its row. Kept as a function, because the entity's type is known only
/// where it is declared.
pub(crate) type Compare = fn(Store, Cache, Asked) -> BoxFuture<'static, Result<Compared, Error>>;

/// Compares an entry with its row; see [`Compare`].
pub(crate) fn compare<E: Entity>(
    store: Store,
    cache: Cache,
    asked: Asked,
) -> BoxFuture<'static, Result<Compared, Error>> {
    async move {
        let dao = store.dao::<E>()?;
        // Before the row is read: an entry that was filled later may be newer than the row.
        let Ok(Some(entry)) = cache.sample::<E>(&asked.key) else {
            return Ok(Compared::Nothing);
        };
        let values = asked.values.into_iter().map(FieldInput::Value).collect();
        let live = read_by(&dao, &asked.fields, values).await?;

        let is_equal = match (entry.value(), live) {
            (None, None) => true,
            // Both through the type: data in a row that the type does not have is no difference.
            (Some(value), Some(live)) => says_the_same::<E>(&value.to_row(), &live.row.to_row()),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_equal {
            return Ok(Compared::Equal);
        }

        let key = asked.key;
        Ok(Compared::Different(Box::new(Held { cache, key, entry })))
    }
    .boxed()
}

/// How often a row is read into its type, to see which of its fields are written the same each
/// time.
const READINGS: usize = 16;

/// Returns whether two rows of a type have the same content.
///
/// A hash set within JSON is written in a random order. So lists may differ in their order, in
/// fields that differ between readings of the same row.
fn says_the_same<E: Entity>(one: &Row, other: &Row) -> bool {
    let differing = differing(one, other);
    let is_alike = |field: &usize| match (&one.0[*field], &other.0[*field]) {
        (Value::Json(one), Value::Json(other)) => sorted(one) == sorted(other),
        _ => false,
    };
    if one.0.len() != other.0.len() || !differing.iter().all(is_alike) {
        return false;
    }

    let mut of_an_order = differing;
    for _ in 0..READINGS {
        if of_an_order.is_empty() {
            return true;
        }
        let Ok(read) = E::from_row(one.clone()) else {
            return false;
        };
        let read = read.to_row();
        of_an_order.retain(|field| one.0[*field] == read.0[*field]);
    }

    of_an_order.is_empty()
}

/// Returns the fields in which two rows differ. Two NaNs count as equal.
fn differing(one: &Row, other: &Row) -> Vec<usize> {
    let is_same = |one: &Value, other: &Value| match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_nan() => other.is_nan(),
        (one, other) => one == other,
    };
    let values = one.0.iter().zip(&other.0).enumerate();
    values
        .filter(|(_, (one, other))| !is_same(one, other))
        .map(|(field, _)| field)
        .collect()
}

/// Returns JSON with the lists in it in one order.
fn sorted(json: &Json) -> Json {
    match json {
        Json::Array(members) => {
            let mut members: Vec<_> = members.iter().map(sorted).collect();
            members.sort_by_cached_key(Json::to_string);
            Json::Array(members)
        }
        Json::Object(members) => {
            let members = members.iter();
            Json::Object(
                members
                    .map(|(name, it)| (name.clone(), sorted(it)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// The entry that was compared.
struct Held<E> {
    cache: Cache,
    key: CacheKey,
    entry: Sampled<E>,
}

impl<E: Entity> Differing for Held<E> {
    fn still_held(&self) -> Option<Duration> {
        let now = self.cache.sample::<E>(&self.key).ok().flatten()?;
        now.is_same(&self.entry).then(|| now.age())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(one: &Row, other: &Row) -> bool {
        one.0.len() == other.0.len() && differing(one, other).is_empty()
    }

    #[test]
    fn rows_are_the_same_though_a_float_is_not_a_number() {
        let row = |values: &[f64]| Row(values.iter().copied().map(Value::Number).collect());
        let nan = f64::NAN;
        assert!(is_same(&row(&[nan, 1.0]), &row(&[-nan, 1.0])));
        assert!(is_same(&row(&[0.0]), &row(&[-0.0])));
        for other in [row(&[nan]), row(&[nan, 2.0]), row(&[1.0, 1.0])] {
            assert!(!is_same(&row(&[nan, 1.0]), &other), "{other:?}");
            assert!(!is_same(&other, &row(&[nan, 1.0])), "{other:?}");
        }
        assert!(!is_same(&row(&[nan]), &Row(vec![Value::Null])));
        assert!(is_same(&Row(vec!["a".into()]), &Row(vec!["a".into()])));
    }
}
