//! [`Protocol`]: the protocol of one node, assembled from its parts.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tidings_core::{
    CacheKey,
    log::{
        Appended, Cursor, Epoch, EvictionTarget, LogError, Mark, MemberId, Posted, StartId, Wake,
        WakeUps,
    },
    meter::Histogram,
    spawn::AbortHandle,
};
use tokio::sync::Notify;

use super::{
    confirm::{Confirmed, Unconfirmed},
    dispatch,
    parts::Parts,
    replays::Replays,
    shared::{ClusterStats, Counters, Progress, PurgeCause, Shared, count},
    tail, tell,
    wake_link::{Deafness, WakeLink},
};
use crate::{
    gate::Gate,
    keys::Catalog,
    numbers::Numbers,
    outbox::Outbox,
    questions::Questions,
    queue::{Queue, Room},
    reached::{Passes, Reached},
    settings::SettingError,
    trail::Trail,
};

/// The most that an event of an application's own may take, in bytes of JSON.
const PAYLOAD: usize = 1 << 20;

/// How long a link for wake-ups holds before it counts as mended.
const LASTING: Duration = Duration::from_secs(10);

/// How long a node that leaves waits for the log to have what it has invalidated by hand.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The protocol of one node. Clones are handles of the same protocol; its tasks end when the last
/// handle is dropped.
#[derive(Clone)]
pub struct Protocol {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

/// Ends the tasks when it is dropped.
struct Tasks(Mutex<Vec<AbortHandle>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.get_mut().iter().for_each(AbortHandle::abort);
    }
}

/// Starts a task of a node.
fn start(
    shared: &Arc<Shared>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    let of = Arc::clone(shared);
    shared
        .spawn
        .spawn(Box::pin(async move { of.guarded(name, work).await }))
}

impl Protocol {
    /// Assembles a node and starts its tasks: the tail, the dispatcher, and the listener for
    /// wake-ups. It does not wait for the log. If the log cannot be reached, the node answers
    /// loads, and keeps nothing until it can read the log.
    ///
    /// # Errors
    ///
    /// A setting is invalid.
    pub fn assemble(parts: Parts) -> Result<Self, SettingError> {
        let settings = parts.settings;
        settings.check()?;

        let gate = Arc::clone(parts.intake.gate());
        let now = parts.clock.wall();
        let shared = Arc::new(Shared {
            node: parts.node,
            start: StartId(parts.entropy.uuid()),
            log: Arc::clone(&parts.intake.log),
            intake: parts.intake,
            members: parts.members,
            facts: parts.facts,
            cache: parts.cache,
            catalog: Catalog::new(&parts.schemas),
            announce: parts.announce,
            observe: parts.observe,
            gate,
            clock: parts.clock,
            spawn: parts.spawn,
            entropy: parts.entropy,
            queue: Queue::new(Room {
                records: settings.queue,
                bytes: None,
            }),
            watch: Queue::new(tell::room(settings.queue)),
            replays: Replays::default(),
            seen: Reached::default(),
            applied: Reached::default(),
            trail: Trail::default(),
            passes: Passes::default(),
            look: Notify::new(),
            hint: Notify::new(),
            numbers: Mutex::new(Numbers::new(settings.remembered)),
            own: Mutex::default(),
            outbox: Outbox::default(),
            questions: Questions::default(),
            progress: Mutex::default(),
            commits: Mutex::default(),
            member: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            answered: Mutex::default(),
            wake_link: Mutex::new(WakeLink::new(now)),
            counters: Counters::default(),
            settings,
        });

        let of = || Arc::clone(&shared);
        let mut tasks = vec![
            start(&shared, "tail", tail::run(of())),
            start(&shared, "dispatcher", dispatch::run(of())),
            start(&shared, "listener", of().listen()),
            start(&shared, "counting", of().keep_counting()),
            start(&shared, "asking", of().ask_on()),
        ];
        if let Some(carrier) = parts.carrier {
            carrier.connect(&shared);
            tasks.push(start(&shared, "carrier", of().send_on()));
        }

        Ok(Self {
            shared,
            _tasks: Arc::new(Tasks(Mutex::new(tasks))),
        })
    }

    /// Starts the task that passes the contents of the log to
    /// [`Announce::told`](crate::Announce::told). Call it once, if anything may watch.
    pub fn tell(&self) {
        let task = start(&self.shared, "teller", tell::run(Arc::clone(&self.shared)));
        self._tasks.0.lock().push(task);
    }

