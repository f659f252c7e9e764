//! The options: each is one row here, from which its field, flag, variable, key and help are made.
//!
//! To add an option, add a row. The text above it is the documentation of the field and the help of
//! the flag; then come the field and its type, the parser, and what else there is to say.

use std::{net::SocketAddr, time::Duration};

use tidings::StalePolicy;

use super::{
    layers::Layers,
    limits, parse,
    row::{Change, Row, Secrecy, dashed},
    units,
    values::{
        AccessLog, BuiltIn, Cluster, KeyForwarding, KeyNames, KeyStorage, LogFormat, Secret,
        UpstreamAddress,
    },
};

/// The name of an option, from that of its field.
macro_rules! name {
    ($field:ident) => {{
        const BYTES: [u8; stringify!($field).len()] = dashed(stringify!($field));
        match std::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => panic!("a field's name is text"),
        }
    }};
}

macro_rules! options {
    (
        $(#[$meta:meta])*
        $Struct:ident, $TABLE:ident $(, $inner:ident: $Inner:ident)?:
        $( $(#[doc = $doc:literal])+ $field:ident: $Type:ty = $parse:expr, $row:expr; )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Struct {
            $( $(#[doc = $doc])+ pub $field: $Type, )*
            $(
                /// Those that belong together.
                pub $inner: $Inner,
            )?
        }

        const $TABLE: &[Row] = &[$( ($row).named(name!($field), concat!($($doc),+)), )*];

        impl $Struct {
            /// Reads every row, so that every fault is found, and gives up only then.
            pub(super) fn take(layers: &mut Layers<'_>) -> Option<Self> {
                $( let $field = layers.take(name!($field), $parse); )*
                $( let $inner = $Inner::take(layers); )?
                Some(Self { $( $field: $field?, )* $( $inner: $inner?, )? })
            }

            /// Returns the names of the options that differ and that a reload cannot apply.
            pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $( if self.$field != other.$field && ($row).change == Change::AtStart {
                    names.push(name!($field));
                } )*
                $( names.extend(self.$inner.fixed_differences(&other.$inner)); )?
                names
            }
        }
    };
}

const ADDRESS: &str =
    "a host and a port, as 127.0.0.1:8000, [::1]:8000 or localhost:8000; port 0 picks a free one";

options! {
    /// Everything that can be set. See `tidings --help` for the meaning of each.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_gateway::{Environment, Settings};
    ///
    /// let settings = Settings::resolve(["tidings", "--workers", "3"], &Environment::empty())?;
    /// assert_eq!(settings.workers, 3);
    /// assert_eq!(settings.proxy_listen.port(), 8000);
    /// # Ok::<(), tidings_gateway::SettingsError>(())
    /// ```
    Settings, COMMON, limits: Limits:

    /// Where clients connect.
    proxy_listen: SocketAddr = parse::address,
        Row::new("ADDRESS", ADDRESS).or("127.0.0.1:8000");

    /// Where the admin API listens; off loopback it demands `--admin-token`.
    admin_listen: SocketAddr = parse::address,
        Row::new("ADDRESS", ADDRESS).or("127.0.0.1:8001");

    /// Where `/livez`, `/readyz` and `/metrics` are served without a token.
    status_listen: Option<SocketAddr> = parse::optional(parse::address),
        Row::new("ADDRESS", ADDRESS).unset("off");

    /// What the admin API asks for, as `Authorization: Bearer SECRET`.
    admin_token: Option<Secret> = parse::optional(parse::token),
        Row::new("SECRET", "1 to 1024 visible ASCII characters without spaces")
            .unset("no token; needs a loopback address")
            .secrecy(Secrecy::Secret);

    /// Where entities are stored: a SQLite file, made if absent, `sqlite::memory:`, or a database
    /// of PostgreSQL.
    database: String = parse::database,
        Row::new("URL", "sqlite://PATH, sqlite::memory: or postgres://HOST/DATABASE")
            .or("sqlite://tidings.db")
            .secrecy(Secrecy::Masked);

    /// How nodes hear of each other's changes: by the log in their PostgreSQL database, by the one
    /// in the SQLite file that several processes of a host share, or not at all, and then there is
    /// one node alone. A broker, NATS or Redis, wakes the nodes in place of the PostgreSQL database
    /// (cargo features `nats` and `redis`).
    cluster: Option<Cluster> = parse::optional(parse::cluster),
        Row::new("ENGINE", "postgres, nats://HOST:PORT or redis://HOST:PORT (with --database postgres://..), sqlite (with --database sqlite://PATH) or none")
            .unset("postgres with a database of PostgreSQL, none with SQLite")
            .secrecy(Secrecy::Masked);

    /// What the cluster is called in `/cluster` and on a broker; the cluster itself is the
    /// database.
    cluster_name: String = parse::cluster_name,
        Row::new("NAME", "1 to 64 letters, digits, dots, dashes and underscores").or("tidings");

    /// How long the log of a database keeps records; a node that is cut off for longer
    /// purges its cache.
    cluster_retention: Duration = units::retention,
        Row::new("DURATION", "a duration from 10s to 30d, as 30m or 1h").or("1h");

    /// How often the log is read when nothing has woken the node: how long another program's write
    /// may stay unnoticed.
    cluster_poll: Duration = units::poll,
        Row::new("DURATION", "a duration from 1ms to 1m, as 100ms").or("100ms");

    /// How many workers there are, each one thread with its own event loop and L1.
    workers: usize = parse::workers,
        Row::new("N", "").stated(limits::workers_allowed)
            .computed(limits::cores, "the number of cores, capped at the most a node supports");

    /// Where requests are passed on to.
    upstream: Option<UpstreamAddress> = parse::optional(parse::upstream),
        Row::new("URL", "http://HOST or http://HOST:PORT, without a path")
            .unset("a built-in echo that answers 200 with the request as JSON");

    /// The byte budget of the node's cache.
    cache_size: u64 = units::cache_size,
        Row::new("SIZE", "").stated(limits::cache_size_allowed).or("128m");

    /// How long a cached row lives; 0 for as long as it is not invalidated.
    ttl: Option<Duration> = units::lifetime,
        Row::new("DURATION", "").stated(limits::lifetime_allowed).or("0");

    /// How long a cached absence lives; 0 for as long as it is not invalidated.
    neg_ttl: Option<Duration> = units::lifetime,
        Row::new("DURATION", "").stated(limits::lifetime_allowed).or("0");

    /// How long a node serves what it holds without a proof that it hears of every change; 0 for no
    /// bound. Without a cluster a node on SQLite is always current, and this changes nothing.
    max_staleness: Option<Duration> = units::staleness,
        Row::new("DURATION", "0, or a duration from 50ms up to --cluster-retention").or("0");

    /// What a request gets once what the cache holds for it is older than `--max-staleness` and
    /// nothing is proven: `load` asks the database, once for requests at the same time; `refuse`
    /// answers 503 and does not, for a miss either.
    stale_policy: StalePolicy = parse::stale_policy, Row::new("POLICY", "load or refuse").or("load");

    /// How many rows are read in a second to compare what is cached with the database, in the
    /// background; 0 for none. What is found is in `/metrics`, `tidings_audit_*`.
    audit_reads: u32 = parse::audit_reads, Row::new("N", "0 to 1000").or("0");

    /// How long a request with `X-Tidings-After` waits until this node has applied the write that
    /// it names; beyond it 503.
    after_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("1s");

    /// The names of headers and query arguments that may carry the API key, separated by commas.
    key_names: KeyNames = parse::key_names,
        Row::new("A,B", "1 to 16 names that a header may have, separated by commas").or("apikey").in_flight();

    /// Keeps the API key from the upstream: header, query argument and `X-API-Key` are removed.
    hide_credentials: KeyForwarding = parse::hide_credentials, Row::switch();

    /// Keeps a digest in place of each key, and replaces those that are stored as they are; a key
    /// is shown once, when it is set. For all nodes of a database alike.
    hash_keys: KeyStorage = parse::hash_keys, Row::switch();

    /// The groups whose consumers pass the acl plugin, separated by commas.
    allow_groups: Option<Vec<String>> = parse::optional(parse::groups),
        Row::new("A,B", "one group or more, separated by commas; none for everyone with a key")
            .unset("everyone with a key").in_flight();

    /// The entities to read into the cache before the first request.
    warm_up: Vec<String> = parse::warm_up,
        Row::new("A,B", "consumers, keyauth_credentials, or both, separated by commas, or none").or("none");

    /// The plugins to run, separated by commas, or none.
    plugins: BuiltIn = parse::plugins,
        Row::new("A,B", "key-auth, acl (which needs key-auth), or none").or("key-auth,acl");

    /// The name of this node, which no other node of its database has.
    node_id: Option<String> = parse::optional(parse::node_id),
        Row::new("ID", "1 to 64 letters, digits, dots, dashes and underscores").unset("a new one at each start");

    /// Which log lines are written to standard error; `RUST_LOG` is heard too.
    log: String = parse::log_filter,
        Row::new("FILTER", "off, error, warn, info, debug, trace, or directives as RUST_LOG takes them (warn,tidings_cache=debug)")
            .or("info").in_flight();

    /// How log lines are written.
    log_format: LogFormat = parse::log_format, Row::new("FORMAT", "text or json").or("text");

    /// Whether each request is logged, and how; one line for each, never with a key.
    access_log: AccessLog = parse::access_log, Row::new("FORMAT", "off, text or json").or("off");
}

const TIMEOUT: &str = "a duration above zero and up to 24h, as 500ms, 5s or 1m";

options! {
    /// Sizes and times that clients and upstreams are held to.
    Limits, ADVANCED:

    /// The most client connections on the proxy side; more wait to be accepted. What the node
    /// itself needs is kept apart, so that the admin side can be reached.
    max_connections: usize = parse::max_connections,
        Row::new("N", "").stated(limits::connections_allowed).advanced()
            .computed(limits::connections, "what the limit of open files leaves");

    /// The largest head of a request; beyond it 431.
    header_size: usize = units::header_size,
        Row::new("SIZE", "a size from 8k to 1m").or("64k").advanced();

    /// How long a client may take to send the head of a request.
    header_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("10s").advanced();

    /// How long a connection may lie idle between requests.
    idle_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("75s").advanced();

    /// How long a client may pause while it sends a body or takes an answer.
    body_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("60s").advanced();

    /// How long one request may take as a whole, from its head to the end of its answer. What it
    /// asks to wait for comes on top (`?confirm`, `X-Tidings-After`), and `/events` goes on.
    request_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("1h").advanced();

    /// How long connecting to the upstream may take; beyond it 504.
    connect_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("5s").advanced();

    /// How long the upstream may take to begin its answer (beyond it 504), and between two parts of
    /// it.
    upstream_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("60s").advanced();

    /// How long the end may take after SIGTERM or SIGINT. Running requests have all of it but the
    /// last second, or less, in which the node itself ends.
    drain_timeout: Duration = units::drain_timeout,
        Row::new("DURATION", "a duration above zero and up to 10s, as 500ms or 5s").or("10s").advanced();
}

/// Returns all rows, in the order of the help.
pub(super) fn table() -> Vec<Row> {
    [COMMON, ADVANCED].concat()
}
