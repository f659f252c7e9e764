//! Clients: writers that make and revoke keys, and readers that ask for them, some for nothing
//! older than the last write that was answered.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Condvar, Mutex, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings::{
    clock::{Clock as _, SystemClock, Tick},
    core::entropy::{Entropy as _, SeededEntropy},
};

use super::history::{Answer, History, Known, Position, Reach, Read, State};

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// How many keys each writer has at a time.
const SLOTS: usize = 3;

/// The writer whose keys are left alone for a while after each write: of a key that changes all the
/// time, both states are possible at any time, whatever a node has missed. It waits for no node
/// that is cut off, so that this one misses something.
const STEADY: usize = 0;

/// How long the keys of that writer are left alone.
const REST: Duration = Duration::from_secs(2);

/// How many keys are given up at most for each fault, because the answer to a write was lost.
const GIVEN_UP: u64 = 8;

/// The least number that is too many.
const GIVEN_UP_AT_LEAST: u64 = 400;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where the proxy and the admin side of a node are; `None` while it is down.
type Addresses = Option<(SocketAddr, SocketAddr)>;

/// The state that the clients share with the test that injects the faults.
#[derive(Debug)]
pub(super) struct World {
    pub(super) history: History,
    pub(super) clock: SystemClock,
    nodes: Mutex<[Addresses; NODES]>,
    /// The node that is cut off; [`NODES`] if none is.
    cut_off: AtomicUsize,
    ended: Mutex<bool>,
    ends: Condvar,
    /// Held by each write, and alone while the database is asked what it has.
    writing: RwLock<()>,
    pub(super) counts: Counts,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) writes: AtomicU64,
    pub(super) confirmed: AtomicU64,
    pub(super) unanswered_writes: AtomicU64,
    /// Acknowledged by a database that has lost them.
    pub(super) lost: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) unanswered: AtomicU64,
    pub(super) faults: AtomicU64,
    /// Nodes that were stopped for longer than the log keeps records.
    pub(super) outlived: AtomicU64,
}

pub(super) fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Why it is not known that a write was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// The node is not there: it was not done.
    NotSent,
    /// It may have been done.
    Lost,
}

/// The outcome of a request.
enum Asked {
    Answer(String),
    /// No one listened.
    NotSent,
    /// It may have been done.
    Lost,
}

