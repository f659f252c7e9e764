//! [`JetStreamEngine`]: the stream and the table on a NATS server.
//!
//! The requests of one call are sent at once and over one connection, so a call costs one round
//! trip. An append costs two, because its epoch can only be read afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::HeaderMap;
use futures_util::future::{join, join4};
use tidings_core::log::{Epoch, LogError, Wake, WakeUps};

use super::{
    api::{Ack, Api, Info},
    fault::Fault,
    line::{Line, Lines},
    link::{Address, Link},
    listener::Listener,
    nudger::Nudger,
    shape::{Before, HEADERS, Shape},
    table::{Bound, Table},
};
use crate::{
    engine::{
        Answer, Appended, Begun, EPOCH, Engine, Entry, Expected, Held, Look, Page, Written,
        in_doubt,
    },
    stream::Needs,
    wire::id_of,
};

/// How often a call that changes the epoch is retried because others do the same.
const ATTEMPTS: usize = 8;

/// A stream and a bucket on a server.
#[derive(Debug)]
pub(super) struct JetStreamEngine {
    address: Address,
    api: Api,
    shape: Shape,
    needs: Needs,
    lines: Lines,
    nudger: Nudger,
    /// The connection over which stream and table were last created or checked.
    ensured: AtomicU64,
    /// Whether they ever existed.
    known: AtomicBool,
}

impl JetStreamEngine {
    pub(super) fn new(address: Address, shape: Shape, needs: Needs) -> Self {
        let link = Arc::new(Link::new(address.clone(), Arc::clone(&needs.clock)));
        Self {
            nudger: Nudger::start(&link, shape.nudges.clone(), &*needs.spawn),
            address,
            api: Api { link },
            shape,
            needs,
            lines: Lines::default(),
            ensured: AtomicU64::new(0),
            known: AtomicBool::new(false),
        }
    }

