//! The headers of a request and of an answer as a proxy passes them on.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::Peer;
use crate::plugin::response;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers that speak of one connection and not of the message.
const HOP_BY_HOP: [HeaderName; 8] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Drops what speaks of one connection, also what `Connection` names.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            // Host is the message's own, and so is its length; a client has no business naming them.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Says for whom the request is passed on. The addresses of earlier proxies stay in front of the peer's; proto
/// and host are what this proxy has seen, whatever the client claims.
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
