//! A schema as JSON, for people and programs that meet it over HTTP.

use serde_json::{Value as Json, json};

use super::{Field, OnUpdate, Schema};

impl Schema {
    /// Returns the schema as JSON: what `GET /schemas/{entity}` answers. A primary key of several
    /// fields is an array of their names.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use tidings_core::{Field, Schema};
    ///
    /// let schema = Schema::builder("tenants")
    ///     .field(Field::of::<i64>("id").primary_key())
    ///     .admin_api("tenants", None)
    ///     .build();
    /// assert_eq!(
    ///     schema.to_json(),
    ///     json!({
    ///         "name": "tenants",
    ///         "primary_key": "id",
    ///         "endpoint_key": null,
    ///         "cache_key": ["id"],
    ///         "fields": [{
    ///             "name": "id", "type": "integer", "required": true, "unique": true, "auto": null,
    ///             "reference": null,
    ///         }],
    ///         "unique": [],
    ///         "at_least_one_of": [],
    ///         "admin_api": {"name": "tenants", "nested": null},
    ///     })
    /// );
    /// ```
    #[must_use]
    pub fn to_json(&self) -> Json {
        let names = self.primary_key_names();
        let primary_key = match &names[..] {
            [name] => json!(name),
            [] => Json::Null,
            names => json!(names),
        };
        let cache_key = self.cache_key_fields();
        let cache_key: Vec<_> = if cache_key.is_empty() {
            names
        } else {
            cache_key.iter().map(String::as_str).collect()
        };

        let fields: Vec<_> = self.fields.iter().map(Field::describe).collect();
        json!({
            "name": self.name,
            "primary_key": primary_key,
            "endpoint_key": self.endpoint_key,
            "cache_key": cache_key,
            "fields": fields,
            "unique": self.unique_together,
            "at_least_one_of": self.at_least_one_of,

            "admin_api": self.admin_api.as_ref().map(|api| json!({
                "name": api.name,
                "nested": api.nested,
            })),
        })
    }
}

impl Field {
    /// Returns the field as JSON. What only some fields have is named only there: a default, marks,
    /// rules, `between` where an integer is narrower than 64 bits, `max_length` for text of one
    /// line.
    fn describe(&self) -> Json {
        let mut json = json!({
            "name": self.name(),
            "type": self.kind().name(),
            "required": self.is_required(),
            "unique": self.is_unique(),
            "auto": self.auto_value().map(super::Auto::as_str),

            "reference": self.reference().map(|foreign| json!({
                "entity": foreign.entity,
                "key": foreign.key,
                "on_delete": foreign.on_delete.as_str(),
                "on_update": (foreign.on_update == OnUpdate::Evict).then_some("evict"),
            })),
        });
        if let Some(default) = self.default_value() {
            json["default"] = self.shown(default).to_json();
        }

        let marks = [
            ("immutable", self.is_immutable() && !self.is_primary_key()),
            ("secret", self.is_secret()),
            ("expires", self.is_expiry()),
        ];
        for (mark, _) in marks.into_iter().filter(|(_, is_set)| *is_set) {
            json[mark] = true.into();
        }

        if let Some(length) = self.length_rule() {
            json["length"] = json!({ "min": length.min, "max": length.max });
        }

        if let Some(pattern) = self.pattern_rule() {
            json["pattern"] = pattern.as_str().into();
        }
        if !self.allowed().is_empty() {
            json["one_of"] = self.allowed().iter().map(|value| value.to_json()).collect();
        }

        if let Some(max_length) = self.max_length() {
            json["max_length"] = max_length.into();
        }
        if let Some(range) = self.range() {
            json["between"] = json!([range.start(), range.end()]);
        }
        json
    }
}
