//! The arguments of a list: which page, and which rows.

use serde_json::Map;
use tidings::{
    core::{Field, Schema, Value},
    store::{DEFAULT_SIZE, MAX_SIZE, TagFilter},
};

use super::{Query, decode, field_of, invalid_option, invalid_options};
use crate::problem::{Kind, Problem};

const SIZE: &str = "size";
const OFFSET: &str = "offset";
const TAGS: &str = "tags";
const ENTITY: &str = "entity";

/// The arguments of a list of rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    pub(crate) offset: Option<String>,
    pub(crate) tags: Option<Tags>,
    /// The values that fields must have, by index.
    pub(crate) fields: Vec<(usize, Value)>,
}

/// The arguments of a list of cached entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The name that its keys have.
    pub(crate) entity: Option<String>,
    pub(crate) size: usize,
    pub(crate) offset: Option<String>,
}

/// Which tags a row must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `a,b`
    All(Vec<String>),
    /// `a/b`
    Any(Vec<String>),
}

impl Query {
    /// Returns the arguments of a list of rows: a page, tags, and values of unique and foreign
    /// fields.
    pub(crate) fn paging(&self, schema: &Schema) -> Result<Paging, Problem> {
        let (size, offset) = self.page()?;
        Ok(Paging {
            size,
            offset,
            tags: self.tags(schema)?,
            fields: self.fields(schema)?,
        })
    }

    /// Returns the arguments of a list of cached entries.
    pub(crate) fn listing(&self) -> Result<Listing, Problem> {
        self.only(&[ENTITY, SIZE, OFFSET])?;
        let (size, offset) = self.page()?;
        let entity = self.single(ENTITY, Kind::InvalidOptions)?;
        Ok(Listing {
            entity: entity.map(str::to_owned),
            size,
            offset,
        })
    }

    /// Returns the path of the page after this one, with the same arguments.
    pub(crate) fn next_page(&self, path: &str, offset: &str) -> String {
        let mut next = format!("{path}?offset={}", decode::query_escaped(offset));
        let kept = self.0.iter().filter_map(|(name, value)| {
            Some((name, value.as_ref().ok()?)).filter(|_| name != OFFSET)
        });
        for (name, value) in kept {
            // Commas and slashes separate tags, and a query may hold both unescaped.
            let value: Vec<_> = value.split(',').map(decode::query_escaped).collect();
            let name = decode::query_escaped(name);
            next.push_str(&format!("&{name}={}", value.join(",").replace("%2F", "/")));
        }

        next
    }

    /// Returns the size of a page, and the token of its beginning.
    fn page(&self) -> Result<(usize, Option<String>), Problem> {
        let size = self.single(SIZE, Kind::InvalidSize)?;
        let offset = self.single(OFFSET, Kind::InvalidOffset)?;
        if offset == Some("") {
            return Err(Problem::invalid_offset());
        }
        let size = size.map_or(Ok(DEFAULT_SIZE), parsed_size)?;
        Ok((size, offset.map(str::to_owned)))
    }

    /// Reads the values that fields must have; such a field is unique, part of the primary key, or
    /// a reference to another row.
    fn fields(&self, schema: &Schema) -> Result<Vec<(usize, Value)>, Problem> {
        let mut values: Vec<(usize, Value)> = Vec::new();
        let mut wrong = Map::new();
        for (name, text) in &self.0 {
            if [SIZE, OFFSET, TAGS].contains(&name.as_str()) {
                continue;
            }

            let is_indexed = |field: &Field| {
                field.is_unique() || field.is_primary_key() || field.reference().is_some()
            };
            let value = match field_of(schema, name).filter(|(_, field)| is_indexed(field)) {
                Some((index, field)) => {
                    text.as_ref().map_err(ToString::to_string).and_then(|text| {
                        let value = field.from_key_text(text);
                        Ok((index, value.map_err(|breach| breach.message)?))
                    })
                }
                None => Err("unknown argument".to_owned()),
            };

            match value {
                Ok((index, _)) if values.iter().any(|(other, _)| *other == index) => {
                    wrong.insert(name.clone(), "is given twice".into());
                }
                Ok(value) => values.push(value),
                Err(message) => {
                    wrong.insert(name.clone(), message.into());
                }
            }
        }

        if wrong.is_empty() {
            Ok(values)
        } else {
            Err(invalid_options(wrong))
        }
    }

    fn tags(&self, schema: &Schema) -> Result<Option<Tags>, Problem> {
        let Some(text) = self.single(TAGS, Kind::InvalidOptions)? else {
            return Ok(None);
        };
        if !TagFilter::applies_to(schema) {
            return Err(invalid_option(TAGS, "these rows have no tags"));
        }

        let any = text.contains('/');
        let separator = if any { '/' } else { ',' };
        let tags: Vec<_> = text.split(separator).map(str::to_owned).collect();
        if any && text.contains(',') {
            let message = "either all tags (a,b) or any tag (a/b) can be asked for, not both";
            return Err(invalid_option(TAGS, message));
        }
        if tags.iter().any(String::is_empty) {
            return Err(invalid_option(TAGS, "a tag cannot be empty"));
        }

        Ok(Some(if any {
            Tags::Any(tags)
        } else {
            Tags::All(tags)
        }))
    }
}