    fn table(&self) -> Table<'_> {
        Table {
            api: &self.api,
            shape: &self.shape,
        }
    }

    /// Creates or checks stream and table, once for each connection.
    async fn ensure(&self) -> Result<(), Fault> {
        self.api.link.client().await?;
        let connection = self.api.link.connections();
        if self.ensured.load(Ordering::Acquire) != connection {
            let before = match self.known.load(Ordering::Acquire) {
                true => Before::There,
                false => Before::Unknown,
            };
            self.shape.ensure(&self.api, before).await?;
            self.known.store(true, Ordering::Release);
            self.ensured.store(connection, Ordering::Release);
        }

        Ok(())
    }

    /// Makes the next call create stream and table again, if the answer was that one of them is
    /// missing.
    fn note_loss(&self, fault: &Fault) {
        if fault.has_no_stream() || matches!(fault, Fault::NoResponders) {
            self.ensured.store(0, Ordering::Release);
        }
    }

    /// Sends a request, and repeats it once if the stream or the table had to be created first, or
    /// if the connection was lost.
    async fn ask<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        question: impl Fn() -> F,
    ) -> Result<T, LogError> {
        let once = async || {
            self.ensure().await?;
            question().await
        };
        let answer = match once().await {
            Err(fault) if fault.has_no_stream() || fault.is_cut() => {
                self.note_loss(&fault);
                once().await
            }
            answer => answer,
        };
        answer.map_err(|fault| {
            self.note_loss(&fault);
            fault.of_a_question()
        })
    }

    /// Reads the state of the stream, and its epoch.
    async fn standing(&self) -> Result<(Info, Option<Epoch>), Fault> {
        let table = self.table();
        let (info, bound) = join(self.api.info(&self.shape.stream), table.epoch()).await;
        let info = info?;
        let epoch = bound?.and_then(|bound| bound.epoch_of(&info.created));
        Ok((info, epoch))
    }

    async fn look_once(&self) -> Result<Look, Fault> {
        let (info, epoch) = self.standing().await?;
        let (first, last) = (info.state.first(), info.state.last_seq);
        let newest = match first <= last {
            true => self.api.message(&self.shape.stream, last).await?,
            false => None,
        };
        Ok(Look {
            epoch,
            first,
            newest: newest.map(|stored| Entry {
                number: stored.number,
                bytes: stored.payload,
            }),
            now: u64::try_from(self.needs.clock.wall_micros().as_micros()).unwrap_or_default(),
        })
    }

    async fn read_once(
        &self,
        from: u64,
        limit: usize,
        bytes: usize,
        values: &[&str],
    ) -> Result<Page, Fault> {
        let (link, stream, from) = (&self.api.link, &self.shape.stream, from.max(1));
        let now = self.needs.clock.now();
        let rest = limit.saturating_sub(1);
        let line = match rest {
            0 => None,
            _ => self.lines.take(from + 1, link.connections(), now),
        };

        // The record at the cursor is read each time, even if a line answers: only its presence
        // proves that the reader has missed nothing.
        let table = self.table();
        let beside = join(table.epoch(), table.values(values));
        let first = self.api.message(stream, from);
        let beyond = self.pull_on(line, rest, bytes);
        let (info, first, (bound, values), beyond) =
            join4(self.api.info(stream), first, beside, beyond).await;
        let (info, first, bound, values) = (info?, first?, bound?, values?);

        let (oldest, mut last) = (info.state.first(), info.state.last_seq);
        let mut entries: Vec<_> = first
            .map(|stored| Entry {
                number: stored.number,
                bytes: stored.payload,
            })
            .into_iter()
            .collect();
        let next = entries
            .last()
            .map_or(oldest.max(from), |entry| entry.number + 1);
        let wanted = limit - entries.len().min(limit);
        let beyond = match beyond {
            // A line that returns nothing although there are records is not used again.
            Some((line, beyond)) if !beyond.is_empty() || next > last => {
                self.lines.put(line, &*self.needs.clock);
                beyond
            }
            Some(_) | None if wanted > 0 && next <= last => {
                self.pull_from(next, wanted, bytes).await?
            }
            Some(_) | None => Vec::new(),
        };

        // Records that do not follow are left out, and read the next time.
        for entry in beyond {
            if entries
                .last()
                .is_some_and(|before| entry.number != before.number + 1)
            {
                break;
            }
            last = last.max(entry.number);
            entries.push(entry);
        }

        Ok(Page {
            epoch: bound.and_then(|bound| bound.epoch_of(&info.created)),
            first: oldest,
            last,
            entries,
            values,
        })
    }

    /// Takes the records of a line; `None` if it does not answer as expected.
    async fn pull_on(
        &self,
        line: Option<Line>,
        limit: usize,
        bytes: usize,
    ) -> Option<(Line, Vec<Entry>)> {
        let mut line = line?;
        match line.pull(&self.api, &self.shape.stream, limit, bytes).await {
            Ok(entries) => Some((line, entries)),
            Err(fault) => {
                tracing::debug!(?fault, "another consumer is opened");
                None
            }
        }
    }

    /// Opens a line and takes its records.
    async fn pull_from(&self, from: u64, limit: usize, bytes: usize) -> Result<Vec<Entry>, Fault> {
        let mut line = Line::open(&self.api, &self.shape.stream, from).await?;
        let entries = line
            .pull(&self.api, &self.shape.stream, limit, bytes)
            .await?;
        self.lines.put(line, &*self.needs.clock);
        Ok(entries)
    }

    /// Publishes a record. The stream ignores a second copy of a record that it has.
    async fn publish(&self, record: &[u8]) -> Result<Ack, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id_of(record).simple().to_string());
        headers.insert("Nats-Expected-Stream", &*self.shape.stream);
        let records = &self.shape.records;
        self.api.publish(records, headers, record.to_vec()).await
    }

    async fn append_once(&self, epoch: Epoch, record: &[u8]) -> Result<Appended, LogError> {
        self.ensure().await.map_err(Fault::of_a_question)?;
        let ack = match self.publish(record).await {
            Ok(ack) => ack,
            // No stream accepts it; the caller checks what exists now.
            Err(Fault::NoResponders) => {
                self.note_loss(&Fault::NoResponders);
                self.ensure().await.map_err(Fault::of_a_question)?;
                return Ok(Appended::Moved);
            }
            Err(fault) => return Err(fault.of_a_change()),
        };

        // Epochs do not come back: the epoch that is seen now was also the current one when the
        // record got its number.
        let standing = self.standing().await;
        let (_, now) = standing.map_err(|fault| in_doubt(fault.of_a_question()))?;
        if now != Some(epoch) {
            return Ok(Appended::Moved);
        }
        if ack.duplicate && !self.holds(ack.number, record).await? {
            let lost = "the stream says that it has the record already, and does not hold it";
            return Err(LogError::InDoubt(lost.into()));
        }

        Ok(Appended::At(ack.number))
    }

    async fn holds(&self, number: u64, record: &[u8]) -> Result<bool, LogError> {
        let stored = self.api.message(&self.shape.stream, number).await;
        let stored = stored.map_err(|fault| in_doubt(fault.of_a_question()))?;
        Ok(stored.is_some_and(|stored| stored.payload == record))
    }

    async fn begin_once(
        &self,
        over: Option<Epoch>,
        epoch: Epoch,
        record: &[u8],
    ) -> Result<Begun, LogError> {
        let ensured = self.ensure().await;
        ensured.map_err(Fault::of_a_question)?;

        for _ in 0..ATTEMPTS {
            let (info, held) = self
                .ask(async || {
                    let table = self.table();
                    let held = table.value(EPOCH);
                    let (info, held) = join(self.api.info(&self.shape.stream), held).await;
                    Ok((info?, held?))
                })
                .await?;
            let bound = held.as_ref().and_then(|held| Bound::of_text(&held.value));
            let now = bound.and_then(|bound| bound.epoch_of(&info.created));
            if now != over {
                return Ok(Begun::Is(now));
            }

            let expected = held.map_or(Expected::Absent, |held| Expected::Revision(held.revision));
            let text = Bound::text(epoch, &info.created);
            let written = self.table().replace(EPOCH, expected, Some(&text)).await;

            match written.map_err(Fault::of_a_change)? {
                Written::Yes => {
                    self.check_held(epoch).await?;
                    let ack = self.publish(record).await.map_err(Fault::of_a_change)?;
                    return Ok(Begun::At(ack.number));
                }
                Written::No => {} // another node was faster
            }
        }

        Err(LogError::Unreachable(
            "the epoch of the stream changes again and again".into(),
        ))
    }

    /// Checks that the bucket holds the epoch that it has acknowledged, or a later one. A bucket
    /// whose files are gone does not, and nodes would begin epochs in it endlessly.
    async fn check_held(&self, epoch: Epoch) -> Result<(), LogError> {
        let held = self.table().value(EPOCH).await;
        match held.map_err(|fault| in_doubt(fault.of_a_question()))? {
            Some(_) => Ok(()),
            None => Err(LogError::Unfit {
                reason: format!(
                    "the stream {} has acknowledged the epoch {epoch} and does not hold it: its \
                     files are gone from the server; delete it and have a node make it again",
                    self.shape.bucket
                ),
            }),
        }
    }

    async fn keep_for(&self, retention: Duration) -> Result<u64, Fault> {
        let info = self.api.info(&self.shape.stream).await?;
        if let Some(config) = Shape::kept_for(&info, retention) {
            self.api.update(&self.shape.stream, &config).await?;
            tracing::info!(
                stream = self.shape.stream,
                ?retention,
                "the stream keeps records"
            );
        }

        Ok(0)
    }
}

