//! [`Condition`]: the preconditions of a request, `If-Match` and `If-None-Match` (RFC 9110, 13.1).

use http::{HeaderMap, HeaderName, header};

use crate::problem::{Kind, Problem};

/// An entity tag, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// Makes a tag of a text, which has only letters, digits and hyphens.
    pub(crate) fn new(opaque: String) -> Self {
        Self(opaque)
    }

    /// Returns the tag in quotes, as a header writes it.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// The preconditions on the row that a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    must: Option<Tags>,
    must_not: Option<Tags>,
}

/// The tags that a header names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever the row is like.
    Any,
    These(Vec<Named>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    strength: Strength,
    tag: Tag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

/// Whether a condition holds for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    /// `If-Match` does not.
    NotAsDemanded,
    /// `If-None-Match` does not: for a read, the client has the row already.
    AsKnown,
}

impl Condition {
    /// Reads the headers of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            must: tags(headers, &header::IF_MATCH)?,
            must_not: tags(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Judges a row by its tag, or the absence of a row.
    pub(crate) fn judge(&self, tag: Option<&Tag>) -> Verdict {
        // A weak tag says nothing about a row that is to be changed.
        let is_named = |named: &Named| match named.strength {
            Strength::Strong => Some(&named.tag) == tag,
            Strength::Weak => false,
        };
        let demanded = match &self.must {
            None => true,
            Some(Tags::Any) => tag.is_some(),
            Some(Tags::These(tags)) => tags.iter().any(is_named),
        };
        let known = match &self.must_not {
            None => false,
            Some(Tags::Any) => tag.is_some(),
            Some(Tags::These(tags)) => tags.iter().any(|named| Some(&named.tag) == tag),
        };

        match (demanded, known) {
            (false, _) => Verdict::NotAsDemanded,
            (true, true) => Verdict::AsKnown,
            (true, false) => Verdict::Holds,
        }
    }

    /// Returns whether there is no precondition.
    pub(crate) fn is_empty(&self) -> bool {
        self.must.is_none() && self.must_not.is_none()
    }

    /// Returns whether it depends on the content of the row, and not only on whether there is one.
    pub(crate) fn names_tags(&self) -> bool {
        let names = |tags: &Option<Tags>| matches!(tags, Some(Tags::These(_)));
        names(&self.must) || names(&self.must_not)
    }
}

/// Reads the tags of one header, which may be on several lines; `None` if it is absent.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut tags = None;
    for value in headers.get_all(name) {
        let read = value.to_str().ok().and_then(list);
        let (read, so_far) = match (read, tags.take()) {
            (Some(read), so_far) => (read, so_far),
            (None, _) => return Err(unreadable(name)),
        };
        tags = Some(match (so_far, read) {
            (None, read) => read,
            (Some(Tags::These(mut tags)), Tags::These(more)) => {
                tags.extend(more);
                Tags::These(tags)
            }
            (Some(_), _) => return Err(unreadable(name)),
        });
    }

    Ok(tags)
}

fn unreadable(name: &HeaderName) -> Problem {
    let message = format!("{name}: expected * or entity tags such as \"7\", separated by commas");
    Problem::new(Kind::InvalidOptions, message)
}

/// Reads `*`, or `"a", W/"b"`; `None` if it is neither.
fn list(text: &str) -> Option<Tags> {
    let mut rest = text.trim_matches([' ', '\t']);
    if rest == "*" {
        return Some(Tags::Any);
    }

    let mut tags = Vec::new();
    loop {
        let strength = match rest.strip_prefix("W/") {
            Some(after) => {
                rest = after;
                Strength::Weak
            }
            None => Strength::Strong,
        };
        let (tag, after) = rest.strip_prefix('"')?.split_once('"')?;
        if tag
            .chars()
            .any(|letter| letter.is_control() || letter == ' ')
        {
            return None;
        }

        tags.push(Named {
            strength,
            tag: Tag(tag.to_owned()),
        });
        rest = after.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(Tags::These(tags));
        }

        rest = rest.strip_prefix(',')?.trim_start_matches([' ', '\t']);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[(HeaderName, &'static str)]) -> Result<Condition, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        Condition::of(&headers)
    }

    #[test]
    fn tags_are_compared_strongly_for_a_match_and_weakly_for_none() {
        let (seven, eight) = (Tag("7".to_owned()), Tag("8".to_owned()));
        let judge =
            |name: &HeaderName, value, tag| of(&[(name.clone(), value)]).unwrap().judge(tag);
        for (value, tag, expected) in [
            ("\"7\"", Some(&seven), Verdict::Holds),
            ("\"7\"", Some(&eight), Verdict::NotAsDemanded),
            ("\"6\" , \"7\",\"8,9\"", Some(&seven), Verdict::Holds),
            ("W/\"7\"", Some(&seven), Verdict::NotAsDemanded),
            ("\"7\"", None, Verdict::NotAsDemanded),
            ("*", Some(&eight), Verdict::Holds),
            ("*", None, Verdict::NotAsDemanded),
        ] {
            assert_eq!(judge(&header::IF_MATCH, value, tag), expected, "{value}");
        }
        for (value, tag, expected) in [
            ("\"7\"", Some(&seven), Verdict::AsKnown),
            ("W/\"7\"", Some(&seven), Verdict::AsKnown),
            ("\"7\"", Some(&eight), Verdict::Holds),
            ("*", Some(&eight), Verdict::AsKnown),
            ("*", None, Verdict::Holds),
        ] {
            assert_eq!(
                judge(&header::IF_NONE_MATCH, value, tag),
                expected,
                "{value}"
            );
        }
        assert!(of(&[]).unwrap().is_empty());
        let both = of(&[(header::IF_MATCH, "\"7\""), (header::IF_MATCH, "\"8\"")]).unwrap();
        assert_eq!(both.judge(Some(&eight)), Verdict::Holds);
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused_by_name() {
        for value in [
            "",
            "7",
            "\"7",
            "\"7\" \"8\"",
            "\"7\",",
            "w/\"7\"",
            "*, \"7\"",
            "\"a b\"",
        ] {
            let refused = of(&[(header::IF_MATCH, value)]).unwrap_err();
            assert_eq!(refused.kind(), Kind::InvalidOptions, "{value}");
            assert!(
                refused.to_json()["message"]
                    .to_string()
                    .contains("if-match")
            );
        }
        let twice = of(&[(header::IF_NONE_MATCH, "*"), (header::IF_NONE_MATCH, "*")]);
        assert!(twice.is_err());
    }
}
