//! Parses the text of each option into its value.

use std::net::{SocketAddr, ToSocketAddrs};

use http::Uri;
use tidings::{Entity as _, StalePolicy};
use tracing_subscriber::EnvFilter;

use super::{
    environment::RUST_LOG,
    limits,
    source::{Raw, Source},
    values::{
        AccessLog, AdminAddress, BuiltIn, Cluster, KeyForwarding, KeyNames, KeyStorage, LogFormat,
        Secret, UpstreamAddress,
    },
    wrong::{Parsed, Wrong, is_canonical, text},
};
use crate::{
    descriptors,
    entities::{Consumer, KeyAuthCredential},
};

/// Lets an option be left out.
pub(super) fn optional<T>(
    parse: impl FnOnce(&Raw) -> Parsed<T>,
) -> impl FnOnce(&Raw) -> Parsed<Option<T>> {
    |raw| {
        if raw.is_absent() {
            Ok(None)
        } else {
            parse(raw).map(Some)
        }
    }
}

pub(super) fn address(raw: &Raw) -> Parsed<SocketAddr> {
    let text = text(raw)?;
    let (host, port) = text.rsplit_once(':').ok_or(Wrong::NotAllowed)?;
    if host.is_empty() || !is_canonical(port) || port.parse::<u16>().is_err() {
        return Err(Wrong::NotAllowed);
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }

    let addresses = text
        .to_socket_addrs()
        .map_err(|error| Wrong::Because(format!("the host is not known ({error})")))?;

    // A name such as localhost may have several addresses; people mean the first IPv4 address.
    let addresses: Vec<SocketAddr> = addresses.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4());
    preferred
        .or(addresses.first())
        .copied()
        .ok_or(Wrong::NotAllowed)
}

pub(super) fn token(raw: &Raw) -> Parsed<Secret> {
    let text = text(raw)?;
    let fits = (1..=1024).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(Secret::new(text))
    } else {
        Err(Wrong::NotAllowed)
    }
}

pub(super) fn database(raw: &Raw) -> Parsed<String> {
    let text = text(raw)?;
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let checked = tidings::Store::check_url(text);
        return checked
            .map(|()| text.to_owned())
            .map_err(|error| Wrong::Because(error.to_string()));
    }

    match text.strip_prefix("sqlite:") {
        Some(":memory:") => Ok(text.to_owned()),
        Some(path) if path.len() > 2 && path.starts_with("//") => tidings::Store::check_url(text)
            .map(|()| text.to_owned())
            .map_err(|error| Wrong::Because(error.to_string())),
        _ => Err(Wrong::NotAllowed),
    }
}

pub(super) fn cluster(raw: &Raw) -> Parsed<Cluster> {
    let text = text(raw)?;
    #[cfg(not(all(feature = "nats", feature = "redis")))]
    let lacks = |feature: &str| {
        Err(Wrong::Because(format!(
            "this needs the cargo feature `{feature}`, which this program was built without"
        )))
    };
    let scheme = text.split_once("://").map_or(text, |(scheme, _)| scheme);

    match (text, scheme) {
        ("none", _) => Ok(Cluster::None),
        ("postgres", _) => Ok(Cluster::Postgres),
        ("sqlite", _) => Ok(Cluster::Sqlite),
        #[cfg(feature = "nats")]
        (_, "nats" | "tls") => Ok(Cluster::Nats(Secret::new(text))),
        #[cfg(feature = "redis")]
        (_, "redis") => Ok(Cluster::Redis(Secret::new(text))),
        #[cfg(not(feature = "nats"))]
        (_, "nats" | "tls") => lacks("nats"),
        #[cfg(not(feature = "redis"))]
        (_, "redis") => lacks("redis"),
        (_, "postgres" | "postgresql") => Err(Wrong::Because(
            "the cluster of a PostgreSQL database is in that database (--database)".to_owned(),
        )),
        _ => Err(Wrong::NotAllowed),
    }
}

pub(super) fn cluster_name(raw: &Raw) -> Parsed<String> {
    node_id(raw)
}

pub(super) fn workers(raw: &Raw) -> Parsed<usize> {
    number(raw, limits::MOST_WORKERS)
}

pub(super) fn audit_reads(raw: &Raw) -> Parsed<u32> {
    let text = text(raw)?;
    let reads = text.parse().ok().filter(|reads| *reads <= 1_000);
    reads
        .filter(|_| is_canonical(text))
        .ok_or(Wrong::NotAllowed)
}

