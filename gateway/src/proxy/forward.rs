//! The headers of a request and of an answer as a proxy forwards them.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use hyper::body::Body;

use super::{Peer, client_body::ClientBody};
use crate::plugin::response;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Which kinds of special headers a request has, found by one walk over the names: most requests
/// have none, and one search for each special name costs more than the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    /// Some are about the connection.
    pub(super) hop_by_hop: bool,
    /// Some have a name that only the gateway may use, or one that is read as such a name.
    pub(super) forged: bool,
}

impl Kinds {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut kinds = Self {
            hop_by_hop: false,
            forged: false,
        };
        for name in headers.keys() {
            kinds.hop_by_hop |= is_hop_by_hop(name);
            kinds.forged |= is_forged(name.as_str());
        }
        kinds
    }
}

/// Returns whether a header is about one connection and not about the message.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Drops the headers that are about one connection, including those that `Connection` names.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }

    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            // Host is the message's own, and so is its length; a client has no business naming
            // them.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
            .collect();

        for name in named {
            headers.remove(name);
        }
    }

    let names = headers.keys().filter(|name| is_hop_by_hop(name));
    for name in names.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// The prefixes of the names that only the gateway may use, without the `x-`.
const OURS_BEGIN: [&[u8]; 4] = [b"consumer-", b"credential-", b"authenticated-", b"tidings-"];
/// The names, without the `x-`, that only the gateway may use.
const OURS: [&[u8]; 2] = [b"api-key", b"anonymous-consumer"];
/// The names that the gateway sets itself whatever the client sends. They are dropped only in other
/// spellings that are read as these.
const SET: [&[u8]; 5] = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"content-length",
    b"transfer-encoding",
];

/// Drops the headers that only the gateway may set, in every spelling that an upstream may read as
/// one of them.
///
/// CGI and its successors (WSGI, Rack, PHP) turn names into variables by replacing `-` with `_`.
/// Some replace every character that is neither a letter nor a digit: there `X_Consumer.ID` and
/// `X-Consumer-ID` are the same.
///
/// Returns the dropped headers, if there were any: an API key may be expected under such a name.
pub(super) fn drop_forged(headers: &mut HeaderMap) -> Option<HeaderMap> {
    if !headers.keys().any(|name| is_forged(name.as_str())) {
        return None;
    }

    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_forged(name.as_str()))
        .cloned()
        .collect();
    let mut said = HeaderMap::new();
    for name in forged {
        for value in headers.get_all(&name) {
            said.append(name.clone(), value.clone());
        }
        headers.remove(name);
    }

    Some(said)
}

/// Returns whether a name, in lower case, is reserved for the gateway or is read as one that is.
fn is_forged(name: &str) -> bool {
    let name = name.as_bytes();
    if let [b'x', separator, rest @ ..] = name
        && !separator.is_ascii_alphanumeric()
    {
        let begins = |ours: &&[u8]| {
            rest.get(..ours.len())
                .is_some_and(|start| is_read_as(start, ours))
        };
        if OURS_BEGIN.iter().any(begins) || OURS.iter().any(|ours| is_read_as(rest, ours)) {
            return true;
        }
    }

    SET.iter()
        .any(|ours| name != *ours && is_read_as(name, ours))
}

/// Returns whether a name is read as another if any character but letters and digits counts as a
/// dash.
fn is_read_as(name: &[u8], other: &[u8]) -> bool {
    let same = |(&a, &b): (&u8, &u8)| a == b || (b == b'-' && !a.is_ascii_alphanumeric());
    name.len() == other.len() && name.iter().zip(other).all(same)
}

/// Sets how the body of a request is delimited: the HTTP client takes a GET or HEAD of unknown
/// length to have none.
pub(super) fn set_framing(headers: &mut HeaderMap, body: &ClientBody) {
    if body.is_empty() || body.size_hint().exact().is_some() {
        return;
    }
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(
        header::TRANSFER_ENCODING,
        HeaderValue::from_static("chunked"),
    );
}

/// Drops a length that does not count because the answer is chunked (RFC 9112, 6.3). Once the
/// coding is undone, it would count.
pub(super) fn drop_framing(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// Returns whether a transfer coding besides chunked, which the HTTP client undoes, has changed the
/// body of a message.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .any(|coding| {
            !coding
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"chunked")
        })
}

/// Adds the X-Forwarded-* headers. The addresses of earlier proxies stay in front of the peer's;
/// proto and host are what this proxy has seen, whatever the client claims.
pub(super) fn add_forwarded(head: &mut Parts, peer: &Peer) {
    // With a target in absolute form, its authority counts and the Host header does not.
    let host = match head.uri.authority() {
        Some(authority) => Some(response::plain_value(authority.as_str())),
        None => head.headers.get(header::HOST).cloned(),
    };

    let headers = &mut head.headers;
    let mut earlier = headers.get_all(FORWARDED_FOR).iter().peekable();
    let chain = if earlier.peek().is_some() {
        let mut chain = Vec::new();
        for value in earlier {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(peer.header().as_bytes());
        // Made of header values and an address: always valid.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).ok()
    } else {
        None
    };

    headers.insert(
        FORWARDED_FOR,
        chain.unwrap_or_else(|| peer.header().clone()),
    );
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));

    match host {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_connection_names_is_dropped_except_host_and_length() {
        let mut map = headers(&[
            ("connection", "close, X-Private,host"),
            ("connection", "content-length, bad name"),
            ("x-private", "1"),
            ("x-private", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("host", "a"),
            ("content-length", "3"),
            ("x-public", "1"),
        ]);
        drop_hop_by_hop(&mut map);
        assert_eq!(
            map,
            headers(&[("host", "a"), ("content-length", "3"), ("x-public", "1")])
        );
    }

    #[test]
    fn a_name_of_ours_is_forged_in_every_spelling_and_others_pass() {
        for forged in [
            "x-consumer-id",
            "x_consumer_custom_id",
            "x-consumer_groups",
            "x.consumer.username",
            "x!credential~identifier",
            "x-api_key",
            "x_api_key",
            "x-authenticated-userid",
            "x_authenticated_scope",
            "x-anonymous-consumer",
            "x_anonymous_consumer",
            "x-tidings-after",
            "x_tidings_after",
            "x-tidings_node",
            "x_forwarded_for",
            "x-forwarded_host",
            "content_length",
            "transfer_encoding",
        ] {
            assert!(is_forged(forged), "{forged}");
        }
        for own in [
            "x-consumers",
            "x-consumer",
            "x-api-keys",
            "xx-api-key",
            "xaconsumer-id",
            "x-my-consumer-id",
            "x-forwarded-for",
            "content-length",
            "apikey",
            "x_request_id",
        ] {
            assert!(!is_forged(own), "{own}");
        }
    }

    #[test]
    fn the_chain_of_proxies_grows_and_claims_are_replaced() {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.headers = headers(&[
            ("host", "good"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
        ]);
        let peer = Peer::new([127, 0, 0, 1].into());
        add_forwarded(&mut head, &peer);
        let expected = headers(&[
            ("host", "good"),
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "good"),
        ]);
        assert_eq!(head.headers, expected);
    }
}
