//! Guards against requests that a browser was tricked into: checks the name to which a request was
//! sent, and the page that it comes from.
//!
//! An API on a loopback address has no token, so every program on the machine may use it, a browser
//! too. A page of another site can have its visitor's browser send requests here (they carry
//! `Origin` and `Sec-Fetch-Site`), or give its own name this machine's address and read the answers
//! too (DNS rebinding: `Host` is then that name).

use std::net::IpAddr;

use http::{HeaderMap, Method, Version, header, request::Parts, uri::Authority};

use crate::{
    AdminOptions,
    problem::{Kind, Problem},
};

/// Refuses a request that was sent to a foreign name or comes from a foreign page.
pub(crate) fn check(options: &AdminOptions, parts: &Parts) -> Result<(), Problem> {
    let addressed = authority(parts)?;
    if options.token.is_none()
        && let Some(authority) = &addressed
        && !is_ours(authority.host(), &options.hosts)
    {
        let message = format!(
            "without a token this API answers only to loopback names, not to {:?}",
            authority.host()
        );
        return Err(Problem::new(Kind::ForeignHost, message));
    }

    refuse_other_pages(&parts.method, &parts.headers, addressed.as_ref())
}

/// Returns the host and port that a request was sent to: of its target, or else of its one `Host`
/// header. Only HTTP/1.0 may name none (RFC 9112, 3.2).
fn authority(parts: &Parts) -> Result<Option<Authority>, Problem> {
    let invalid = |message: &str| Err(Problem::new(Kind::InvalidHost, message));
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return invalid("Host is given twice"),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if !host.as_bytes().contains(&b'@') => Some(authority),
            _ => return invalid("Host is not a name or an address with a port"),
        },
        (None, _) => None,
    };

    match parts.uri.authority().cloned().or(named) {
        None if parts.version == Version::HTTP_11 => invalid("Host is missing"),
        authority => Ok(authority),
    }
}

/// Returns whether a host is this machine, as seen from itself, or one of the names that the API
/// was given.
fn is_ours(host: &str, names: &[String]) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
        return address.to_canonical().is_loopback() || names.iter().any(|name| name == host);
    }

    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

/// Refuses what a browser sends for a page that is not this API's own. Other clients send neither
/// header.
fn refuse_other_pages(
    method: &Method,
    headers: &HeaderMap,
    addressed: Option<&Authority>,
) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let is_write = !method.is_safe();
    let is_foreign = match site {
        Some(b"cross-site") => true,
        Some(b"same-site") => is_write,
        _ => {
            is_write
                && !headers
                    .get_all(header::ORIGIN)
                    .iter()
                    .all(|origin| is_own(origin.as_bytes(), addressed))
        }
    };

    if is_foreign {
        let message = "this API accepts no requests from pages of other sites";
        return Err(Problem::new(Kind::CrossSite, message));
    }
    Ok(())
}

/// Returns whether an origin is that of the address that the request was sent to.
fn is_own(origin: &[u8], addressed: Option<&Authority>) -> bool {
    let Ok(origin) = http::Uri::try_from(origin) else {
        return false;
    };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };

    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    let (Some(origin), Some(addressed)) = (origin.authority(), addressed) else {
        return false;
    };
    origin.host().eq_ignore_ascii_case(addressed.host()) && port(origin) == port(addressed)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn kind(
        options: &AdminOptions,
        method: &str,
        headers: &[(&'static str, &str)],
    ) -> Option<Kind> {
        let mut request = Request::builder().method(method).uri("/consumers");
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(options, &parts).err().map(|problem| problem.kind())
    }

    #[test]
    fn without_a_token_only_loopback_names_are_answered() {
        let options = AdminOptions::new().host("gateway.internal");
        let ours = [
            "localhost",
            "LOCALHOST:8001",
            "localhost.:1",
            "a.localhost",
            "127.0.0.1:8001",
            "127.9.9.9",
            "[::1]:8001",
            "[::ffff:127.0.0.1]",
            "gateway.internal:8001",
            "Gateway.Internal",
        ];
        for host in ours {
            assert_eq!(kind(&options, "GET", &[("host", host)]), None, "{host}");
        }
        let foreign = [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "10.0.0.1",
            "[2001:db8::1]:8001",
            "0.0.0.0",
            "127.1",
            "2130706433",
        ];
        for host in foreign {
            let refused = kind(&options, "GET", &[("host", host)]);
            assert_eq!(refused, Some(Kind::ForeignHost), "{host}");
            let with_token = AdminOptions::new().token("s3cret");
            assert_eq!(kind(&with_token, "GET", &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn a_host_is_named_once_and_well() {
        let options = AdminOptions::new();
        let wrong: [&[(&str, &str)]; 5] = [
            &[],
            &[("host", "localhost"), ("host", "localhost")],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "evil@localhost")],
        ];
        for headers in wrong {
            assert_eq!(
                kind(&options, "GET", headers),
                Some(Kind::InvalidHost),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn only_the_apis_own_pages_write() {
        let options = AdminOptions::new();
        let with = |method: &str, name: &'static str, value: &str| {
            kind(
                &options,
                method,
                &[("host", "localhost:8001"), (name, value)],
            )
        };
        for own in ["http://localhost:8001", "https://LOCALHOST:8001"] {
            assert_eq!(with("POST", "origin", own), None, "{own}");
        }
        for other in [
            "http://localhost:3000",
            "http://localhost",
            "http://127.0.0.1:8001",
            "https://evil.example",
            "null",
            "",
            "file://localhost:8001",
            "localhost:8001",
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(
                    with(method, "origin", other),
                    Some(Kind::CrossSite),
                    "{method} {other}"
                );
            }
            assert_eq!(with("GET", "origin", other), None, "{other}");
        }
        assert_eq!(with("POST", "sec-fetch-site", "same-origin"), None);
        assert_eq!(
            with("POST", "sec-fetch-site", "same-site"),
            Some(Kind::CrossSite)
        );
        assert_eq!(with("GET", "sec-fetch-site", "same-site"), None);
        assert_eq!(
            with("GET", "sec-fetch-site", "cross-site"),
            Some(Kind::CrossSite)
        );
    }
}
