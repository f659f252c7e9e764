//! The cache keys of an entity's rows.

use super::Schema;
use crate::{
    key::CacheKey,
    row::{Row, Violations},
    value::Value,
};

impl Schema {
    /// The cache key of a row: of the schema's cache key fields, or of the primary key where the
    /// schema names none or the row sets none of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Row, Schema, Value};
    ///
    /// let schema = Schema::builder("acls")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<Option<String>>("group"))
    ///     .field(Field::of::<Option<String>>("consumer"))
    ///     .cache_key(&["consumer", "group"])
    ///     .build();
    /// let row = Row(vec![7_i64.into(), "admins".into(), Value::Null]);
    /// assert_eq!(schema.cache_key_of(&row).as_str(), "acls:~:admins");
    /// let row = Row(vec![7_i64.into(), Value::Null, Value::Null]);
    /// assert_eq!(schema.cache_key_of(&row).as_str(), "acls@7");
    /// ```
    #[must_use]
    pub fn cache_key_of(&self, row: &Row) -> CacheKey {
        self.declared_cache_key(row)
            .unwrap_or_else(|| self.primary_cache_key(row))
    }

    /// The cache key of a row by its primary key.
    #[must_use]
    pub fn primary_cache_key(&self, row: &Row) -> CacheKey {
        let id = row.0.get(self.primary_key()).unwrap_or(&Value::Null);
        CacheKey::primary(&self.name, id)
    }

    /// Every key that a change of this row evicts: [`cache_key_of`](Self::cache_key_of) and
    /// [`primary_cache_key`](Self::primary_cache_key), without repetition.
    #[must_use]
    pub fn cache_keys_of(&self, row: &Row) -> Vec<CacheKey> {
        let primary = self.primary_cache_key(row);
        let declared = self.cache_key_of(row);
        if declared == primary {
            vec![primary]
        } else {
            vec![declared, primary]
        }
    }

    /// The cache key of the row that has these values: as [`cache_key_of`](Self::cache_key_of) of a
    /// row whose other fields are absent.
    ///
    /// # Errors
    ///
    /// One violation for each field that is unknown, is no part of a key of this entity, is named
    /// twice or cannot hold its value; and one for the whole where no part of a key has a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("credentials")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<String>("key").unique())
    ///     .cache_key(&["key"])
    ///     .build();
    /// assert_eq!(schema.cache_key_from(&[("key", "abcd".into())])?.as_str(), "credentials:abcd");
    /// assert_eq!(schema.cache_key_from(&[("id", 7_i64.into())])?.as_str(), "credentials@7");
    /// assert!(schema.cache_key_from(&[("kye", "abcd".into())]).is_err());
    /// # Ok::<(), tidings_core::Violations>(())
    /// ```
    pub fn cache_key_from<N: AsRef<str>>(
        &self,
        values: &[(N, Value)],
    ) -> Result<CacheKey, Violations> {
        let mut violations = Violations::default();
        let mut row = Row::empty(self);
        let mut named = vec![false; row.0.len()];
        for (name, value) in values {
            let name = name.as_ref();
            let Some((index, field)) = self.field(name) else {
                violations.add(name, "unknown field");
                continue;
            };
            if std::mem::replace(&mut named[index], true) {
                violations.add(name, "given twice");
            } else if !self.is_part_of_a_key(index) {
                let parts = self.parts_of_keys().join(", ");
                violations.add(
                    name,
                    format!("not part of a cache key; the parts are: {parts}"),
                );
            } else if let Err(message) = field.check(value) {
                violations.add(name, message);
            } else {
                row.0[index] = value.clone();
            }
        }
        if violations.is_empty() && row.0.iter().all(Value::is_null) {
            let parts = self.parts_of_keys().join(", ");
            violations.add(
                "@entity",
                format!("a value is needed for at least one of: {parts}"),
            );
        }
        violations.or(row).map(|row| self.cache_key_of(&row))
    }

    /// The key of the cache key fields, or `None` if none of them has a value.
    fn declared_cache_key(&self, row: &Row) -> Option<CacheKey> {
        let mut key = CacheKey::builder(&self.name);
        let mut any_set = false;
        for name in &self.cache_key {
            let value = self.field(name).and_then(|(index, _)| row.0.get(index));
            any_set |= value.is_some_and(|value| !value.is_null());
            key.push(value.unwrap_or(&Value::Null));
        }
        any_set.then(|| key.finish())
    }

    fn is_part_of_a_key(&self, index: usize) -> bool {
        index == self.primary_key()
            || self
                .cache_key
                .iter()
                .any(|name| name == self.fields[index].name())
    }

    fn parts_of_keys(&self) -> Vec<&str> {
        let primary = self
            .fields
            .get(self.primary_key())
            .map(|field| field.name());
        let declared = self.cache_key.iter().map(String::as_str);
        let mut parts: Vec<_> = declared.collect();
        parts.extend(primary.filter(|primary| !parts.contains(primary)));
        parts
    }
}