impl Engine for JetStreamEngine {
    fn name(&self) -> &'static str {
        "jetstream"
    }

    fn largest(&self) -> usize {
        let server = self.api.link.max_payload();
        let server = server.map_or(usize::MAX, |most| most.saturating_sub(HEADERS));
        self.needs.largest.min(server)
    }

    fn connections(&self) -> u64 {
        self.api.link.connections()
    }

    fn look(&self) -> Answer<'_, Look> {
        Box::pin(self.ask(|| self.look_once()))
    }

    fn read<'a>(
        &'a self,
        from: u64,
        limit: usize,
        bytes: usize,
        values: &'a [&'a str],
    ) -> Answer<'a, Page> {
        Box::pin(self.ask(move || self.read_once(from, limit, bytes, values)))
    }

    fn append<'a>(&'a self, epoch: Epoch, record: &'a [u8]) -> Answer<'a, Appended> {
        Box::pin(self.append_once(epoch, record))
    }

    fn begin<'a>(
        &'a self,
        over: Option<Epoch>,
        epoch: Epoch,
        record: &'a [u8],
    ) -> Answer<'a, Begun> {
        Box::pin(self.begin_once(over, epoch, record))
    }

    fn trim(&self, retention: Duration) -> Answer<'_, u64> {
        Box::pin(self.ask(move || self.keep_for(retention)))
    }

    fn values(&self) -> Answer<'_, Vec<(String, Held)>> {
        Box::pin(self.ask(async || self.table().all().await))
    }

    fn value<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Held>> {
        Box::pin(self.ask(async move || self.table().value(name).await))
    }

    fn replace<'a>(
        &'a self,
        name: &'a str,
        expected: Expected,
        value: Option<&'a str>,
    ) -> Answer<'a, Written> {
        Box::pin(async move {
            self.ensure().await.map_err(Fault::of_a_question)?;
            let written = self.table().replace(name, expected, value).await;
            written.map_err(|fault| {
                self.note_loss(&fault);
                fault.of_a_change()
            })
        })
    }

    fn listen(&self) -> Answer<'_, Box<dyn WakeUps>> {
        Box::pin(async {
            self.ask(async || {
                let link = Link::new(self.address.clone(), Arc::clone(&self.needs.clock));
                let api = Api {
                    link: Arc::new(link),
                };
                let listener = Listener::start(api, &self.shape).await?;
                Ok(Box::new(listener) as Box<dyn WakeUps>)
            })
            .await
        })
    }

    fn nudge(&self, wake: Wake) {
        self.nudger.nudge(&wake);
    }
}

#[cfg(test)]
mod tests;