pub(super) fn max_connections(raw: &Raw) -> Parsed<usize> {
    number(raw, descriptors::most_connections())
}

fn number(raw: &Raw, most: usize) -> Parsed<usize> {
    let text = text(raw)?;
    if !is_canonical(text) {
        return Err(Wrong::NotAllowed);
    }

    let number: usize = text.parse().map_err(|_| Wrong::NotAllowed)?;
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Wrong::NotAllowed)
    }
}

pub(super) fn upstream(raw: &Raw) -> Parsed<UpstreamAddress> {
    let (server, path) = server(raw, "an upstream over TLS")?;
    if path.is_empty() {
        Ok(server)
    } else {
        Err(Wrong::NotAllowed)
    }
}

/// Reads the address of a node's admin side.
pub(super) fn admin(raw: &Raw) -> Parsed<AdminAddress> {
    let (server, prefix) = server(raw, "an admin side over TLS")?;
    Ok(AdminAddress { server, prefix })
}

/// Reads a server and a path, without the slash at its end.
fn server(raw: &Raw, over_tls: &'static str) -> Parsed<(UpstreamAddress, String)> {
    let uri: Uri = text(raw)?.parse().map_err(|_| Wrong::NotAllowed)?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(Wrong::Later(over_tls)),
        _ => return Err(Wrong::NotAllowed),
    }

    let authority = uri.authority().ok_or(Wrong::NotAllowed)?;
    let is_bare = uri.query().is_none() && !authority.as_str().contains('@');
    if !is_bare || authority.host().is_empty() {
        return Err(Wrong::NotAllowed);
    }

    let port = match authority.port() {
        // To `http` a port out of range is no port, but the text has one.
        None if authority.as_str() != authority.host() => return Err(Wrong::NotAllowed),
        None => 80,
        Some(port) if !is_canonical(port.as_str()) => return Err(Wrong::NotAllowed),
        Some(port) if port.as_u16() == 0 => return Err(Wrong::NotAllowed),
        Some(port) => port.as_u16(),
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let server = UpstreamAddress {
        host: host.to_owned(),
        port,
        authority: authority.as_str().to_owned(),
    };
    Ok((server, uri.path().trim_end_matches('/').to_owned()))
}

pub(super) fn groups(raw: &Raw) -> Parsed<Vec<String>> {
    let mut groups = raw.as_items().ok_or(Wrong::NotAllowed)?;
    if groups.is_empty() || groups.iter().any(String::is_empty) {
        return Err(Wrong::NotAllowed);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// The entities that plugins look up by a key of the schema; the acl plugin caches groups in a form
/// of its own.
const WARMABLE: [&str; 2] = [Consumer::NAME, KeyAuthCredential::NAME];

pub(super) fn warm_up(raw: &Raw) -> Parsed<Vec<String>> {
    let items = raw.as_items().ok_or(Wrong::NotAllowed)?;
    if items == ["none"] {
        return Ok(Vec::new());
    }
    let known = |item: &String| WARMABLE.contains(&item.as_str());
    if items.is_empty() || !items.iter().all(known) {
        return Err(Wrong::NotAllowed);
    }
    Ok(items)
}

pub(super) fn plugins(raw: &Raw) -> Parsed<BuiltIn> {
    let items = raw.as_items().ok_or(Wrong::NotAllowed)?;
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let known = |item: &&str| matches!(*item, "key-auth" | "acl");

    match items.as_slice() {
        ["none"] => Ok(BuiltIn::None),
        [] if raw.list => Ok(BuiltIn::None),
        names if !names.iter().all(known) => Err(Wrong::NotAllowed),
        names if !names.contains(&"acl") => Ok(BuiltIn::KeyAuth),
        names if names.contains(&"key-auth") => Ok(BuiltIn::KeyAuthAndAcl),
        _ => Err(Wrong::Because(
            "acl without key-auth knows no consumer and would let no one pass".into(),
        )),
    }
}

pub(super) fn key_names(raw: &Raw) -> Parsed<KeyNames> {
    let items = raw.as_items().ok_or(Wrong::NotAllowed)?;
    if items.len() > 16 {
        return Err(Wrong::NotAllowed);
    }
    KeyNames::new(&items).ok_or(Wrong::NotAllowed)
}

pub(super) fn hide_credentials(raw: &Raw) -> Parsed<KeyForwarding> {
    match text(raw)? {
        "true" => Ok(KeyForwarding::Hidden),
        "false" => Ok(KeyForwarding::Forwarded),
        _ => Err(Wrong::NotAllowed),
    }
}

pub(super) fn hash_keys(raw: &Raw) -> Parsed<KeyStorage> {
    match text(raw)? {
        "true" => Ok(KeyStorage::Digest),
        "false" => Ok(KeyStorage::Plain),
        _ => Err(Wrong::NotAllowed),
    }
}

pub(super) fn node_id(raw: &Raw) -> Parsed<String> {
    let text = text(raw)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Wrong::NotAllowed)
    }
}

