//! A log in a stream of a Redis server.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tidings_cluster::kit::conformance::{Subject, check};
use tidings_core::{
    CacheKey, Field, Schema,
    clock::{Clock as _, ManualClock, SystemClock},
    log::{
        ApartNeeds, Appended, Eviction, EvictionTarget, GapReason, Log, LogApart as _, LogError,
    },
    spawn::CurrentRuntime,
};
use tidings_streams::{ClusterKey, Redis, StreamError};
use tidings_testkit::{Broker, Protocol};
use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

use crate::{append, event, head, open, read};

const RECORDS: &str = "tidings:{shop}:records";

/// A connection of its own, for requests that no log makes.
pub(crate) async fn raw(broker: &Broker) -> MultiplexedConnection {
    let client = redis::Client::open(broker.url()).expect("an address");
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let opened = client.get_multiplexed_async_connection_with_config(&config);
    opened.await.expect("a connection")
}

pub(crate) async fn ask(broker: &Broker, words: &[&str]) -> redis::Value {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let mut connection = raw(broker).await;
    let answer = command.query_async(&mut connection);
    answer.await.expect("an answer")
}

pub(crate) fn stream(broker: &Broker) -> Redis {
    Redis::new(&broker.url(), "shop").expect("an address")
}

struct OnRedis {
    broker: Mutex<Broker>,
    url: String,
}

impl OnRedis {
    fn start() -> Self {
        let broker = Broker::start_durable();
        Self {
            url: broker.url(),
            broker: Mutex::new(broker),
        }
    }

    async fn ask(&self, words: &[&str]) {
        let client = redis::Client::open(self.url.as_str()).expect("an address");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("a connection");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer = command.exec_async(&mut connection);
        answer.await.expect("an answer");
    }
}

impl Subject for OnRedis {
    fn open(&self) -> Arc<dyn Log> {
        open(&Redis::new(&self.url, "shop").expect("an address"), "a")
    }

    async fn trim(&self) {
        self.ask(&["XTRIM", RECORDS, "MAXLEN", "1"]).await;
    }

    async fn end_epoch(&self) {
        self.ask(&["FLUSHALL"]).await;
    }

    async fn lose_newest(&self, _: usize) -> bool {
        let mut broker = self.broker.lock().expect("no test panics with it");
        broker.stop();
        // A few bytes of the last transaction: the server drops the rest of it when it starts.
        broker.lose_from_file(5);
        broker.restart();
        true
    }

    async fn recreate(&self) -> bool {
        self.ask(&["DEL", RECORDS]).await;
        true
    }

