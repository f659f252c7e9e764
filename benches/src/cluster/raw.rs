//! How long the raw clients take to carry a message.

use std::{
    fs::{File, OpenOptions},
    future::Future,
    io::Write as _,
    mem::MaybeUninit,
    path::Path,
    thread,
    time::Instant,
};

use futures_util::StreamExt as _;
use redis::AsyncCommands as _;
use rustix::fs::inotify;
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgListener};
use tokio::sync::mpsc;

const NAME: &str = "bench";

/// A client that sends, and one that receives.
pub(super) trait Raw {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Sends a message, and returns how many nanoseconds passed until it was received.
    fn trip(&mut self) -> impl Future<Output = f64>;
}

/// Returns how many nanoseconds have passed.
pub(super) fn since(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64
}

/// A `NOTIFY` from one connection to another.
pub(super) struct Notify {
    sender: PgConnection,
    listener: PgListener,
}

impl Notify {
    pub(super) async fn connect(url: &str) -> Self {
        let sender = PgConnection::connect(url).await.expect("the server");
        let mut listener = PgListener::connect(url).await.expect("the server");
        listener.listen(NAME).await.expect("a channel");
        Self { sender, listener }
    }
}

impl Raw for Notify {
    fn name(&self) -> &'static str {
        "NOTIFY"
    }

    async fn trip(&mut self) -> f64 {
        let start = Instant::now();
        let sent = self.sender.execute("NOTIFY bench").await;
        sent.expect("a notification");
        self.listener.recv().await.expect("a notification");
        since(start)
    }
}

/// A message from one client of NATS to another.
pub(super) struct Nats {
    sender: async_nats::Client,
    receiver: async_nats::Subscriber,
}

impl Nats {
    pub(super) async fn connect(url: &str) -> Self {
        let sender = async_nats::connect(url).await.expect("the broker");
        let receiver = async_nats::connect(url).await.expect("the broker");
        let subscribed = receiver.subscribe(NAME).await.expect("a subscription");
        receiver.flush().await.expect("the broker");
        Self {
            sender,
            receiver: subscribed,
        }
    }
}

impl Raw for Nats {
    fn name(&self) -> &'static str {
        "async-nats"
    }

    async fn trip(&mut self) -> f64 {
        let start = Instant::now();
        let sent = self.sender.publish(NAME, "".into()).await;
        sent.expect("a message");
        self.receiver.next().await.expect("a message");
        since(start)
    }
}

/// A message from one client of Redis to another.
pub(super) struct Redis {
    sender: redis::aio::MultiplexedConnection,
    receiver: redis::aio::PubSub,
}

impl Redis {
    pub(super) async fn connect(url: &str) -> Self {
        let client = redis::Client::open(url).expect("an address");
        let sender = client.get_multiplexed_async_connection().await;
        let mut receiver = client.get_async_pubsub().await.expect("the broker");
        receiver.subscribe(NAME).await.expect("a subscription");
        Self {
            sender: sender.expect("the broker"),
            receiver,
        }
    }
}

impl Raw for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn trip(&mut self) -> f64 {
        let start = Instant::now();
        let sent: Result<(), _> = self.sender.publish(NAME, "").await;
        sent.expect("a message");
        self.receiver.on_message().next().await.expect("a message");
        since(start)
    }
}

/// A byte at the end of a file that another thread watches.
pub(super) struct Inotify {
    file: File,
    seen: mpsc::UnboundedReceiver<Instant>,
}

impl Inotify {
    pub(super) fn watch(directory: &Path) -> Self {
        let path = directory.join("watched");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.expect("a file");
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(&watch, &path, inotify::WatchFlags::MODIFY).expect("a watch");
        let (tell, seen) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 512];
            let mut reader = inotify::Reader::new(watch, &mut buffer);
            // Ends when the bench does, at the next event or with the process.
            while reader.next().is_ok() && tell.send(Instant::now()).is_ok() {}
        });
        Self { file, seen }
    }
}

impl Raw for Inotify {
    fn name(&self) -> &'static str {
        "inotify"
    }

    async fn trip(&mut self) -> f64 {
        let start = Instant::now();
        self.file.write_all(b".").expect("a byte");
        self.seen.recv().await.expect("the thread lives");
        since(start)
    }
}
