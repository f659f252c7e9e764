//! Query arguments: paging, tags, `cluster`. Arguments that a path does not know are ignored.

use tidings::{
    core::Schema,
    store::{DEFAULT_SIZE, MAX_SIZE, TagFilter},
};

use super::decode::{self, Argument};
use crate::problem::{Kind, Problem};

/// The field that `?tags=` looks at.
const TAGS: &str = "tags";

/// The arguments of a query, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<Argument>);

/// What a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    pub(crate) offset: Option<String>,
    pub(crate) tags: Option<Tags>,
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
    /// Reads the query of a request.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self(decode::arguments(query.unwrap_or_default()))
    }

    /// All arguments, in order.
    pub(crate) fn arguments(&self) -> &[Argument] {
        &self.0
    }

    /// What a list of an entity's rows is asked for.
    pub(crate) fn paging(&self, schema: &Schema) -> Result<Paging, Problem> {
        let size = self.single("size", Kind::InvalidSize)?;
        let offset = self.single("offset", Kind::InvalidOffset)?;
        if offset == Some("") {
            return Err(Problem::invalid_offset());
        }
        Ok(Paging {
            size: size.map_or(Ok(DEFAULT_SIZE), parsed_size)?,
            offset: offset.map(str::to_owned),
            tags: self.tags(schema)?,
        })
    }

    /// Whether every node is meant.
    pub(crate) fn cluster(&self) -> Result<bool, Problem> {
        match self.single("cluster", Kind::InvalidOptions)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid_option("cluster", "expected true or false")),
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

    /// The value of an argument that may stand once.
    fn single(&self, name: &str, otherwise: Kind) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(other, _)| other == name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, Ok(value))), None) => Ok(Some(value)),
            (Some((_, Err(error))), None) => Err(Problem::new(
                otherwise,
                format!("cannot read {name}: {error}"),
            )),
            (Some(_), Some(_)) => Err(Problem::new(otherwise, format!("{name} stands twice"))),
        }
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

fn invalid_option(name: &str, message: &str) -> Problem {
    let fields = [(name.to_owned(), message.into())];
    Problem::new(
        Kind::InvalidOptions,
        format!("invalid option ({name}: {message})"),
    )
    .with_fields(fields.into_iter().collect())
}

impl Paging {
    /// The path of the page after this one, with this one's size and tags.
    pub(crate) fn next(&self, path: &str, query: &Query, offset: &str) -> String {
        let mut next = format!("{path}?offset={}", decode::query_escaped(offset));
        let kept = query.0.iter().filter_map(|(name, value)| {
            let is_kept = name == "size" || name == TAGS;
            Some((name, value.as_ref().ok()?)).filter(|_| is_kept)
        });
        for (name, value) in kept {
            // Commas and slashes part tags, and a query may hold both as they are.
            let value: Vec<_> = value.split(',').map(decode::query_escaped).collect();
            next.push_str(&format!("&{name}={}", value.join(",").replace("%2F", "/")));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidings::core::Field;

    use super::*;

    fn schema(tagged: bool) -> Schema {
        let schema = Schema::builder("things").field(Field::of::<i64>("id").primary_key());
        match tagged {
            true => schema.field(Field::of::<Option<BTreeSet<String>>>("tags")),
            false => schema.field(Field::of::<Option<String>>("tags")),
        }
        .build()
    }

    fn paging(query: &str) -> Result<Paging, Kind> {
        Query::parse(Some(query))
            .paging(&schema(true))
            .map_err(|problem| problem.kind())
    }

    /// PL11
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

    /// PL11
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
    fn unknown_arguments_are_ignored_and_known_ones_must_be_readable() {
        assert!(paging("colour=blue&size=5&=&&colour=%FF&%FF=1").is_ok());
        assert_eq!(paging("size=%FF"), Err(Kind::InvalidSize));
        assert_eq!(paging("offset=%00"), Err(Kind::InvalidOffset));
        assert_eq!(paging("tags=%zz"), Err(Kind::InvalidOptions));
    }

    #[test]
    fn the_next_page_keeps_size_and_tags() {
        let query = Query::parse(Some("tags=a%26,b&offset=o&size=2&colour=blue"));
        let paging = query.paging(&schema(true)).unwrap();
        assert_eq!(
            paging.next("/things", &query, "x=/y"),
            "/things?offset=x%3D%2Fy&tags=a%26,b&size=2"
        );
        let any = Query::parse(Some("tags=a/b"));
        let paging = any.paging(&schema(true)).unwrap();
        assert_eq!(
            paging.next("/things", &any, "o"),
            "/things?offset=o&tags=a/b"
        );
    }

    #[test]
    fn cluster_is_true_or_false() {
        let cluster = |query| Query::parse(query).cluster().ok();
        assert_eq!(cluster(None), Some(false));
        assert_eq!(cluster(Some("cluster=false")), Some(false));
        assert_eq!(cluster(Some("cluster=true")), Some(true));
        for wrong in [
            "cluster",
            "cluster=1",
            "cluster=yes",
            "cluster=true&cluster=true",
        ] {
            assert_eq!(cluster(Some(wrong)), None, "{wrong}");
        }
    }
}