    fn largest(&self) -> Option<usize> {
        Some(256 << 10)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_stream_does_what_every_log_has_to_do() {
    check(async || OnRedis::start()).await.assert_none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_the_server_lost_is_told_by_its_publisher_to_a_reader_that_had_not_read_it() {
    let mut broker = Broker::start_durable();
    let stream = stream(&broker);
    let (publisher, reader) = (open(&stream, "a"), open(&stream, "b"));
    append(&*publisher, 1).await;
    let cursor = head(&*reader).await;
    append(&*publisher, 2).await;
    broker.stop();
    broker.lose_from_file(5);
    broker.restart();

    // The reader alone cannot notice: it has not read the lost record.
    assert_eq!(read(&*reader, &cursor).await, Ok((vec![], cursor.clone())));
    append(&*publisher, 3).await;
    assert_eq!(read(&*reader, &cursor).await, Err(GapReason::Epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_started_again_with_all_that_it_had_is_no_gap() {
    let mut broker = Broker::start_durable();
    let stream = stream(&broker);
    let (publisher, reader) = (open(&stream, "a"), open(&stream, "b"));
    let cursor = head(&*reader).await;
    append(&*publisher, 1).await;
    broker.stop();
    broker.restart();
    append(&*publisher, 2).await;
    let (records, _) = read(&*reader, &cursor).await.expect("no gap");
    assert_eq!(records, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_older_than_the_retention_are_trimmed_and_the_newest_stays() {
    let broker = Broker::start(Protocol::Redis);
    let log = open(&stream(&broker), "a");
    let cursor = head(&*log).await;
    for number in 0..10 {
        append(&*log, number).await;
    }
    assert_eq!(log.prune(Duration::from_secs(60)).await.expect("pruned"), 0);
    // Its first record is the beginning of the epoch.
    assert_eq!(log.prune(Duration::ZERO).await.expect("pruned"), 10);
    assert_eq!(read(&*log, &cursor).await, Err(GapReason::Trimmed));
    let cursor = head(&*log).await;
    append(&*log, 10).await;
    let (records, _) = read(&*log, &cursor).await.expect("no gap");
    assert_eq!(records, ["10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_evict_the_log_is_refused_until_its_policy_is_mended() {
    let broker = Broker::start(Protocol::Redis);
    let policy = async |policy| {
        ask(&broker, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
    };
    policy("allkeys-lru").await;
    let log = open(&stream(&broker), "a");
    let refused = log.head(None).await;
    let Err(LogError::Unfit { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("allkeys-lru") && reason.contains("noeviction"),
        "{reason}"
    );
    policy("volatile-lru").await;
    head(&*log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_becomes_a_replica_proves_nothing_and_is_left() {
    let broker = Broker::start(Protocol::Redis);
    let log = open(&stream(&broker), "a");
    let cursor = head(&*log).await;
    let asking = async || {
        let clients = ask(&broker, &["CLIENT", "LIST"]).await;
        let redis::Value::BulkString(clients) = clients else {
            panic!("{clients:?}");
        };
        let clients = String::from_utf8(clients).expect("a text");
        let asking = clients.lines().filter(|line| line.contains("cmd=eval"));
        let id = |line: &str| line.split(' ').next().map(str::to_owned);
        asking.filter_map(id).collect::<Vec<_>>()
    };
    let before = asking().await;
    assert_eq!(before.len(), 1, "{before:?}");

    // It still has all records, but those of its new master arrive late.
    ask(&broker, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let read_there = log.read(&cursor, 10, None).await;
    assert!(
        matches!(read_there, Err(LogError::Unfit { .. })),
        "{read_there:?}"
    );

    // If the address leads to a master again, another connection finds it.
    ask(&broker, &["REPLICAOF", "NO", "ONE"]).await;
    append(&*log, 1).await;
    let after = asking().await;
    assert!(
        !after.is_empty() && !after.contains(&before[0]),
        "{after:?}"
    );
    let (records, _) = read(&*log, &cursor).await.expect("no gap");
    assert_eq!(records, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_larger_than_any_record_is_a_gap_in_its_place() {
    let broker = Broker::start(Protocol::Redis);
    let log = open(&stream(&broker), "a");
    let cursor = head(&*log).await;
    let large = "x".repeat(48 << 20);
    ask(&broker, &["XADD", RECORDS, "0-*", "r", &large]).await;
    append(&*log, 1).await;

    let sent = async || {
        let stats = format!("{:?}", ask(&broker, &["INFO", "stats"]).await);
        let sent = stats.split_once("total_net_output_bytes:");
        let digits = sent
            .expect("it counts")
            .1
            .split(|c: char| !c.is_ascii_digit());
        let digits = digits.into_iter().next().expect("a number");
        digits.parse::<u64>().expect("a number")
    };
    let before = sent().await;
    let (records, _) = read(&*log, &cursor).await.expect("no gap");
    assert_eq!(records, ["Unreadable { entity: None }", "1"]);
    let sent = sent().await - before;
    assert!(sent < 4 << 20, "{sent} bytes were sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_counts_although_no_one_could_be_woken() {
    let broker = Broker::start(Protocol::Redis);
    let log = open(&stream(&broker), "a");
    let cursor = head(&*log).await;
    ask(&broker, &["SET", "tidings:{shop}:nudges", "no stream"]).await;
    let appended = log.append(event(1)).await;
    let (records, _) = read(&*log, &cursor).await.expect("no gap");
    assert_eq!(records, ["1"]);
    assert!(appended.is_ok(), "{appended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_another_program_writes_to_is_refused_by_its_name() {
    let broker = Broker::start(Protocol::Redis);
    ask(&broker, &["XADD", RECORDS, "*", "a", "b"]).await;
    let log = open(&stream(&broker), "a");
    let refused = log.head(None).await;
    let Err(LogError::Unfit { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("another program"), "{reason}");

    ask(&broker, &["DEL", RECORDS]).await;
    let cursor = head(&*log).await;
    // An entry with the right number is a gap.
    ask(&broker, &["XADD", RECORDS, "0-*", "a", "b"]).await;
    append(&*log, 1).await;
    let (records, _) = read(&*log, &cursor).await.expect("no gap");
    assert_eq!(records, ["Unreadable { entity: None }", "1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_never_reaches_the_server_and_a_reader_finds_the_key_that_is_meant() {
    let credential = Schema::builder("credentials")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<String>("key").secret())
        .build();
    let needs = ApartNeeds {
        schemas: vec![&*Box::leak(Box::new(credential))],
        ..crate::needs("a")
    };
    let broker = Broker::start(Protocol::Redis);
    let refused = stream(&broker)
        .open(&needs)
        .expect_err("no key")
        .to_string();
    assert!(refused.contains("key"), "{refused}");

    let keyed = || {
        let key = ClusterKey::new("a secret that nodes share").expect("long enough");
        stream(&broker).key(key)
    };
    let (writes, reads) = (keyed(), keyed());
    let writes = writes.open(&needs).expect("a key");
    let reads = reads.open(&needs).expect("a key");
    let cursor = head(&*reads).await;
    let (secret, plain) = (
        CacheKey::new("credentials", &["s3cr3t"]),
        CacheKey::new("products", &["pl41n"]),
    );
    reads.note_load(&secret);
    let eviction = Appended::Evict(Eviction {
        id: Uuid::from_u128(7),
        origin: None,
        cache: "default".into(),
        target: EvictionTarget::Keys(vec![secret, plain]),
    });
    writes.append(eviction).await.expect("appended");

    let held = format!("{:?}", ask(&broker, &["XRANGE", RECORDS, "-", "+"]).await);
    assert!(held.contains("pl41n") && !held.contains("s3cr3t"), "{held}");
    let (records, _) = read(&*reads, &cursor).await.expect("no gap");
    assert!(
        records[0].contains("s3cr3t") && records[0].contains("pl41n"),
        "{records:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_dropped_while_it_waits_leaves_no_connection() {
    let broker = Broker::start(Protocol::Redis);
    let log = open(&stream(&broker), "a");
    head(&*log).await;
    let waits = async || {
        let clients = ask(&broker, &["CLIENT", "LIST"]).await;
        format!("{clients:?}").contains("cmd=xread")
    };
    let clock = SystemClock::new();
    let listener = log.listen().await.expect("it listens");
    while !waits().await {
        clock.sleep(Duration::from_millis(5)).await;
    }
    drop(listener);
    while waits().await {
        clock.sleep(Duration::from_millis(5)).await;
    }
}

/// Passes bytes on, until the test stops it.
pub(crate) async fn hold_when_told(
    broker: &Broker,
    told: tokio::sync::watch::Receiver<bool>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let url = broker.url();
    let (scheme, to) = url.split_once("://").expect("an address");
    let (scheme, to) = (scheme.to_owned(), to.to_owned());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&to).await.expect("a server");
            let mut told = told.clone();
            tokio::spawn(async move {
                let (mut from, mut into) = client.into_split();
                let (mut back, mut forth) = server.into_split();
                let _both_stay_open = tokio::select! {
                    _ = copy(&mut from, &mut forth) => None,
                    _ = copy(&mut back, &mut into) => None,
                    _ = told.wait_for(|held| *held) => {
                        drop((back, forth));
                        Some((from, into))
                    }
                };
                std::future::pending::<()>().await;
            });
        }
    });
    format!("{scheme}://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_outlasts_what_was_asked_for_is_a_dead_link() {
    let broker = Broker::start(Protocol::Redis);
    let (tell, told) = tokio::sync::watch::channel(false);
    let address = hold_when_told(&broker, told).await;
    let clock = Arc::new(ManualClock::new());
    let needs = ApartNeeds {
        clock: Arc::clone(&clock) as _,
        spawn: Arc::new(CurrentRuntime),
        ..crate::needs("a")
    };
    let stream = Redis::new(&address, "shop").expect("an address");
    let log = stream.open(&needs).expect("no secrets");
    log.append(event(1)).await.expect("appended");
    let mut listener = log.listen().await.expect("it listens");
    log.append(event(2)).await.expect("appended");
    assert!(
        listener.next().await.is_ok(),
        "while bytes pass it is heard"
    );

    tell.send(true).expect("it is held");
    let mut heard = listener.next();
    let error = loop {
        // Everything that is waiting then exceeds its limit.
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        let waited = tokio::select! {
            biased;
            heard = &mut heard => Some(heard),
            () = tokio::task::yield_now() => None,
        };
        match waited {
            Some(Ok(_)) | None => {}
            Some(Err(error)) => break error,
        }
    };
    assert!(matches!(error, LogError::Unreachable(_)), "{error:?}");
    drop(heard);

    // A call ends too; it may have taken effect.
    let mut appended = log.append(event(3));
    let error = loop {
        clock.advance(Duration::from_secs(1));
        tokio::select! {
            biased;
            appended = &mut appended => break appended.expect_err("held"),
            () = tokio::task::yield_now() => {}
        }
    };
    assert!(matches!(error, LogError::InDoubt(_)), "{error:?}");
}

#[test]
fn what_is_no_address_or_name_is_refused_and_no_password_is_shown() {
    for wrong in [
        "127.0.0.1:6379",
        "rediss://host",
        "redis://user:secret@host:port",
    ] {
        let error = Redis::new(wrong, "shop").expect_err(wrong);
        let text = format!("{}", tidings_core::Chain(&error));
        assert!(matches!(error, StreamError::Address { .. }), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    for wrong in ["", "a b", "a{b}", "a.b", "\u{e4}"] {
        let error = Redis::new("redis://host", wrong).expect_err(wrong);
        assert!(matches!(error, StreamError::Name(_)), "{error}");
    }
    let stream = Redis::new("redis://user:secret@host:1", "shop").expect("an address");
    assert!(!format!("{stream:?}").contains("secret"), "{stream:?}");
    assert!(stream.record_limit(9).is_err());
}
