//! A stream in memory, for tests: an engine that answers at once, and can lose acknowledged
//! records.
//!
//! [`Memory`] is a server; each log that is opened on it is a link of its own.
//!
//! ```
//! use tidings_core::log::{KeptLog, Log, Read};
//! use tidings_streams::kit::Memory;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Memory::new();
//! let log = server.log("a");
//! let head = log.head(None).await?;
//! server.delete_stream();
//! assert!(matches!(log.read(&head.cursor, 10, None).await?, Read::Gap(_)));
//! # Ok(()) }
//! ```

// One node's link to it.
mod link;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    clock::SystemClock,
    entropy::SystemEntropy,
    log::{Epoch, KeptLog, Members, Wake},
};
use tokio::sync::mpsc;

use self::link::Link;
use crate::{
    engine::{Engine, Held},
    error::StreamError,
    members::StreamMembers,
    numbered::Numbered,
    secret::{Secrets, remembered},
    stream::{Needs, Server, Stream},
};

/// The maximum number of bytes of a record.
const LARGEST: usize = 256 << 10;

/// A server in memory. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    epoch: Option<Epoch>,
    entries: VecDeque<Kept>,
    table: BTreeMap<String, Held>,
    revision: u64,
    /// The time in microseconds, which only tests advance.
    now: u64,
    /// How often the server was started.
    starts: u64,
    power: Power,
    listeners: Vec<mpsc::Sender<Wake>>,
    fate: Fate,
}

/// What happens to the next appended record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Kept,
    /// It is acknowledged, and then lost together with every connection.
    Lost,
}

/// A record, its number, and when it was appended.
#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    at: u64,
    bytes: Vec<u8>,
}

/// Whether the server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Power {
    #[default]
    On,
    Off,
}

impl Memory {
    /// Makes an empty server.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the log as a node with this name, over a link of its own and without a cluster's key.
    #[must_use]
    pub fn log(&self, node: &str) -> Arc<dyn KeptLog> {
        Arc::new(self.numbered(node))
    }

    /// Opens the members beside the log, over a link of their own.
    #[must_use]
    pub fn members(&self) -> Arc<dyn Members> {
        let clock = Arc::new(SystemClock::new());
        Arc::new(StreamMembers::new(self.link(LARGEST), None, clock))
    }

    /// Makes a stream for a node.
    #[must_use]
    pub fn stream(&self) -> Stream<Self> {
        Stream::over(self.clone())
    }

    /// Loses this many of the newest records, and every connection with them.
    pub fn lose(&self, records: usize) {
        self.lose_unseen(records);
        self.restart();
    }

    /// Loses this many of the newest records, but no connection, as may happen to a stream that is
    /// on another server of a cluster than the one to which a node is connected.
    pub fn lose_unseen(&self, records: usize) {
        let mut state = self.state.lock();
        let kept = state.entries.len().saturating_sub(records);
        state.entries.truncate(kept);
    }

    /// Acknowledges the next appended record, and then loses it together with every connection.
    pub fn lose_next(&self) {
        self.state.lock().fate = Fate::Lost;
    }

    /// Ends every connection, and nothing else.
    pub fn restart(&self) {
        self.state.lock().starts += 1;
    }

    /// Deletes the stream, but not the table beside it.
    pub fn delete_stream(&self) {
        self.state.lock().entries.clear();
    }

    /// Deletes everything.
    pub fn delete_all(&self) {
        let mut state = self.state.lock();
        state.epoch = None;
        state.entries.clear();
        state.table.clear();
    }

    /// Removes all records except this many of the newest ones.
    pub fn trim_to(&self, newest: usize) {
        let mut state = self.state.lock();
        while state.entries.len() > newest.max(1) {
            state.entries.pop_front();
        }
    }

    /// Appends bytes that are not a record of Tidings.
    pub fn append_foreign(&self, bytes: &[u8]) {
        self.state.lock().append(bytes);
    }

    /// Removes one record from the middle, by its number.
    pub fn remove(&self, number: u64) {
        let mut state = self.state.lock();
        state.entries.retain(|kept| kept.number != number);
    }

    /// Stops answering, until it is [started](Self::start) again.
    pub fn stop(&self) {
        self.state.lock().power = Power::Off;
    }

    /// Answers again, over new connections.
    pub fn start(&self) {
        let mut state = self.state.lock();
        state.power = Power::On;
        state.starts += 1;
    }

    /// Advances the time.
    pub fn pass(&self, time: Duration) {
        self.state.lock().now += u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    }

    pub(crate) fn numbered(&self, node: &str) -> Numbered {
        let secrets = Secrets::new(None, &[], remembered(1)).expect("no schema has secrets");
        Numbered::new(
            self.link(LARGEST),
            node.into(),
            Arc::new(secrets),
            Arc::new(SystemEntropy),
        )
    }

    pub(crate) fn link(&self, largest: usize) -> Arc<dyn Engine> {
        Arc::new(Link::new(self.clone(), largest))
    }
}

impl Server for Memory {
    const NAME: &'static str = "memory";

    fn read(_: &str, _: &str) -> Result<Self, StreamError> {
        Ok(Self::new())
    }

    fn open(&self, needs: Needs) -> Arc<dyn Engine> {
        self.link(needs.largest)
    }
}

impl State {
    /// Returns the number of the newest record; 0 if there is none.
    fn last(&self) -> u64 {
        self.entries.back().map_or(0, |kept| kept.number)
    }

    /// Returns the number of the oldest record; 0 if there is none.
    fn first(&self) -> u64 {
        self.entries.front().map_or(0, |kept| kept.number)
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        self.now += 1;
        let kept = Kept {
            number: self.last() + 1,
            at: self.now,
            bytes: bytes.to_vec(),
        };
        self.entries.push_back(kept);
        self.tell(Wake::Look);

        let number = self.last();
        if std::mem::take(&mut self.fate) == Fate::Lost {
            self.entries.pop_back();
            self.starts += 1;
        }
        number
    }

    fn tell(&mut self, wake: Wake) {
        self.listeners.retain(|listener| !listener.is_closed());
        for listener in &self.listeners {
            // A wake-up may be lost.
            listener.try_send(wake.clone()).unwrap_or_default();
        }
    }
}
