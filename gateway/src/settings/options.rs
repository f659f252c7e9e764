//! The options. Each is one row here, and its field, flag, variable, key and help come from that
//! row.
//!
//! To add an option, add a row. The text above it is the documentation of the field and the help of
//! the flag; then come the field and its type, the parser, and the row's properties.

use std::{fmt, net::SocketAddr, time::Duration};

use tidings::StalePolicy;

use super::{
    layers::Layers,
    limits, parse,
    row::{Change, Row, dashed},
    source::{Secrecy, without_password},
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
        #[derive(Clone, PartialEq)]
        pub struct $Struct {
            $( $(#[doc = $doc])+ pub $field: $Type, )*
            $(
                /// The options of this group.
                pub $inner: $Inner,
            )?
        }

        const $TABLE: &[Row] = &[$( ($row).named(name!($field), concat!($($doc),+)), )*];

        impl $Struct {
            /// Reads every row before it gives up, so that it finds every fault.
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

        impl fmt::Debug for $Struct {
            /// Shows every value, with passwords masked as in messages.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($Struct));
                $( match ($row).secrecy {
                    Secrecy::Public => shown.field(stringify!($field), &self.$field),
                    Secrecy::Masked | Secrecy::Secret => {
                        let text = without_password(&format!("{:?}", self.$field));
                        shown.field(stringify!($field), &format_args!("{text}"))
                    }
                }; )*
                $( shown.field(stringify!($inner), &self.$inner); )?
                shown.finish()
            }
        }
    };
}

const ADDRESS: &str = "a host and a port, such as 127.0.0.1:8000, [::1]:8000 or localhost:8000; port 0 picks a free one";

options! {
    /// All settings. See `tidings --help` for the meaning of each.
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

    /// The address on which clients connect.
    proxy_listen: SocketAddr = parse::address,
        Row::new("ADDRESS", ADDRESS).or("127.0.0.1:8000");

    /// The address of the admin API; an address off loopback requires `--admin-token`.
    admin_listen: SocketAddr = parse::address,
        Row::new("ADDRESS", ADDRESS).or("127.0.0.1:8001");

    /// The address of `/livez`, `/readyz` and `/metrics` without a token.
    status_listen: Option<SocketAddr> = parse::optional(parse::address),
        Row::new("ADDRESS", ADDRESS).unset("off");

    /// The secret that requests to the admin API must carry, as `Authorization: Bearer SECRET`.
    admin_token: Option<Secret> = parse::optional(parse::token),
        Row::new("SECRET", "1 to 1024 visible ASCII characters without spaces")
            .unset("no token; needs a loopback address")
            .secrecy(Secrecy::Secret);

    /// The database of the entities: a SQLite file, which is created if it does not exist,
    /// `sqlite::memory:`, or a PostgreSQL database.
    database: String = parse::database,
        Row::new("URL", "sqlite://PATH, sqlite::memory: or postgres://HOST/DATABASE")
            .or("sqlite://tidings.db")
            .secrecy(Secrecy::Masked);

    /// How nodes learn of each other's changes: from the log in their PostgreSQL database, or from
    /// the log in a SQLite file that several processes on one host share. `none` is for a single
    /// node. A broker, NATS or Redis, wakes the nodes instead of the PostgreSQL database (cargo
    /// features `nats` and `redis`).
    cluster: Option<Cluster> = parse::optional(parse::cluster),
        Row::new("ENGINE", "postgres, nats://HOST:PORT or redis://HOST:PORT (with --database postgres://..), sqlite (with --database sqlite://PATH) or none")
            .unset("postgres with a PostgreSQL database, none with SQLite")
            .secrecy(Secrecy::Masked);

    /// The name of the cluster in `/cluster` and on a broker; the database itself identifies the
    /// cluster.
    cluster_name: String = parse::cluster_name,
        Row::new("NAME", "1 to 64 letters, digits, dots, dashes and underscores").or("tidings");

    /// How long the log of the database keeps records; a node that is cut off for longer purges its
    /// cache.
    cluster_retention: Duration = units::retention,
        Row::new("DURATION", "a duration from 10s to 30d, such as 30m or 1h").or("1h");

    /// How often the node reads the log when nothing has woken it. A write of another program may
    /// stay unnoticed for this long.
    cluster_poll: Duration = units::poll,
        Row::new("DURATION", "a duration from 1ms to 1m, such as 100ms").or("100ms");

    /// The number of workers, each a thread with its own event loop and L1.
    workers: usize = parse::workers,
        Row::new("N", "").stated(limits::workers_allowed)
            .computed(limits::cores, "the number of cores, capped at the most a node supports");

    /// The upstream to which requests are forwarded.
    upstream: Option<UpstreamAddress> = parse::optional(parse::upstream),
        Row::new("URL", "http://HOST or http://HOST:PORT, without a path")
            .unset("a built-in echo that answers 200 with the request as JSON");

    /// The byte budget of the node's cache.
    cache_size: u64 = units::cache_size,
        Row::new("SIZE", "").stated(limits::cache_size_allowed).or("128m");

    /// How long a cached row lives; 0 means until it is invalidated.
    ttl: Option<Duration> = units::lifetime,
        Row::new("DURATION", "").stated(limits::lifetime_allowed).or("0");

    /// How long a cached absence lives; 0 means until it is invalidated.
    neg_ttl: Option<Duration> = units::lifetime,
        Row::new("DURATION", "").stated(limits::lifetime_allowed).or("0");

    /// How long a node serves cached rows without a proof that it sees every change; 0 means no
    /// bound. It has no effect on a node on SQLite without a cluster, which is always current.
    max_staleness: Option<Duration> = units::staleness,
        Row::new("DURATION", "0, or a duration from 50ms up to --cluster-retention").or("0");

    /// What happens to a request once its cached row is older than `--max-staleness` and there is
    /// no proof: `load` asks the database, once for concurrent requests; `refuse` answers 503 and
    /// does not ask the database, not even for a miss.
    stale_policy: StalePolicy = parse::stale_policy, Row::new("POLICY", "load or refuse").or("load");

    /// How many rows the background audit reads per second, to compare cached rows with the
    /// database; 0 turns it off. The results are in `/metrics`, `tidings_audit_*`.
    audit_reads: u32 = parse::audit_reads, Row::new("N", "0 to 1000").or("0");

    /// How long a request with `X-Tidings-After` waits for this node to apply the write that it
    /// names; after that the answer is 503.
    after_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("1s");

    /// The names of headers and query arguments that may carry the API key, separated by commas.
    key_names: KeyNames = parse::key_names,
        Row::new("A,B", "1 to 16 names that a header may have, separated by commas").or("apikey").in_flight();

    /// Hides the API key from the upstream: removes the header, the query argument and `X-API-Key`.
    hide_credentials: KeyForwarding = parse::hide_credentials, Row::switch();

    /// Stores a digest in place of each key, and replaces plain keys that are already stored. A key
    /// is shown once, when it is set. All nodes of a database must agree on this.
    hash_keys: KeyStorage = parse::hash_keys, Row::switch();

    /// The groups whose consumers the acl plugin lets pass, separated by commas.
    allow_groups: Option<Vec<String>> = parse::optional(parse::groups),
        Row::new("A,B", "one group or more, separated by commas; leave it out for everyone with a key")
            .unset("everyone with a key").in_flight();

    /// The entities that are read into the cache before the first request.
    warm_up: Vec<String> = parse::warm_up,
        Row::new("A,B", "consumers, keyauth_credentials, or both, separated by commas, or none").or("none");

    /// The plugins that run, separated by commas, or none.
    plugins: BuiltIn = parse::plugins,
        Row::new("A,B", "key-auth, acl (which needs key-auth), or none").or("key-auth,acl");

    /// The name of this node, unique among the nodes of its database.
    node_id: Option<String> = parse::optional(parse::node_id),
        Row::new("ID", "1 to 64 letters, digits, dots, dashes and underscores").unset("a new one at each start");

    /// Which log lines are written to standard error; the variable `RUST_LOG` works too.
    log: String = parse::log_filter,
        Row::new("FILTER", "off, error, warn, info, debug, trace, or directives in the syntax of RUST_LOG (warn,tidings_cache=debug)")
            .or("info").in_flight();

    /// The format of log lines.
    log_format: LogFormat = parse::log_format, Row::new("FORMAT", "text or json").or("text");

    /// Whether each request is logged, and in which format: one line per request, never with a key.
    access_log: AccessLog = parse::access_log, Row::new("FORMAT", "off, text or json").or("off");
}

const TIMEOUT: &str = "a duration above zero and up to 24h, such as 500ms, 5s or 1m";

options! {
    /// Limits of size and time for clients and upstreams.
    Limits, ADVANCED:

    /// The maximum number of client connections on the proxy side; further ones wait to be
    /// accepted. The connections of the admin side and the node itself are not part of it.
    max_connections: usize = parse::max_connections,
        Row::new("N", "").stated(limits::connections_allowed).advanced()
            .computed(limits::connections, "what the limit of open files leaves");

    /// The largest head of a request; a larger one gets a 431. So does a head with more than 100
    /// headers.
    header_size: usize = units::header_size,
        Row::new("SIZE", "a size from 8k to 1m").or("64k").advanced();

    /// How long a client may take to send the head of a request.
    header_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("10s").advanced();

    /// How long a connection may stay idle between requests.
    idle_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("75s").advanced();

    /// How long a client may pause while it sends a body or reads an answer.
    body_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("60s").advanced();

    /// How long a request may take as a whole, from its head to the end of its answer. The waits
    /// that it asks for come on top (`?confirm`, `X-Tidings-After`). `/events` has no limit.
    request_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("1h").advanced();

    /// How long connecting to the upstream may take; after that the answer is 504.
    connect_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("5s").advanced();

    /// How long the upstream may take to begin its answer (after that the answer is 504), and
    /// between two parts of it.
    upstream_timeout: Duration = units::timeout, Row::new("DURATION", TIMEOUT).or("60s").advanced();

    /// How long the shutdown after SIGTERM or SIGINT may take. Running requests may use all of it
    /// except at most the last second, in which the node itself stops.
    drain_timeout: Duration = units::drain_timeout,
        Row::new("DURATION", "a duration above zero and up to 10s, such as 500ms or 5s").or("10s").advanced();
}

/// Returns all rows, in the order of the help.
pub(super) fn table() -> Vec<Row> {
    [COMMON, ADVANCED].concat()
}
