//! [`Link`]: a node's connection to a server in memory.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tidings_core::log::{Epoch, LogError, LogFuture, Wake, WakeUps};
use tokio::sync::mpsc;

use super::{Memory, Power, State};
use crate::engine::{Answer, Appended, Begun, Engine, Entry, Expected, Held, Look, Page, Written};

/// The maximum number of wake-ups that wait for one listener; further ones are lost.
const WAITING: usize = 64;

pub(super) struct Link {
    server: Memory,
    largest: usize,
    connections: AtomicU64,
    /// The start of the server to which it is connected.
    of: AtomicU64,
}

impl Link {
    pub(super) fn new(server: Memory, largest: usize) -> Self {
        Self {
            server,
            largest,
            connections: AtomicU64::new(0),
            of: AtomicU64::new(u64::MAX),
        }
    }

    /// Connects, unless it is connected to this start of the server.
    fn connect(&self, state: &State) {
        if self.of.swap(state.starts, Ordering::SeqCst) != state.starts {
            self.connections.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Answers at once, or fails because nothing answers.
    fn now<'a, T: Send + 'a>(&self, answer: impl FnOnce(&mut State) -> T) -> Answer<'a, T> {
        let mut state = self.server.state.lock();
        let answered = match state.power {
            Power::On => {
                self.connect(&state);
                let answer = answer(&mut state);
                // If it has lost its connection, it connects again before the answer is received.
                self.connect(&state);
                Ok(answer)
            }
            Power::Off => Err(LogError::Unreachable("the server is stopped".into())),
        };
        drop(state);

        Box::pin(std::future::ready(answered))
    }
}

impl Engine for Link {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn largest(&self) -> usize {
        self.largest
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    fn look(&self) -> Answer<'_, Look> {
        self.now(|state| Look {
            epoch: state.epoch,
            first: state.first(),
            newest: state.entries.back().map(|kept| Entry {
                number: kept.number,
                bytes: kept.bytes.clone(),
            }),
            now: state.now,
        })
    }

    fn read<'a>(
        &'a self,
        from: u64,
        limit: usize,
        bytes: usize,
        values: &'a [&'a str],
    ) -> Answer<'a, Page> {
        self.now(|state| {
            let beyond = state.entries.iter().filter(|kept| kept.number >= from);
            let mut taken = 0;
            let entries = beyond
                .take(limit)
                .take_while(|kept| {
                    let fits = taken < bytes;
                    taken += kept.bytes.len();
                    fits
                })
                .map(|kept| Entry {
                    number: kept.number,
                    bytes: kept.bytes.clone(),
                })
                .collect();
            let value = |name: &&str| state.table.get(*name).map(|held| held.value.clone());
            Page {
                epoch: state.epoch,
                first: state.first(),
                last: state.last(),
                entries,
                values: values.iter().map(value).collect(),
            }
        })
    }

    fn append<'a>(&'a self, epoch: Epoch, record: &'a [u8]) -> Answer<'a, Appended> {
        self.now(
            |state| match state.epoch == Some(epoch) && !state.entries.is_empty() {
                true => Appended::At(state.append(record)),
                false => Appended::Moved,
            },
        )
    }

    fn begin<'a>(
        &'a self,
        over: Option<Epoch>,
        epoch: Epoch,
        record: &'a [u8],
    ) -> Answer<'a, Begun> {
        self.now(|state| {
            if state.epoch != over {
                return Begun::Is(state.epoch);
            }
            state.epoch = Some(epoch);
            Begun::At(state.append(record))
        })
    }

    fn trim(&self, retention: Duration) -> Answer<'_, u64> {
        self.now(|state| {
            let retention = u64::try_from(retention.as_micros()).unwrap_or(u64::MAX);
            let before = state.now.saturating_sub(retention);
            let mut removed = 0;
            while state.entries.len() > 1 && state.entries[0].at < before {
                state.entries.pop_front();
                removed += 1;
            }
            removed
        })
    }

    fn values(&self) -> Answer<'_, Vec<(String, Held)>> {
        self.now(|state| {
            let values = state.table.iter();
            values
                .map(|(name, held)| (name.clone(), held.clone()))
                .collect()
        })
    }

    fn value<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Held>> {
        self.now(|state| state.table.get(name).cloned())
    }

    fn replace<'a>(
        &'a self,
        name: &'a str,
        expected: Expected,
        value: Option<&'a str>,
    ) -> Answer<'a, Written> {
        self.now(|state| {
            let there = state.table.get(name).map(|held| held.revision);
            let is_expected = match expected {
                Expected::Any => true,
                Expected::Absent => there.is_none(),
                Expected::Revision(revision) => there == Some(revision),
            };
            if !is_expected {
                return Written::No;
            }

            state.revision += 1;
            let revision = state.revision;
            match value.map(str::to_owned) {
                Some(value) => state
                    .table
                    .insert(name.to_owned(), Held { value, revision }),
                None => state.table.remove(name),
            };

            Written::Yes
        })
    }

    fn listen(&self) -> Answer<'_, Box<dyn WakeUps>> {
        self.now(|state| {
            let (wakes, heard) = mpsc::channel(WAITING);
            state.listeners.push(wakes);
            Box::new(Heard(heard)) as Box<dyn WakeUps>
        })
    }

    fn nudge(&self, wake: Wake) {
        self.server.state.lock().tell(wake);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Heard(mpsc::Receiver<Wake>);

impl WakeUps for Heard {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(async { self.0.recv().await.ok_or(LogError::Closed) })
    }
}
