//! [`RedisEngine`]: the engine on a Redis server, with one script for each call.

use std::{fmt, sync::Arc, time::Duration};

use redis::{RedisError, Value};
use tidings_core::{
    Chain,
    log::{Epoch, LogError, NextWake, Wake, WakeUps},
    spawn::AbortHandle,
};
use tokio::sync::Notify;

use super::{
    Keys,
    answer::{self, Parts, unexpected},
    link::{Asks, Link, Place},
    listening::Listener,
    scripts,
};
use crate::{
    engine::{Answer, Appended, Begun, Engine, Entry, Expected, Held, Look, Page, Written},
    stream::Needs,
    wire::{epoch_of_text, epoch_text},
};

/// The pause between two nudges.
const PAUSE: Duration = Duration::from_millis(1);
/// The pause after a nudge that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// A log's links to its server.
pub(super) struct RedisEngine {
    link: Arc<Link>,
    largest: usize,
    nudges: Arc<Nudges>,
    sender: AbortHandle,
}

/// The nudge to be sent next.
#[derive(Debug, Default)]
struct Nudges {
    next: NextWake,
    some: Notify,
}

impl RedisEngine {
    pub(super) fn new(place: Place, keys: Keys, needs: Needs) -> Self {
        let Needs {
            clock,
            spawn,
            largest,
        } = needs;
        let link = Arc::new(Link::new(place, keys, clock, Arc::clone(&spawn)));
        let nudges = Arc::new(Nudges::default());
        let sender = spawn.spawn(Box::pin(send(Arc::clone(&link), Arc::clone(&nudges))));
        Self {
            link,
            largest,
            nudges,
            sender,
        }
    }
}

