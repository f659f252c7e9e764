//! Nodes without a store that share what they invalidate over a stream, and what it takes the raw
//! clients to append to it and to read what another has appended.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, future::join_all};
use serde_json::{Value, json};
use tidings::{CacheKey, GetOptions, Loaded, Node, NodeBuilder};

use super::raw::{Raw, since};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const NAME: &str = "raw";

/// The nodes: the first one invalidates entries that the second one has cached.
pub(super) struct Sharers {
    nodes: Vec<Node>,
    key: CacheKey,
}

impl Sharers {
    /// Starts nodes on one stream.
    pub(super) async fn on(stream: impl Fn(NodeBuilder) -> NodeBuilder) -> Self {
        let mut nodes = Vec::new();
        for name in ["n0", "n1"] {
            let node = stream(Node::builder().node_id(name));
            nodes.push(node.start().await.expect("a node"));
        }
        let key = CacheKey::new("flags", &["flag-0"]);
        Self { nodes, key }
    }

    /// Invalidates a key, and returns how many nanoseconds passed from the call until the second
    /// node did not have it any more.
    pub(super) async fn evicted(&self) -> f64 {
        let (one, other) = (self.nodes[0].cache(), self.nodes[1].cache());
        let is_kept = || other.cached::<String>(&self.key).expect("text").is_some();
        let begun = Instant::now();
        while !is_kept() {
            assert!(begun.elapsed() < PATIENCE, "it follows the stream");
            let load = || async { Ok::<_, std::io::Error>(Loaded::new("on".to_owned())) };
            let got = other.get::<String, _>(&self.key, GetOptions::default(), load);
            got.await.expect("a value");
        }

        let start = Instant::now();
        let receipt = one.invalidate(&self.key);
        while is_kept() {
            assert!(start.elapsed() < PATIENCE, "it is evicted");
            tokio::task::yield_now().await;
        }
        let took = since(start);
        // Its effects are over before the next one.
        receipt.confirmed(PATIENCE).await.expect("both have it");
        took
    }

    pub(super) async fn close(self) {
        join_all(self.nodes.iter().map(|node| node.shutdown(PATIENCE))).await;
    }
}

/// A message that is appended to a stream of JetStream, to a consumer of another client.
pub(super) struct JetStream {
    sender: async_nats::Client,
    receiver: async_nats::Subscriber,
}

impl JetStream {
    pub(super) async fn connect(url: &str) -> Self {
        let sender = async_nats::connect(url).await.expect("the broker");
        let other = async_nats::connect(url).await.expect("the broker");
        let inbox = other.new_inbox();
        let receiver = other.subscribe(inbox.clone()).await.expect("an inbox");
        other.flush().await.expect("the broker");

        let stream = json!({ "name": NAME, "subjects": [NAME], "storage": "file" });
        call(&other, "STREAM.CREATE.raw", &stream).await;
        let config = json!({
            "deliver_subject": inbox, "deliver_policy": "new", "ack_policy": "none",
            "replay_policy": "instant", "mem_storage": true,
        });
        let consumer = json!({ "stream_name": NAME, "config": config });
        call(&other, "CONSUMER.CREATE.raw", &consumer).await;
        Self { sender, receiver }
    }
}

/// Calls JetStream's API.
async fn call(client: &async_nats::Client, call: &str, question: &Value) {
    let subject = format!("$JS.API.{call}");
    let answer = client.request(subject, question.to_string().into()).await;
    let answer = answer.expect("an answer").payload;
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert!(answer.get("error").is_none(), "{answer}");
}

impl Raw for JetStream {
    fn name(&self) -> &'static str {
        "async-nats"
    }

    async fn trip(&mut self) -> f64 {
        let start = Instant::now();
        let sent = self.sender.request(NAME, "x".into());
        let heard = async {
            self.receiver.next().await.expect("a message");
            since(start)
        };
        let (sent, took) = tokio::join!(sent, heard);
        sent.expect("an acknowledgement");
        took
    }
}

/// An entry that is appended to a stream of Redis, to another client that waits for it.
pub(super) struct RedisStreams {
    sender: redis::aio::MultiplexedConnection,
    receiver: redis::aio::MultiplexedConnection,
    last: u64,
}

impl RedisStreams {
    pub(super) async fn connect(url: &str) -> Self {
        let client = redis::Client::open(url).expect("an address");
        let connect = async || {
            let connected = client.get_multiplexed_async_connection().await;
            connected.expect("the broker")
        };
        Self {
            sender: connect().await,
            receiver: connect().await,
            last: 0,
        }
    }
}

impl Raw for RedisStreams {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn trip(&mut self) -> f64 {
        let (mut add, mut read) = (redis::cmd("XADD"), redis::cmd("XREAD"));
        let (before, next) = (format!("{}-1", self.last), self.last + 1);
        add.arg(NAME).arg(format!("{next}-1")).arg("v").arg("x");
        read.arg(&["BLOCK", "0", "STREAMS", NAME, &before]);
        self.last = next;

        let start = Instant::now();
        let heard = async {
            let heard: redis::Value = read.query_async(&mut self.receiver).await.expect("it is");
            assert_ne!(heard, redis::Value::Nil, "an entry");
            since(start)
        };
        let (sent, took) = tokio::join!(add.exec_async(&mut self.sender), heard);
        sent.expect("an entry");
        took
    }
}