impl World {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            history: History::new(bound),
            clock: SystemClock::new(),
            nodes: Mutex::default(),
            cut_off: AtomicUsize::new(NODES),
            ended: Mutex::new(false),
            ends: Condvar::new(),
            writing: RwLock::default(),
            counts: Counts::default(),
        }
    }

    pub(super) fn is_at(&self, node: usize, addresses: Addresses) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)[node] = addresses;
    }

    /// Notes which node is cut off.
    pub(super) fn cuts_off(&self, node: Option<usize>) {
        self.cut_off.store(node.unwrap_or(NODES), Ordering::Relaxed);
    }

    fn addresses(&self, node: usize) -> Addresses {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)[node]
    }

    /// Lets some time pass. Returns whether the load goes on.
    pub(super) fn goes_on_after(&self, time: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ends.wait_timeout_while(ended, time, |ended| !*ended);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Lets some time pass, even after the load has ended.
    pub(super) fn passes(&self, time: Duration) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ends.wait_timeout_while(ended, time, |_| true));
    }

    /// Ends the load.
    pub(super) fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ends.notify_all();
    }

    /// Waits until no write is in progress, and lets none begin while the guard lives.
    pub(super) fn hold_writers(&self) -> RwLockWriteGuard<'_, ()> {
        self.writing.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a key; a lost answer makes its slot take another.
    fn name(writer: usize, slot: usize, life: u64) -> String {
        format!("w{writer}s{slot}n{life}")
    }

    /// Writes a key on one node. Returns who has applied it.
    pub(super) fn write(
        &self,
        node: usize,
        key: &str,
        state: State,
        confirm: &str,
    ) -> Result<Reach, NotWritten> {
        let (_, admin) = self.addresses(node).ok_or(NotWritten::NotSent)?;
        self.history.sends(key, state, self.clock.now());
        let asked = match state {
            State::Present => {
                let path = format!("/consumers/bob/key-auth{confirm}");
                ask(admin, "POST", &path, "", &format!("key={key}"))
            }
            State::Absent => {
                let path = format!("/key-auths/{key}{confirm}");
                ask(admin, "DELETE", &path, "", "")
            }
        };

        match asked {
            Asked::NotSent => {
                self.history.was_not_sent(key);
                Err(NotWritten::NotSent)
            }
            Asked::Answer(answer) if is_done(&answer, state) => {
                let reach = match header(&answer, "x-tidings-confirmed") {
                    Some("all") => Reach::Everywhere,
                    Some(_) | None => Reach::OneNode,
                };
                let position = header(&answer, "x-tidings-position");
                let answer = Answer {
                    by: Some(node),
                    at: self.clock.now(),
                    reach,
                    position: position.map(|position| Position(position.into())),
                };
                self.history.answered(key, answer);
                Ok(reach)
            }
            Asked::Answer(_) | Asked::Lost => Err(NotWritten::Lost),
        }
    }

    /// Writes to keys of its own until the load ends.
    pub(super) fn write_on(&self, writer: usize, seed: u64) {
        let chance = SeededEntropy::new(seed);
        let mut lives = [0_u64; SLOTS];
        let mut rested = [Tick(0); SLOTS];
        while self.goes_on_after(Duration::from_millis(5 + chance.below(20))) {
            let slot = chance.below(SLOTS as u64) as usize;
            if self.clock.now() < rested[slot] {
                continue;
            }
            let _writing = self.writing.read().unwrap_or_else(PoisonError::into_inner);
            let mut key = Self::name(writer, slot, lives[slot]);
            let next = match self.history.known(&key) {
                Known::State(state) => state.other(),
                Known::Open => {
                    lives[slot] += 1;
                    key = Self::name(writer, slot, lives[slot]);
                    State::Present
                }
            };
            let mut node = chance.below(NODES as u64) as usize;
            let mut confirm = match chance.below(4) {
                0 => "?confirm=2s",
                _ => "",
            };
            if writer == STEADY {
                confirm = "";
                if node == self.cut_off.load(Ordering::Relaxed) {
                    node = (node + 1) % NODES;
                }
            }

            match self.write(node, &key, next, confirm) {
                Err(NotWritten::NotSent) => {}
                Ok(reach) => {
                    if writer == STEADY {
                        rested[slot] = self.clock.now().plus(REST);
                    }
                    count(&self.counts.writes);
                    if reach == Reach::Everywhere {
                        count(&self.counts.confirmed);
                    }
                }
                Err(NotWritten::Lost) => {
                    count(&self.counts.unanswered_writes);
                    let lost = self.counts.unanswered_writes.load(Ordering::Relaxed);
                    let faults = self.counts.faults.load(Ordering::Relaxed);
                    if lost > (GIVEN_UP * faults).max(GIVEN_UP_AT_LEAST) {
                        self.history
                            .violated("too many answers were lost".to_owned());
                        return self.end();
                    }
                }
            }
        }
    }

    /// Asks for keys of all writers until the load ends.
    pub(super) fn read_on(&self, writers: usize, seed: u64) {
        let chance = SeededEntropy::new(seed);
        let mut keys = Vec::new();
        let mut turns = 0_u32;
        while self.goes_on_after(Duration::from_millis(1 + chance.below(8))) {
            if turns.is_multiple_of(64) || keys.is_empty() {
                keys = self.newest(writers);
            }
            turns = turns.wrapping_add(1);
            let Some(key) = keys.get(chance.below(keys.len().max(1) as u64) as usize) else {
                continue;
            };
            let node = chance.below(NODES as u64) as usize;
            let after = match chance.below(4) {
                0 => self.history.position(key),
                _ => None,
            };
            match self.read(node, key, after) {
                Some(read) => {
                    count(&self.counts.reads);
                    self.history.read(key, read);
                }
                None => count(&self.counts.unanswered),
            }
        }
    }

    /// The keys that are being written, and those that were given up last.
    fn newest(&self, writers: usize) -> Vec<String> {
        let all = self.history.keys();
        let of = |writer: usize, slot: usize| {
            let prefix = format!("w{writer}s{slot}n");
            let number = |key: &String| key.strip_prefix(&prefix)?.parse::<u64>().ok();
            let mut lives: Vec<_> = all.iter().filter_map(number).collect();
            lives.sort_unstable();
            let newest = lives.into_iter().rev().take(2);
            newest
                .map(move |life| Self::name(writer, slot, life))
                .collect::<Vec<_>>()
        };
        let slots = (0..writers).flat_map(|writer| (0..SLOTS).map(move |slot| (writer, slot)));
        slots.flat_map(|(writer, slot)| of(writer, slot)).collect()
    }

    /// Asks one node for one key; `None` without an answer.
    pub(super) fn state_on(&self, node: usize, key: &str) -> Option<Read> {
        self.read(node, key, None)
    }

    /// Asks one node for one key and nothing older than a write; `None` without an answer.
    fn read(&self, node: usize, key: &str, after: Option<(Position, Tick)>) -> Option<Read> {
        let (proxy, _) = self.addresses(node)?;
        let mut headers = format!("apikey: {key}\r\n");
        if let Some((Position(position), _)) = &after {
            headers.push_str(&format!("X-Tidings-After: {position}\r\n"));
        }
        let began = self.clock.now();
        let asked = ask(proxy, "GET", "/", &headers, "");
        let Asked::Answer(answer) = asked else {
            return None;
        };
        let state = match status(&answer) {
            200 => State::Present,
            401 => State::Absent,
            400 => {
                let text = format!("n{node} does not know the position of {key}: {answer}");
                self.history.violated(text);
                return None;
            }
            // It cannot tell: its database is away.
            _ => return None,
        };
        let ended = self.clock.now();
        Some(Read {
            node,
            began,
            ended,
            state,
            after: after.map(|(_, sent)| sent),
        })
    }
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1);
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// What an answer's header says.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    Some(value)
}

/// Whether a write was committed, confirmed or not.
fn is_done(answer: &str, state: State) -> bool {
    let done = match state {
        State::Present => 201,
        State::Absent => 204,
    };
    let later = done.to_string();
    status(answer) == done
        || status(answer) == 202 && header(answer, "x-tidings-status") == Some(&*later)
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, form: &str) -> Asked {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
        return Asked::NotSent;
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut answer = String::new();
    let limited = stream.set_read_timeout(Some(PATIENCE));
    let asked = limited
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_to_string(&mut answer));
    match asked {
        Ok(_) if status(&answer) != 0 => Asked::Answer(answer),
        Ok(_) | Err(_) => Asked::Lost,
    }
}