/// Reads a log filter. A bare word must be a level here: `--log loud` is a typing error, although
/// `RUST_LOG=loud` would mean "everything of the module loud".
pub(super) fn log_filter(raw: &Raw) -> Parsed<String> {
    if raw.source == Source::Variable(RUST_LOG.to_owned()) {
        return log_directives(raw);
    }

    let text = text(raw)?;
    let level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| word.eq_ignore_ascii_case(level))
    };
    let known = |item: &str| level(item) || item.contains(['=', '[']) || item.contains("::");
    if !text.split(',').all(|item| known(item.trim())) {
        return Err(Wrong::NotAllowed);
    }

    log_directives(raw)
}

fn log_directives(raw: &Raw) -> Parsed<String> {
    let text = text(raw)?;
    // The filter takes it for a target without any events, which silences the program.
    if text
        .split(',')
        .any(|directive| directive.trim_end().ends_with('='))
    {
        return Err(Wrong::Because("a level is missing after `=`".to_owned()));
    }

    EnvFilter::try_new(text).map_err(|error| Wrong::Because(error.to_string()))?;
    Ok(text.to_owned())
}

pub(super) fn stale_policy(raw: &Raw) -> Parsed<StalePolicy> {
    match text(raw)? {
        "load" => Ok(StalePolicy::Load),
        "refuse" => Ok(StalePolicy::Refuse),
        _ => Err(Wrong::NotAllowed),
    }
}

pub(super) fn log_format(raw: &Raw) -> Parsed<LogFormat> {
    match text(raw)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(Wrong::NotAllowed),
    }
}

pub(super) fn access_log(raw: &Raw) -> Parsed<AccessLog> {
    match text(raw)? {
        "off" => Ok(AccessLog::Off),
        "text" => Ok(AccessLog::Text),
        "json" => Ok(AccessLog::Json),
        _ => Err(Wrong::NotAllowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::text(text, Source::Default)
    }

    #[test]
    fn an_upstream_is_a_scheme_a_host_and_a_port() {
        let parsed = upstream(&raw("http://[::1]:9000/")).expect("an address");
        assert_eq!((parsed.host.as_str(), parsed.port), ("::1", 9000));
        assert_eq!(parsed.authority, "[::1]:9000");
        assert_eq!(upstream(&raw("http://a")).expect("an address").port, 80);
        for wrong in [
            "a:80",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "ftp://a",
            "http://a:0",
            "http://a:99999",
            "http://a:080",
        ] {
            assert!(upstream(&raw(wrong)).is_err(), "{wrong}");
        }
        assert!(matches!(upstream(&raw("https://a")), Err(Wrong::Later(_))));
    }

    #[test]
    fn an_admin_side_may_be_below_a_path() {
        let parsed = admin(&raw("http://a:8001/tidings/")).expect("an address");
        assert_eq!(parsed.server.port, 8001);
        assert_eq!(parsed.prefix, "/tidings");
        assert_eq!(parsed.to_string(), "http://a:8001/tidings");
        assert!(admin(&raw("http://a:8001/?x")).is_err());
    }

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(workers(&raw("7")), Ok(7));
        for wrong in ["007", "+7", "7 ", " 7", "0x7", "7_0", "", "0"] {
            assert!(workers(&raw(wrong)).is_err(), "{wrong:?}");
        }
        assert!(address(&raw("127.0.0.1:0")).is_ok());
        for wrong in ["127.0.0.1:08000", "127.0.0.1:+80", "localhost:+80"] {
            assert!(address(&raw(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_bare_word_that_is_no_level_is_refused_as_log_filter() {
        assert!(log_filter(&raw("loud")).is_err());
        assert!(log_directives(&raw("hyper=loud")).is_err());
        assert!(log_directives(&raw("hyper=")).is_err());
        assert!(log_filter(&raw("warn,tidings_cache=debug")).is_ok());
        assert!(log_directives(&raw("hyper")).is_ok());
        assert!(log_directives(&raw("hyper=loud")).is_err());
    }
}
