//! Percent-decoding of paths, queries and forms, strict about UTF-8 and NUL.
//!
//! The well-known decoders replace bytes that are not UTF-8, so that two different names could read
//! the same; here such input is refused.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// Every character that is escaped in a query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why text cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("a percent sign must be followed by two hexadecimal digits")]
    Escape,
    #[error("expected UTF-8")]
    Utf8,
    #[error("NUL is not allowed here")]
    Nul,
}

/// Returns the segments of a path, decoded one by one, so that `%2F` does not separate two of them.
/// One trailing slash is ignored; `None` where a segment is empty; `/` has none.
pub(crate) fn segments(path: &str) -> Result<Option<Vec<String>>, DecodeError> {
    if matches!(path, "" | "/") {
        return Ok(Some(Vec::new()));
    }

    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);

    let mut segments = Vec::new();
    for segment in path.split('/') {
        if segment.is_empty() {
            return Ok(None);
        }
        segments.push(decoded(segment.as_bytes())?);
    }
    Ok(Some(segments))
}

/// Returns the `name=value` pairs of a form, in order. A name without `=` has an empty value.
pub(crate) fn pairs(input: &[u8]) -> Result<Vec<(String, String)>, DecodeError> {
    split_pairs(input)
        .map(|(name, value)| Ok((unplussed(name)?, unplussed(value)?)))
        .collect()
}

/// One argument of a query: its name, and its value if that can be decoded.
pub(crate) type Argument = (String, Result<String, DecodeError>);

/// Returns the arguments of a query, in order. A value that cannot be decoded is an error only for
/// what reads it; an undecodable name is kept raw and matches nothing.
pub(crate) fn arguments(query: &str) -> Vec<Argument> {
    let argument = |(name, value): (&[u8], &[u8])| {
        let raw = || String::from_utf8_lossy(name).into_owned();
        (unplussed(name).unwrap_or_else(|_| raw()), unplussed(value))
    };
    split_pairs(query.as_bytes()).map(argument).collect()
}

fn split_pairs(input: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    input
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        })
}

/// Decodes text that may have pluses for spaces.
fn unplussed(text: &[u8]) -> Result<String, DecodeError> {
    if !text.contains(&b'+') {
        return decoded(text);
    }
    let spaces = |&byte: &u8| if byte == b'+' { b' ' } else { byte };
    decoded(&text.iter().map(spaces).collect::<Vec<_>>())
}

/// Escapes text as the value of a query argument.
pub(crate) fn query_escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

fn decoded(text: &[u8]) -> Result<String, DecodeError> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let digits = rest.get(at + 1..at + 3).ok_or(DecodeError::Escape)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(DecodeError::Escape);
        }
        rest = &rest[at + 3..];
    }

    let bytes: Vec<u8> = percent_decode(text).collect();
    if bytes.contains(&0) {
        return Err(DecodeError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| DecodeError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> Vec<String> {
        segments(path).unwrap().unwrap()
    }

    #[test]
    fn an_encoded_slash_parts_nothing() {
        assert_eq!(split("/consumers/a%2Fb"), ["consumers", "a/b"]);
        assert_eq!(split("/consumers/%C3%A9%25"), ["consumers", "é%"]);
        assert_eq!(split("/consumers/a+b"), ["consumers", "a+b"]);
    }

    #[test]
    fn one_trailing_slash_is_ignored_and_empty_segments_are_not() {
        assert_eq!(split("/consumers/"), ["consumers"]);
        assert!(split("/").is_empty());
        for path in ["//", "/consumers//", "//consumers", "/consumers//acls"] {
            assert_eq!(segments(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn what_is_not_utf8_or_not_an_escape_is_refused() {
        assert_eq!(segments("/consumers/%FF"), Err(DecodeError::Utf8));
        assert_eq!(segments("/consumers/a%00b"), Err(DecodeError::Nul));
        for path in ["/%", "/%4", "/%zz", "/a%2"] {
            assert_eq!(segments(path), Err(DecodeError::Escape), "{path}");
        }
        assert_eq!(pairs(b"a=%FF"), Err(DecodeError::Utf8));
        assert_eq!(pairs(b"a=\xff"), Err(DecodeError::Utf8));
        assert_eq!(pairs(b"%g=1"), Err(DecodeError::Escape));
    }

    #[test]
    fn pairs_keep_order_and_repetition() {
        let expected = [("a", "1"), ("b[]", "x y"), ("a", "="), ("c", ""), ("", "z")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(b"a=1&b%5B%5D=x+y&&a=%3D&c&=z").unwrap(), expected);
        assert_eq!(pairs(b"").unwrap(), []);
    }

    #[test]
    fn an_argument_that_cannot_be_decoded_spoils_no_other() {
        let read = arguments("a=1&%FF=2&b=%00&c=%zz&d=x+y");
        let name = |name: &str| name.to_owned();
        let expected = [
            (name("a"), Ok(name("1"))),
            (name("%FF"), Ok(name("2"))),
            (name("b"), Err(DecodeError::Nul)),
            (name("c"), Err(DecodeError::Escape)),
            (name("d"), Ok(name("x y"))),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn escaped_text_decodes_to_itself() {
        let text = "a/b,c&d=e é%+~";
        let pair = format!("x={}", query_escaped(text));
        assert_eq!(pairs(pair.as_bytes()).unwrap()[0].1, text);
    }
}