    /// Returns the gate that the cache asks through its [`Intake`](crate::Intake).
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.shared.gate
    }

    /// Evicts the rows of this node's own write, once its commit has been acknowledged, and wakes
    /// the other nodes and this node's tail. The future resolves when the node's handlers of the
    /// given entities have run, or after the handlers' deadline. It is ready at once if there are
    /// none.
    pub fn committed(
        &self,
        mark: Mark,
        keys: &[CacheKey],
        entities: &[&str],
    ) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        shared.commits.lock().begin(mark, shared.clock.now());
        shared.evict_committed(mark, keys);

        // The writer waits: of a commit that is too large to be named no digest is made.
        let named = (keys.len() <= Wake::MOST_KEYS).then_some(keys);
        let digests = named.and_then(|keys| {
            let digests = keys.iter().map(|key| shared.log.digest(key));
            digests.collect::<Option<Vec<_>>>()
        });
        shared.log.wake(match digests {
            Some(keys) => Wake::Committed { mark, keys },
            None => Wake::Look,
        });
        shared.look.notify_one();

        let listens = entities.iter().any(|it| shared.announce.listens(it));
        async move {
            if !listens {
                return;
            }
            let applied = std::pin::pin!(shared.until_applied(mark));
            let deadline = shared.clock.sleep(shared.settings.handler_deadline);
            match select(applied, deadline).await {
                Either::Left(_) => {}
                Either::Right(_) => count(&shared.counters.late_handlers),
            }
        }
    }

    /// Evicts the rows that this node's own write may have changed, if its commit is in doubt.
    pub fn in_doubt(&self, mark: Option<Mark>, keys: &[CacheKey]) {
        self.shared.evict_doubtful(mark, keys);
        self.shared.look.notify_one();
    }

    /// Makes every node evict: this node before the future is first polled, the other nodes through
    /// a record. Returns the record's mark.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. This node has evicted in any case.
    pub fn evict_everywhere(
        &self,
        cache: Arc<str>,
        target: EvictionTarget,
    ) -> impl Future<Output = Result<Mark, LogError>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let eviction = shared.eviction_of(cache, target);
        let number = shared.evict_as_told(&eviction);
        shared.own.lock().remember(eviction.id, number);

        async move {
            let mark = shared.log.append(Appended::Evict(eviction)).await?;
            count(&shared.counters.written);
            shared.log.wake(Wake::Look);
            shared.look.notify_one();
            Ok(mark)
        }
    }

    /// Posts an event of an application to the handlers of every node, including this one, in the
    /// log's order. Returns its mark once the log has it.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. No handler runs for the event, unless the answer was lost
    /// ([`LogError::InDoubt`]).
    pub async fn post(
        &self,
        source: Arc<str>,
        event: Arc<str>,
        payload: Arc<str>,
    ) -> Result<Mark, LogError> {
        let size = payload.len();
        if size > PAYLOAD {
            return Err(LogError::TooLarge {
                size,
                limit: PAYLOAD,
            });
        }

        let shared = &self.shared;
        let posted = Posted {
            id: shared.entropy.uuid(),
            origin: Some(Arc::clone(&shared.node)),
            source,
            event,
            payload,
        };
        let mark = shared.log.append(Appended::Event(posted)).await?;

        count(&shared.counters.written);
        shared.log.wake(Wake::Look);
        shared.look.notify_one();

        Ok(mark)
    }

    /// Waits until the node follows the log. Changes that are committed after that reach its
    /// handlers. Give it a deadline.
    pub async fn until_following(&self) {
        self.shared.seen.until(|_| true).await;
    }

    /// Waits until this node has applied a commit: it has evicted, and its handlers have run. Never
    /// resolves if the commit's epoch ends before that, so give it a deadline.
    pub async fn until_applied(&self, mark: Mark) {
        self.shared.look.notify_one();
        self.shared.until_applied(mark).await;
    }

    /// Returns whether the tail has passed a commit's number: before the commit that says that the
    /// log has lost the one that it was.
    #[must_use]
    pub fn has_passed(&self, mark: Mark) -> bool {
        self.shared.has_passed(mark)
    }

    /// Returns whether this node has applied a commit.
    #[must_use]
    pub fn has_applied(&self, mark: Mark) -> bool {
        self.shared.has_applied(mark)
    }

    /// Waits until this node serves nothing older than a commit. That is so once it has applied the
    /// commit. It is also so if the commit's epoch has ended, the node has purged into a later
    /// epoch or started in it, and has applied everything that was committed before this call.
    /// Never resolves for a commit of an epoch that this node does not reach, so give it a
    /// deadline.
    pub async fn until_reached(&self, mark: Mark) {
        let asked = self.shared.passes.last();
        self.shared.look.notify_one();
        self.shared.until_reached(mark, asked).await;
    }

    /// Waits until this node has left an epoch that the log has ended, or makes it look whether it
    /// has. Never resolves while the epoch goes on: give it a deadline.
    pub async fn until_after(&self, epoch: Epoch) {
        self.shared.look.notify_one();
        let left = |cursor: &Cursor| cursor.epoch() != epoch;
        self.shared.seen.until(left).await;
    }

    /// Waits until every member has applied a commit, or must have stopped serving values from
    /// before it. Call it once the commit has been acknowledged.
    ///
    /// # Errors
    ///
    /// Names the members that did neither in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back.
    pub async fn confirm(&self, mark: Mark, timeout: Duration) -> Result<Confirmed, Unconfirmed> {
        self.shared.confirm(mark, timeout).await
    }

    /// Returns whether there is a cluster, so that other nodes may follow the same log.
    #[must_use]
    pub fn has_members(&self) -> bool {
        self.shared.members.is_some()
    }

    /// Counts the records of this node's own write.
    pub fn count_written(&self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let written = &self.shared.counters.written;
        written.fetch_add(records, std::sync::atomic::Ordering::Relaxed);
    }

    /// Returns the times from the acknowledgement of this node's own commits until the node had
    /// applied them.
    #[must_use]
    pub fn apply_time(&self) -> &Histogram {
        &self.shared.counters.apply_time
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Leaves the cluster: stops fills, purges the entries whose changes the node will not see any
    /// more, then deletes the row for which others wait. A join in progress may write that row only
    /// now.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. If the row is not deleted, the other nodes wait for this node until its
    /// bound has passed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future still purges and ends the tasks. The row may remain, except for that of
    /// a join in progress.
    pub async fn leave(&self) -> Result<(), LogError> {
        let ending = Ending(self);
        self.shared.flush(LAST_WORDS).await;
        drop(ending);

        self.shared.until_joined().await;
        let member = self.shared.member.lock().take();
        match (&self.shared.members, member) {
            (Some(members), Some(member)) => members.leave(&member).await,
            _ => Ok(()),
        }
    }

    /// Stops fills and hits for good, purges, and ends the tasks.
    fn end(&self) {
        self.shared.gate.supersede();
        self.shared.purge(PurgeCause::Ends);
        self.shared.note_progress(Progress::Over);
        self._tasks.0.lock().iter().for_each(AbortHandle::abort);
    }

    /// Returns this node's membership, if it has joined.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.shared.member.lock().clone()
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        self.shared.counters.stats()
    }
}

