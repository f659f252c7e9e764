//! The key of a request: its header or its query argument `apikey`.

use std::borrow::Cow;

use http::{HeaderName, request::Parts};
use percent_encoding::percent_decode;

pub(super) const APIKEY: HeaderName = HeaderName::from_static("apikey");

/// What a request says of its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ApiKey<'a> {
    /// Nothing, or nothing but empty ones.
    Missing,
    /// This.
    One(Cow<'a, [u8]>),
    /// More than one thing, be they the same.
    Several,
}

/// Looks for the key in the headers and the query.
pub(super) fn api_key(head: &Parts) -> ApiKey<'_> {
    let mut found = ApiKey::Missing;
    for value in head.headers.get_all(APIKEY) {
        found.add(Cow::Borrowed(value.as_bytes()));
    }
    if let Some(query) = head.uri.query() {
        for argument in query.split('&') {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            if is_apikey(name) {
                found.add(decoded(value));
            }
        }
    }
    found
}

impl<'a> ApiKey<'a> {
    fn add(&mut self, key: Cow<'a, [u8]>) {
        if !key.is_empty() {
            *self = if *self == Self::Missing {
                Self::One(key)
            } else {
                Self::Several
            };
        }
    }
}

fn is_apikey(name: &str) -> bool {
    name == "apikey" || (name.contains('%') && *decoded(name) == *b"apikey")
}

/// A part of a query without its escapes; `+` is a space there.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn key(uri: &str, headers: &[&str]) -> String {
        let mut request = Request::get(uri);
        for value in headers {
            request = request.header(APIKEY, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        match api_key(&head) {
            ApiKey::Missing => "missing".to_owned(),
            ApiKey::Several => "several".to_owned(),
            ApiKey::One(key) => String::from_utf8_lossy(&key).into_owned(),
        }
    }

    #[test]
    fn the_key_stands_in_the_header_or_the_query() {
        assert_eq!(key("/", &["abc"]), "abc");
        assert_eq!(key("/?x=1&apikey=abc&y", &[]), "abc");
        assert_eq!(key("/", &[]), "missing");
        assert_eq!(key("/?apikeys=abc&my=apikey", &[]), "missing");
    }

    #[test]
    fn the_query_is_decoded() {
        assert_eq!(key("/?apikey=a%2Bb+c%26", &[]), "a+b c&");
        assert_eq!(key("/?%61pikey=abc", &[]), "abc");
        assert_eq!(key("/?apikey=%zz", &[]), "%zz");
    }

    #[test]
    fn an_empty_key_is_no_key() {
        assert_eq!(key("/?apikey=&apikey", &[""]), "missing");
        assert_eq!(key("/?apikey=", &["abc"]), "abc");
    }

    #[test]
    fn more_than_one_key_is_several_even_if_they_are_the_same() {
        assert_eq!(key("/", &["abc", "abc"]), "several");
        assert_eq!(key("/?apikey=a&apikey=b", &[]), "several");
        assert_eq!(key("/?apikey=a", &["a"]), "several");
    }
}