/// Sends nudges from a task of its own. All that are requested while one is being sent are combined
/// to one more.
async fn send(link: Arc<Link>, nudges: Arc<Nudges>) {
    loop {
        nudges.some.notified().await;
        let Some(wake) = nudges.next.take() else {
            continue; // the last one included it
        };
        let mut nudge = link.script(scripts::NUDGE);
        nudge.arg(wake.word());

        match link.ask(nudge, Asks::Writes, |_| Ok(())).await {
            Ok(()) => link.clock().sleep(PAUSE).await,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "other nodes were not woken; they find it at their next poll");
                link.clock().sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Reads the text of an epoch; an empty text means no epoch.
fn epoch_of(text: &str) -> Result<Option<Epoch>, RedisError> {
    match text {
        "" => Ok(None),
        text => match epoch_of_text(text) {
            Some(epoch) => Ok(Some(epoch)),
            None => Err(unexpected("the epoch of the stream is malformed")),
        },
    }
}

/// Reads a value with its revision; an empty text means no value.
fn held_of(text: &str) -> Result<Option<Held>, RedisError> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || unexpected("a value beside the stream is malformed");
    let (revision, value) = text.split_once('|').ok_or_else(malformed)?;
    Ok(Some(Held {
        value: value.to_owned(),
        revision: revision.parse().map_err(|_| malformed())?,
    }))
}

fn look_of(answer: Value) -> Result<Look, RedisError> {
    let mut parts = Parts::of(answer)?;
    let epoch = epoch_of(&parts.text()?)?;
    let (first, number) = (parts.number()?, parts.number()?);
    let bytes = parts.bytes()?;
    Ok(Look {
        epoch,
        first,
        newest: (number > 0).then_some(Entry { number, bytes }),
        now: parts.number()?,
    })
}

fn page_of(answer: Value) -> Result<Page, RedisError> {
    let mut parts = Parts::of(answer)?;
    let epoch = epoch_of(&parts.text()?)?;
    let (first, last) = (parts.number()?, parts.number()?);

    let (mut list, mut entries) = (parts.list()?, Vec::new());
    while !list.is_over() {
        let (number, bytes) = (list.number()?, list.bytes()?);
        entries.push(Entry { number, bytes });
    }

    let (mut list, mut values) = (parts.list()?, Vec::new());
    while !list.is_over() {
        values.push(held_of(&list.text()?)?.map(|held| held.value));
    }

    Ok(Page {
        epoch,
        first,
        last,
        entries,
        values,
    })
}

impl Engine for RedisEngine {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn largest(&self) -> usize {
        self.largest
    }

    fn connections(&self) -> u64 {
        self.link.connections()
    }

    fn look(&self) -> Answer<'_, Look> {
        let look = self.link.script(scripts::LOOK);
        Box::pin(self.link.ask(look, Asks::Reads, look_of))
    }

    fn read<'a>(
        &'a self,
        from: u64,
        limit: usize,
        bytes: usize,
        values: &'a [&'a str],
    ) -> Answer<'a, Page> {
        let mut read = self.link.script(scripts::READ);
        read.arg(from).arg(limit).arg(bytes).arg(values);
        Box::pin(self.link.ask(read, Asks::Reads, page_of))
    }

    fn append<'a>(&'a self, epoch: Epoch, record: &'a [u8]) -> Answer<'a, Appended> {
        let mut append = self.link.script(scripts::APPEND);
        append.arg(epoch_text(epoch)).arg(record);

        Box::pin(self.link.ask(
            append,
            Asks::Writes,
            |answer| match answer::text(answer)?.as_str() {
                "" => Ok(Appended::Moved),
                number => match number.parse() {
                    Ok(number) => Ok(Appended::At(number)),
                    Err(_) => Err(unexpected("expected a number")),
                },
            },
        ))
    }

    fn begin<'a>(
        &'a self,
        over: Option<Epoch>,
        epoch: Epoch,
        record: &'a [u8],
    ) -> Answer<'a, Begun> {
        let mut begin = self.link.script(scripts::BEGIN);
        begin.arg(over.map(epoch_text).unwrap_or_default());
        begin.arg(epoch_text(epoch)).arg(record);

        Box::pin(self.link.ask(begin, Asks::Writes, |answer| {
            let mut parts = Parts::of(answer)?;
            let (number, epoch) = (parts.text()?, parts.text()?);
            match number.as_str() {
                "" => Ok(Begun::Is(epoch_of(&epoch)?)),
                number => match number.parse() {
                    Ok(number) => Ok(Begun::At(number)),
                    Err(_) => Err(unexpected("expected a number")),
                },
            }
        }))
    }

    fn trim(&self, retention: Duration) -> Answer<'_, u64> {
        let mut trim = self.link.script(scripts::TRIM);
        trim.arg(retention.as_micros().to_string());
        Box::pin(self.link.ask(trim, Asks::Writes, |answer| {
            let removed = answer::text(answer)?;
            removed.parse().map_err(|_| unexpected("expected a number"))
        }))
    }

    fn values(&self) -> Answer<'_, Vec<(String, Held)>> {
        let values = self.link.script(scripts::VALUES);
        Box::pin(self.link.ask(values, Asks::Reads, |answer| {
            let (mut list, mut values) = (Parts::of(answer)?, Vec::new());
            while !list.is_over() {
                let name = list.text()?;
                if let Some(held) = held_of(&list.text()?)? {
                    values.push((name, held));
                }
            }
            Ok(values)
        }))
    }

    fn value<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Held>> {
        let mut value = self.link.script(scripts::VALUE);
        value.arg(name);
        let read = |answer| held_of(&answer::text(answer)?);
        Box::pin(self.link.ask(value, Asks::Reads, read))
    }

    fn replace<'a>(
        &'a self,
        name: &'a str,
        expected: Expected,
        value: Option<&'a str>,
    ) -> Answer<'a, Written> {
        let mut replace = self.link.script(scripts::REPLACE);
        replace.arg(name);
        match expected {
            Expected::Any => replace.arg("any"),
            Expected::Absent => replace.arg("absent"),
            Expected::Revision(revision) => replace.arg(revision),
        };

        if let Some(value) = value {
            replace.arg(value);
        }

        Box::pin(self.link.ask(replace, Asks::Writes, |answer| {
            Ok(match answer::text(answer)?.as_str() {
                "1" => Written::Yes,
                _ => Written::No,
            })
        }))
    }

    fn listen(&self) -> Answer<'_, Box<dyn WakeUps>> {
        Box::pin(async {
            let listener = Listener::start(&self.link).await?;
            Ok::<_, LogError>(Box::new(listener) as Box<dyn WakeUps>)
        })
    }

    fn nudge(&self, wake: Wake) {
        self.nudges.next.ask(&wake);
        self.nudges.some.notify_one();
    }
}

impl Drop for RedisEngine {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl fmt::Debug for RedisEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisEngine")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
