//! The key of a request: a header or a query argument of one of the names that may carry it.

use std::borrow::Cow;

use http::{HeaderMap, Uri, request::Parts};
use percent_encoding::percent_decode;

use crate::settings::KeyNames;

/// The key or keys of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ApiKey<'a> {
    /// No key, or only empty ones.
    Missing,
    /// One key.
    One(Cow<'a, [u8]>),
    /// More than one key, even if they are equal.
    Several,
}

/// Finds the key in the headers and the query. A key may come under a name that only the gateway
/// may use towards the upstream, such as `X-API-Key`: then it is among the client's claims.
pub(super) fn api_key<'a>(
    head: &'a Parts,
    claims: Option<&'a HeaderMap>,
    names: &KeyNames,
) -> ApiKey<'a> {
    let mut found = ApiKey::Missing;
    for name in names.iter() {
        let claimed = claims.map(|claims| claims.get_all(&name.header));
        let claimed = claimed.into_iter().flatten();

        for value in head
            .headers
            .get_all(&name.header)
            .into_iter()
            .chain(claimed)
        {
            found.add(Cow::Borrowed(value.as_bytes()));
        }
    }

    if let Some(query) = head.uri.query() {
        for argument in query.split('&') {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            if is_key(name, names) {
                found.add(decoded(value));
            }
        }
    }

    found
}

/// Finds the key, and removes everything that may carry one. Both use the same names, since a
/// reload may change them right after.
pub(super) fn take_api_key(
    head: &mut Parts,
    claims: Option<&HeaderMap>,
    names: &KeyNames,
) -> ApiKey<'static> {
    let key = match api_key(head, claims, names) {
        ApiKey::Missing => ApiKey::Missing,
        ApiKey::One(key) => ApiKey::One(Cow::Owned(key.into_owned())),
        ApiKey::Several => ApiKey::Several,
    };
    remove_api_key(head, names);
    key
}

/// Removes everything that may carry a key from the headers and the query.
fn remove_api_key(head: &mut Parts, names: &KeyNames) {
    for name in names.iter() {
        head.headers.remove(&name.header);
    }

    let carries = |argument: &str| {
        let name = argument.split_once('=').map_or(argument, |(name, _)| name);
        is_key(name, names)
    };
    let Some(query) = head
        .uri
        .query()
        .filter(|query| query.split('&').any(carries))
    else {
        return;
    };

    let kept: Vec<&str> = query
        .split('&')
        .filter(|argument| !carries(argument))
        .collect();
    let target = match kept.as_slice() {
        [] => head.uri.path().to_owned(),
        kept => format!("{}?{}", head.uri.path(), kept.join("&")),
    };
    let mut parts = head.uri.clone().into_parts();

    // Parts of a target that was valid make a target that is valid.
    parts.path_and_query = target.parse().ok();
    head.uri = Uri::from_parts(parts).unwrap_or_default();
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

fn is_key(argument: &str, names: &KeyNames) -> bool {
    names.iter().any(|name| {
        *argument == *name.argument
            || (argument.contains(['%', '+']) && *decoded(argument) == *name.argument.as_bytes())
    })
}

/// Returns a part of a query without its escapes; `+` is a space there.
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

    fn names(names: &[&str]) -> KeyNames {
        KeyNames::new(names).expect("names")
    }

    fn key(uri: &str, headers: &[&str]) -> String {
        let mut request = Request::get(uri);
        for value in headers {
            request = request.header("apikey", *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        match api_key(&head, None, &names(&["apikey"])) {
            ApiKey::Missing => "missing".to_owned(),
            ApiKey::Several => "several".to_owned(),
            ApiKey::One(key) => String::from_utf8_lossy(&key).into_owned(),
        }
    }

    #[test]
    fn the_key_is_in_the_header_or_the_query() {
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

    #[test]
    fn any_of_the_names_may_carry_the_key_and_is_removed() {
        let names = names(&["X-Token", "apikey"]);
        let request = Request::get("http://h/a?x=1&X-Token=k&%58-Token=k&x-token=kept&apikey")
            .header("x-token", "k")
            .header("apikey", "")
            .header("other", "1");
        let (mut head, ()) = request.body(()).expect("a request").into_parts();
        assert_eq!(api_key(&head, None, &names), ApiKey::Several);
        remove_api_key(&mut head, &names);
        assert_eq!(head.uri, "http://h/a?x=1&x-token=kept");
        assert_eq!(head.headers.len(), 1);

        let request = Request::get("/a?apikey=k").body(());
        let (mut head, ()) = request.expect("a request").into_parts();
        remove_api_key(&mut head, &names);
        assert_eq!(head.uri, "/a");
    }
}
