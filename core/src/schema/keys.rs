//! The cache keys of an entity's rows.

use super::{Field, Schema, field::MASK};
use crate::{
    key::CacheKey,
    row::{Row, Rule, Violations},
    value::Value,
};

/// A way in which the rows of an entity are looked up and cached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup<'a> {
    /// By the fields of the cache key, the first if there are several: `name:part`.
    CacheKey(Vec<&'a str>),
    /// By the primary key: `name@part`.
    Primary(&'a str),
    /// By the primary key of several fields: `name@:part:part`.
    PrimaryParts(Vec<&'a str>),
    /// By other fields: `name@field:part`.
    Fields(Vec<&'a str>),
}

impl<'a> Lookup<'a> {
    /// Returns the names of its fields.
    #[must_use]
    pub fn fields(&self) -> &[&'a str] {
        match self {
            Self::CacheKey(fields) | Self::PrimaryParts(fields) | Self::Fields(fields) => fields,
            Self::Primary(field) => std::slice::from_ref(field),
        }
    }
}

impl Schema {
    /// Returns the cache key of a row: of the schema's cache key fields, or of the primary key
    /// where the schema names none or the row sets none of them.
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
    ///
    /// A primary key of several parts:
    ///
    /// ```
    /// use tidings_core::{Field, Row, Schema};
    ///
    /// let schema = Schema::builder("stocks")
    ///     .field(Field::of::<String>("shelf").primary_key())
    ///     .field(Field::of::<i64>("place").primary_key())
    ///     .build();
    /// let row = Row(vec!["a:1".into(), 7_i64.into()]);
    /// assert_eq!(schema.cache_key_of(&row).as_str(), "stocks@:a%3A1:7");
    /// ```
    #[must_use]
    pub fn cache_key_of(&self, row: &Row) -> CacheKey {
        self.declared_cache_key(row)
            .unwrap_or_else(|| self.primary_cache_key(row))
    }

    /// Returns the cache key of a row by its primary key.
    #[must_use]
    pub fn primary_cache_key(&self, row: &Row) -> CacheKey {
        let value = |field: &usize| row.0.get(*field).unwrap_or(&Value::Null);
        match self.primary_key() {
            [field] => CacheKey::primary(&self.name, value(field)),
            fields => {
                let parts: Vec<_> = fields.iter().map(value).collect();
                CacheKey::primary_of(&self.name, &parts)
            }
        }
    }

    /// Returns every key that a change of this row evicts, without repetition:
    /// [`cache_key_of`](Self::cache_key_of), [`primary_cache_key`](Self::primary_cache_key), and
    /// one for each [lookup](Self::lookups) by other fields of which the row sets any.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Row, Schema};
    ///
    /// let schema = Schema::builder("consumers")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<String>("username").unique())
    ///     .build();
    /// let keys = schema.cache_keys_of(&Row(vec![7_i64.into(), "bob".into()]));
    /// let keys: Vec<_> = keys.iter().map(|key| key.as_str()).collect();
    /// assert_eq!(keys, ["consumers@7", "consumers@username:bob"]);
    /// ```
    #[must_use]
    pub fn cache_keys_of(&self, row: &Row) -> Vec<CacheKey> {
        let mut keys = vec![self.cache_key_of(row), self.primary_cache_key(row)];
        keys.dedup();

        for lookup in self.lookups() {
            if let Lookup::Fields(fields) = lookup
                && fields
                    .iter()
                    .any(|&field| !self.value(row, field).is_null())
            {
                let values: Vec<_> = fields.iter().map(|&field| self.value(row, field)).collect();
                keys.push(self.key_by(&fields, &values));
            }
        }

        keys
    }

    /// Returns the ways in which a row is looked up and cached: by its cache key, by its primary
    /// key, and by the fields of each further cache key and each unique field.
    #[must_use]
    pub fn lookups(&self) -> Vec<Lookup<'_>> {
        let mut lookups = Vec::new();
        let first = self.cache_key_fields();
        if !first.is_empty() {
            lookups.push(Lookup::CacheKey(first.iter().map(String::as_str).collect()));
        }

        match self.primary_key() {
            [] => {}
            [field] => lookups.push(Lookup::Primary(self.fields[*field].name())),
            _ => lookups.push(Lookup::PrimaryParts(self.primary_key_names())),
        }

        let further = self
            .cache_keys
            .iter()
            .map(|names| names.iter().map(String::as_str).collect());
        let unique = self.fields.iter().filter(|field| field.is_unique());
        for fields in further.chain(unique.map(|field| vec![field.name()])) {
            if lookups.iter().all(|known| known.fields() != fields) {
                lookups.push(Lookup::Fields(fields));
            }
        }

        lookups
    }

    /// Returns the key under which the row with these values is cached, for the lookup of these
    /// fields; `None` if there is no such lookup.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("credentials")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<String>("key").unique())
    ///     .field(Field::of::<String>("serial").unique())
    ///     .cache_key(&["key"])
    ///     .build();
    /// let key = |field, value| schema.lookup_key(&[field], &[value]).map(|key| key.to_string());
    /// assert_eq!(key("key", "abcd".into()).as_deref(), Some("credentials:abcd"));
    /// assert_eq!(key("id", 7_i64.into()).as_deref(), Some("credentials@7"));
    /// assert_eq!(key("serial", "x".into()).as_deref(), Some("credentials@serial:x"));
    /// assert_eq!(key("kye", "abcd".into()), None);
    /// ```
    #[must_use]
    pub fn lookup_key(&self, fields: &[&str], values: &[Value]) -> Option<CacheKey> {
        let lookups = self.lookups();
        let lookup = lookups.iter().find(|known| known.fields() == fields)?;
        Some(match (lookup, values) {
            (Lookup::Primary(_), [id]) => CacheKey::primary(&self.name, id),
            (Lookup::PrimaryParts(fields), parts) if parts.len() == fields.len() => {
                CacheKey::primary_of(&self.name, parts)
            }
            (Lookup::Primary(_) | Lookup::PrimaryParts(_), _) => return None,
            (Lookup::CacheKey(_), values) => CacheKey::new(&self.name, values),
            (Lookup::Fields(fields), values) => {
                let values: Vec<_> = values.iter().collect();
                self.key_by(fields, &values)
            }
        })
    }

    /// Masks the secrets in this entity's keys wherever this process [shows
    /// them](CacheKey::to_shown): in errors of the cache, and in the log.
    pub fn mask_keys(&'static self) {
        if self.fields.iter().any(Field::is_secret) {
            crate::mask_keys(&self.name, |key| self.shown_cache_key(key));
        }
    }

    /// Returns the text of a key of this entity as it may be shown: parts of secret fields are
    /// masked.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("credentials")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .field(Field::of::<String>("key").unique().secret())
    ///     .field(Field::of::<String>("serial").unique())
    ///     .cache_key(&["key"])
    ///     .build();
    /// assert_eq!(schema.shown_cache_key("credentials:abcd"), "credentials:***");
    /// assert_eq!(schema.shown_cache_key("credentials@7"), "credentials@7");
    /// assert_eq!(schema.shown_cache_key("credentials@serial:x"), "credentials@serial:x");
    /// ```
    #[must_use]
    pub fn shown_cache_key(&self, key: &str) -> String {
        let name = &self.name;
        let Some(rest) = key.strip_prefix(name.as_str()) else {
            return key.to_owned();
        };

        // The key of a row by a primary key of one part has no colon: one in a part is encoded.
        let Some((names, parts)) = rest.split_once(':') else {
            return match rest.strip_prefix('@') {
                Some(part) => {
                    let field = self.single_key().map(|field| &self.fields[field]);
                    format!("{name}@{}", shown_part(field, part))
                }
                None => key.to_owned(),
            };
        };

        let fields: Vec<&str> = match names.strip_prefix('@') {
            Some("") => self.primary_key_names(),
            Some(names) => names.split('@').collect(),
            None => self.cache_key_fields().iter().map(String::as_str).collect(),
        };
        let mut fields = fields.into_iter();
        let shown = parts.split(':').map(|part| {
            let field = fields.next().and_then(|field| self.field(field));
            shown_part(field.map(|(_, field)| field), part)
        });
        let shown: Vec<_> = shown.collect();
        format!("{name}{names}:{}", shown.join(":"))
    }

    fn key_by(&self, fields: &[&str], values: &[&Value]) -> CacheKey {
        let mut key = CacheKey::by_fields(&self.name, fields);
        values.iter().for_each(|value| key.push(*value));
        key.finish()
    }

    fn value<'a>(&self, row: &'a Row, field: &str) -> &'a Value {
        let value = self.field(field).and_then(|(index, _)| row.0.get(index));
        value.unwrap_or(&Value::Null)
    }

    /// Returns the cache key of the row that has these values: as
    /// [`cache_key_of`](Self::cache_key_of) of a row whose other fields are absent.
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
                violations.add(name, Rule::Unknown, "unknown field");
                continue;
            };

            if std::mem::replace(&mut named[index], true) {
                violations.add(name, Rule::Contradiction, "given twice");
            } else if !self.is_part_of_a_key(index) {
                let parts = self.parts_of_keys().join(", ");
                violations.add(
                    name,
                    Rule::Unknown,
                    format!("not part of a cache key; the parts are: {parts}"),
                );
            } else if let Err(breach) = field.check(value) {
                violations.broken(name, breach);
            } else {
                row.0[index] = value.clone();
            }
        }

        if violations.is_empty() && !self.has_cache_key(&row) {
            let needed = self.parts_needed();
            violations.add(
                "@entity",
                Rule::Required,
                format!("a value is needed for {needed}"),
            );
        }

        violations.or(row).map(|row| self.cache_key_of(&row))
    }

    /// Returns whether a row sets enough for a cache key: a part of the first one that is declared,
    /// or the whole primary key.
    #[must_use]
    pub fn has_cache_key(&self, row: &Row) -> bool {
        let is_set = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
        let mut declared = self.cache_key_fields().iter();
        let mut primary = self.primary_key.iter();
        declared.any(|name| !self.value(row, name).is_null())
            || primary.all(|&field| is_set(row.0.get(field)))
    }

    /// Returns which fields a cache key needs values of, in words: `at least one of: key, id`.
    #[must_use]
    pub fn parts_needed(&self) -> String {
        if self.single_key().is_some() {
            return format!("at least one of: {}", self.parts_of_keys().join(", "));
        }
        let all = format!("all of: {}", self.primary_key_names().join(", "));
        match self.cache_key_fields() {
            [] => all,
            declared => format!("at least one of: {}; or for {all}", declared.join(", ")),
        }
    }

    /// Returns the key of the cache key fields, or `None` if none of them has a value.
    fn declared_cache_key(&self, row: &Row) -> Option<CacheKey> {
        let mut key = CacheKey::builder(&self.name);
        let mut any_set = false;
        for name in self.cache_key_fields() {
            let value = self.value(row, name);
            any_set |= !value.is_null();
            key.push(value);
        }
        any_set.then(|| key.finish())
    }

    fn is_part_of_a_key(&self, index: usize) -> bool {
        self.primary_key.contains(&index)
            || self
                .cache_key_fields()
                .iter()
                .any(|name| name == self.fields[index].name())
    }

    fn parts_of_keys(&self) -> Vec<&str> {
        let declared = self.cache_key_fields().iter().map(String::as_str);
        let mut parts: Vec<_> = declared.collect();
        for name in self.primary_key_names() {
            if !parts.contains(&name) {
                parts.push(name);
            }
        }
        parts
    }
}

/// Returns a part of a key as it may be shown. A part of which the field is not known may be a
/// secret.
fn shown_part<'a>(field: Option<&Field>, part: &'a str) -> &'a str {
    match field {
        Some(field) if !field.is_secret() || part == "~" => part,
        Some(_) | None => MASK,
    }
}