/// Ends a node's part when it is dropped: with the future of its leaving, at the latest.
struct Ending<'a>(&'a Protocol);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protocol")
            .field("node", &self.shared.node)
            .field("gate", &self.shared.gate)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Receives wake-ups, and listens again whenever the link is gone: later after each time that
    /// it did not last.
    async fn listen(self: Arc<Self>) {
        let mut deafness = Deafness::default();
        loop {
            let error = match self.log.listen().await {
                Ok(mut wakes) => {
                    let now = self.clock.wall();
                    self.wake_link.lock().note_connected(now);
                    // What was committed before the link was there was announced to no one here.
                    self.look.notify_one();
                    self.hear(&mut *wakes, &mut deafness).await
                }
                Err(error) => error,
            };
            let now = self.clock.wall();
            self.wake_link.lock().note_lost(now);
            deafness.begins(&error);

            let pause = deafness.pause(self.settings.pause());
            self.clock.sleep(pause).await;
        }
    }

    /// Receives wake-ups until the link is gone.
    async fn hear(&self, wakes: &mut dyn WakeUps, deafness: &mut Deafness) -> LogError {
        let hearing = pin!(async {
            loop {
                match wakes.next().await {
                    Ok(wake) => self.wake_up(&wake),
                    Err(error) => break error,
                }
            }
        });

        match select(hearing, self.clock.sleep(LASTING)).await {
            Either::Left((error, _)) => error,
            Either::Right(((), hearing)) => {
                deafness.ends();
                hearing.await
            }
        }
    }
}