fn parsed_size(text: &str) -> Result<usize, Problem> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|size| plain && (1..=MAX_SIZE).contains(size))
        .ok_or_else(|| {
            let message = format!("size must be an integer between 1 and {MAX_SIZE}");
            Problem::new(Kind::InvalidSize, message)
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidings::core::{Foreign, OnDelete, OnUpdate};

    use super::*;

    fn schema(tagged: bool) -> Schema {
        let schema = Schema::builder("things")
            .field(Field::of::<i64>("id").primary_key())
            .field(Field::of::<Option<String>>("name").unique())
            .field(Field::of::<Option<String>>("colour"))
            .field(Field::of::<Option<i64>>("parent").refers_to(Foreign {
                entity: "parents".to_owned(),
                key: "number".to_owned(),
                on_delete: OnDelete::Cascade,
                on_update: OnUpdate::Keep,
            }));
        let tags = if tagged {
            Field::of::<Option<BTreeSet<String>>>("tags")
        } else {
            Field::of::<Option<String>>("tags")
        };
        schema.field(tags).build()
    }

    fn paging(query: &str) -> Result<Paging, Kind> {
        Query::parse(Some(query))
            .paging(&schema(true))
            .map_err(|problem| problem.kind())
    }

    #[test]
    fn a_size_lies_between_1_and_1000() {
        assert_eq!(paging("").unwrap().size, 100);
        assert_eq!(paging("size=1").unwrap().size, 1);
        assert_eq!(paging("size=1000").unwrap().size, 1_000);
        for wrong in [
            "0",
            "1001",
            "-1",
            "+1",
            "1.5",
            "x",
            "",
            "99999999999999999999",
            "1&size=2",
        ] {
            let refused = paging(&format!("size={wrong}"));
            assert_eq!(refused, Err(Kind::InvalidSize), "{wrong}");
        }
    }

    #[test]
    fn an_offset_is_one_token() {
        assert_eq!(paging("offset=a%20b").unwrap().offset.unwrap(), "a b");
        for wrong in ["offset=", "offset", "offset=a&offset=a"] {
            assert_eq!(paging(wrong), Err(Kind::InvalidOffset), "{wrong}");
        }
    }

    #[test]
    fn tags_are_all_or_any() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(
            paging("tags=a").unwrap().tags,
            Some(Tags::All(words(&["a"])))
        );
        assert_eq!(
            paging("tags=a,b").unwrap().tags,
            Some(Tags::All(words(&["a", "b"])))
        );
        assert_eq!(
            paging("tags=a/b%20c").unwrap().tags,
            Some(Tags::Any(words(&["a", "b c"])))
        );
        for wrong in [
            "tags=",
            "tags=a,,b",
            "tags=/",
            "tags=a,b/c",
            "tags=a&tags=b",
        ] {
            assert_eq!(paging(wrong), Err(Kind::InvalidOptions), "{wrong}");
        }
        let untagged = Query::parse(Some("tags=a")).paging(&schema(false));
        assert_eq!(untagged.unwrap_err().kind(), Kind::InvalidOptions);
    }

    #[test]
    fn a_list_takes_a_value_of_each_field_that_is_unique_or_foreign() {
        let fields = |query: &str| paging(query).unwrap().fields;
        assert_eq!(fields("id=7"), [(0, 7_i64.into())]);
        assert_eq!(fields("name=a%20b"), [(1, "a b".into())]);
        for parent in ["parent", "parent.number"] {
            assert_eq!(fields(&format!("{parent}=7")), [(3, 7_i64.into())]);
        }
        assert_eq!(fields("size=1&name=a&parent=7").len(), 2);
        for wrong in [
            "colour=blue",
            "nmae=a",
            "parent.id=7",
            "name.first=a",
            "=",
            "%FF=1",
            "name=",
            "name=%FF",
            "id=007",
            "id=+7",
            "id=x",
            "name=a&name=b",
            "parent=7&parent.number=7",
        ] {
            assert_eq!(paging(wrong), Err(Kind::InvalidOptions), "{wrong}");
        }
    }

    #[test]
    fn every_wrong_argument_is_named() {
        let refused = Query::parse(Some("colour=blue&id=007&name=a"))
            .paging(&schema(true))
            .unwrap_err();
        assert_eq!(
            refused.to_json()["fields"],
            serde_json::json!({
                "colour": "unknown argument", "id": "expected an integer, written as 7"
            })
        );
        let none = Query::parse(Some("a=1")).none().unwrap_err();
        assert_eq!(none.kind(), Kind::InvalidOptions);
        assert!(Query::parse(Some("")).none().is_ok());
    }

    #[test]
    fn known_arguments_must_be_readable() {
        assert_eq!(paging("size=%FF"), Err(Kind::InvalidSize));
        assert_eq!(paging("offset=%00"), Err(Kind::InvalidOffset));
        assert_eq!(paging("tags=%zz"), Err(Kind::InvalidOptions));
    }

    #[test]
    fn the_next_page_keeps_all_but_the_offset() {
        let query = Query::parse(Some("tags=a%26,b&offset=o&size=2&name=a%2Cb"));
        assert!(query.paging(&schema(true)).is_ok());
        assert_eq!(
            query.next_page("/things", "x=/y"),
            "/things?offset=x%3D%2Fy&tags=a%26,b&size=2&name=a,b"
        );
        let any = Query::parse(Some("tags=a/b"));
        assert!(any.paging(&schema(true)).is_ok());
        assert_eq!(any.next_page("/things", "o"), "/things?offset=o&tags=a/b");
    }
}
