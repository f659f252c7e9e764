//! [`Protocol`]: one node's share of the cluster, put together from its parts.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tidings_cache::Cache;
use tidings_core::{
    CacheKey, Schema,
    clock::Clock,
    entropy::Entropy,
    log::{
        Appended, Cursor, Epoch, EvictionTarget, LogError, Mark, MemberFacts, MemberId, Members,
        Posted, StartId, Wake, WakeUps,
    },
    meter::Histogram,
    spawn::{AbortHandle, Spawn},
};
use tokio::sync::Notify;

use super::{
    carry::Carrier,
    confirm::{Confirmed, Unconfirmed},
    dispatch,
    replays::Replays,
    shared::{ClusterStats, Counters, Progress, PurgeCause, Shared, count},
    tail, tell,
    wake_link::{Deafness, WakeLink},
};
use crate::{
    announce::{Announce, Observe},
    gate::Gate,
    intake::Intake,
    keys::Catalog,
    numbers::Numbers,
    outbox::Outbox,
    questions::Questions,
    queue::{Queue, Room},
    reached::{Passes, Reached},
    settings::{ClusterSettings, SettingError},
    trail::Trail,
};

/// The most that an event of an application's own may take, in bytes of JSON.
const PAYLOAD: usize = 1 << 20;

/// How long a link for wake-ups holds before it counts as mended.
const LASTING: Duration = Duration::from_secs(10);

/// How long a node that leaves waits for the log to have what it has invalidated by hand.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a node's protocol is made of.
#[derive(Debug)]
pub struct Parts {
    /// The node's name; other members name it by this.
    pub node: Arc<str>,
    /// What the node's cache asks; made with the log.
    pub intake: Arc<Intake>,
    /// The members beside it; none where no one can ask for receipts.
    pub members: Option<Arc<dyn Members>>,
    /// What the other members are told of this one, to compare; none to say nothing.
    pub facts: Option<MemberFacts>,
    /// What carries the cache's invalidations to the other nodes; none where there are none.
    pub carrier: Option<Arc<Carrier>>,
    /// The node's cache.
    pub cache: Cache,
    /// The entities whose rows this node knows.
    pub schemas: Vec<&'static Schema>,
    /// The handlers.
    pub announce: Arc<dyn Announce>,
    /// Whatever watches.
    pub observe: Arc<dyn Observe>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where tasks run.
    pub spawn: Arc<dyn Spawn>,
    /// Where ids and jitter come from.
    pub entropy: Arc<dyn Entropy>,
    /// What was set.
    pub settings: ClusterSettings,
}

/// A node's share of the cluster. Clones are handles of the same; its tasks end with the last of
/// them.
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
    /// Puts a node together and starts its tasks: the tail, the dispatcher, and the listener for
    /// wake-ups. Waits for nothing: the log may be out of reach, and the node then answers loads
    /// and keeps nothing until it is not.
    ///
    /// # Errors
    ///
    /// When a setting is refused.
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

    /// Starts the task that hands [what the log tells](Announce::told) on. To be called once, where
    /// anything may come to watch.
    pub fn tell(&self) {
        let task = start(&self.shared, "teller", tell::run(Arc::clone(&self.shared)));
        self._tasks.0.lock().push(task);
    }

    /// Returns the gate that the cache asks by way of its [`Intake`].
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.shared.gate
    }

    /// Evicts what an own write has changed, once its commit was acknowledged; wakes the other
    /// nodes and the own tail. The future resolves when the node's handlers of the given entities
    /// have run, or after the handlers' deadline; it is ready if there are none.
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

    /// Evicts what an own write may have changed whose commit is in doubt.
    pub fn in_doubt(&self, mark: Option<Mark>, keys: &[CacheKey]) {
        self.shared.evict_doubtful(mark, keys);
        self.shared.look.notify_one();
    }

    /// Makes every node evict something: this one before the future is first polled, the others by
    /// a record. Returns its mark.
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

    /// Posts an event of an application's own to the handlers of every node, this one among them:
    /// they hear of it in the log's order. Returns its mark once the log has it.
    ///
    /// # Errors
    ///
    /// See [`LogError`]; no one hears of it, unless the answer was lost ([`LogError::InDoubt`]).
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

    /// Waits until the node follows the log: what is committed from then on reaches its handlers.
    /// Give it a deadline.
    pub async fn until_following(&self) {
        self.shared.seen.until(|_| true).await;
    }

    /// Waits until this node has applied a commit: evicted, and its handlers have run. Never
    /// resolves if the commit's epoch ends before that: give it a deadline.
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

    /// Waits until this node serves nothing older than a commit: it has applied it, or the commit's
    /// epoch has ended, the node has purged into a later one or started in it, and has applied what
    /// was committed before this call. Never resolves for a commit of an epoch that this node does
    /// not get to: give it a deadline.
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

    /// Waits until every member has applied a commit, or must have stopped serving what was before
    /// it. To be called once the commit was acknowledged.
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

    /// Returns whether there is a cluster: other nodes may follow the same log.
    #[must_use]
    pub fn has_members(&self) -> bool {
        self.shared.members.is_some()
    }

    /// Counts the records that an own write has made.
    pub fn count_written(&self, records: usize) {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let written = &self.shared.counters.written;
        written.fetch_add(records, std::sync::atomic::Ordering::Relaxed);
    }

    /// Returns how long it took from the acknowledgement of own commits until this node had applied
    /// them.
    #[must_use]
    pub fn apply_time(&self) -> &Histogram {
        &self.shared.counters.apply_time
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Leaves the cluster: stops fills, purges what the node will not hear of any more, then
    /// deletes the row that others count on, which a join that is under way may write only now.
    ///
    /// # Errors
    ///
    /// See [`LogError`]. Without its row deleted the node is waited for until its bound has run
    /// out.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future purges and ends the tasks all the same; the row may be left, but for
    /// that of a join which is under way.
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

    /// Returns what was counted.
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
                    self.wake_link.lock().is_there(now);
                    // What was committed before the link was there was announced to no one here.
                    self.look.notify_one();
                    self.hear(&mut *wakes, &mut deafness).await
                }
                Err(error) => error,
            };
            let now = self.clock.wall();
            self.wake_link.lock().is_gone(now);
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
