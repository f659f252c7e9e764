//! [`Net`]: the links between the processes and the store, and between the processes.
//!
//! A question takes a while to arrive and is answered in one step, and the answer takes a while to
//! come back. Either may be lost; then the caller gets an error after a time-out. A crash of the
//! store breaks every question in progress.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use parking_lot::Mutex;
use tidings_core::{
    CacheKey, PrimaryKey,
    entropy::Entropy,
    log::{
        Appended, Cursor, Demand, Digest, Group, Head, Join, JoinError, Log, LogError, LogFuture,
        Mark, MemberId, MemberRow, MemberSight, Members, Read, Wake, WakeUps,
    },
    spawn::Spawn,
};
use tokio::sync::Notify;

use super::{
    plan::{Profile, Wire},
    traffic::{self, Kind, Traffic},
    world::{Lane, Moment, OUTSIDE, World},
};
use crate::kit::{memory::MemoryLog, model::TransactionId};

/// How long a caller waits for an answer before it gives up.
const TIME_OUT: Duration = Duration::from_millis(40);

#[derive(Debug)]
pub(super) struct Net {
    pub(super) world: Arc<World>,
    pub(super) memory: MemoryLog,
    profile: Profile,
    /// Counts the crashes. Each breaks all open connections.
    crashes: AtomicU64,
    /// What the processes have sent and received.
    pub(super) traffic: Traffic,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<Lane, Links>,
    /// Everything is mended.
    calm: bool,
    /// Each message takes the same time, and arrives once.
    even: bool,
}

#[derive(Debug, Default)]
struct Links {
    log_cut: Moment,
    pool_cut: Moment,
    dead: bool,
    wakes: VecDeque<Wake>,
    woken: Arc<Notify>,
    open: Vec<TransactionId>,
}

/// No answer came. What was asked for may have been done.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer")]
pub(super) struct Lost;

impl From<Lost> for LogError {
    fn from(lost: Lost) -> Self {
        Self::Unreachable(lost.into())
    }
}

impl Net {
    pub(super) fn new(world: Arc<World>, memory: MemoryLog, profile: Profile) -> Arc<Self> {
        Arc::new(Self {
            world,
            memory,
            profile,
            crashes: AtomicU64::new(0),
            traffic: Traffic::default(),
            state: Mutex::default(),
        })
    }

    pub(super) fn connect(&self, lane: Lane) {
        self.state.lock().links.insert(lane, Links::default());
    }

    pub(super) fn cut(&self, lane: Lane, wire: Wire, until: Moment) {
        let mut state = self.state.lock();
        let Some(links) = state.links.get_mut(&lane) else {
            return;
        };

        let (log, pool) = match wire {
            Wire::Log => (true, false),
            Wire::Pool => (false, true),
            Wire::All => (true, true),
        };
        if log {
            links.log_cut = links.log_cut.max(until);
        }
        if pool {
            links.pool_cut = links.pool_cut.max(until);
        }
    }

    /// Cuts a process off for good. Its open transactions end when the store notices.
    pub(super) fn kill(self: &Arc<Self>, lane: Lane) {
        let open = {
            let mut state = self.state.lock();
            let Some(links) = state.links.get_mut(&lane) else {
                return;
            };
            links.dead = true;
            std::mem::take(&mut links.open)
        };
        let net = Arc::clone(self);
        self.outside(async move {
            net.world.sleep(TIME_OUT).await;
            let store = net.memory.store();
            open.into_iter().for_each(|id| store.roll_back(id));
        });
    }

    /// Mends everything, for good.
    pub(super) fn calm(&self) {
        let mut state = self.state.lock();
        state.calm = true;
        for links in state.links.values_mut() {
            (links.log_cut, links.pool_cut) = (Moment(0), Moment(0));
        }
    }

    /// Lets each message arrive once, after the profile's delay, from now on.
    pub(super) fn be_even(&self) {
        let mut state = self.state.lock();
        (state.calm, state.even) = (true, true);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.state.lock().calm
    }

    pub(super) fn crash(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        self.memory.store().crash();
    }

    pub(super) fn opened(&self, lane: Lane, id: TransactionId) {
        if let Some(links) = self.state.lock().links.get_mut(&lane) {
            links.open.push(id);
        }
    }

    pub(super) fn closed(&self, lane: Lane, id: TransactionId) {
        if let Some(links) = self.state.lock().links.get_mut(&lane) {
            links.open.retain(|open| *open != id);
        }
    }

    /// Runs a task that belongs to no process.
    pub(super) fn outside(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.world.spawner(OUTSIDE).spawn(task.boxed()));
    }

    fn passes(&self, lane: Lane, wire: Wire) -> bool {
        let now = self.world.now();
        let state = self.state.lock();
        let Some(links) = state.links.get(&lane) else {
            return false;
        };
        let cut = match wire {
            Wire::Log => links.log_cut > now,
            Wire::Pool => links.pool_cut > now,
            Wire::All => links.log_cut > now || links.pool_cut > now,
        };
        let lossy = !state.calm;
        let dead = links.dead;
        drop(state);
        !(dead || cut || (lossy && self.world.chance(self.profile.loss)))
    }

    fn delay(&self) -> Duration {
        if self.state.lock().even {
            return self.profile.delay;
        }
        let longest = self.profile.delay.as_nanos() as u64;
        let entropy = self.world.entropy();
        let factor = if self.world.chance(4) && !self.state.lock().calm {
            8
        } else {
            1
        };
        Duration::from_nanos(50_000 + entropy.below(longest) * factor)
    }

    /// Asks the store something, which it answers in one step.
    pub(super) async fn ask<T>(
        self: &Arc<Self>,
        lane: Lane,
        wire: Wire,
        answer: impl FnOnce(&MemoryLog) -> T + Send,
    ) -> Result<T, Lost> {
        let crashes = self.crashes.load(Ordering::Relaxed);
        let unbroken = || self.crashes.load(Ordering::Relaxed) == crashes;
        if !self.passes(lane, wire) {
            self.world.sleep(TIME_OUT).await;
            return Err(Lost);
        }
        self.world.sleep(self.delay()).await;
        if !unbroken() {
            return Err(Lost);
        }

        let answer = answer(&self.memory);
        if !self.passes(lane, wire) {
            self.world.sleep(TIME_OUT).await;
            return Err(Lost);
        }
        self.world.sleep(self.delay()).await;
        unbroken().then_some(answer).ok_or(Lost)
    }

    /// Sends something to the store that is done even if its sender gives up or dies.
    pub(super) async fn send<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        late: Duration,
        deed: impl FnOnce(&MemoryLog) -> T + Send + 'static,
    ) -> Result<T, Lost> {
        if !self.passes(lane, Wire::Pool) {
            self.world.sleep(TIME_OUT).await;
            return Err(Lost);
        }
        let (done, heard) = tokio::sync::oneshot::channel();
        let net = Arc::clone(self);
        let crashes = self.crashes.load(Ordering::Relaxed);
        self.outside(async move {
            net.world.sleep(net.delay() + late).await;
            if net.crashes.load(Ordering::Relaxed) != crashes {
                return;
            }
            let result = deed(&net.memory);
            let answered = net.passes(lane, Wire::Pool);
            net.world.sleep(net.delay()).await;
            if answered && net.crashes.load(Ordering::Relaxed) == crashes {
                drop(done.send(result)); // its receiver may have given up
            }
        });
        let timeout = std::pin::pin!(self.world.sleep(TIME_OUT));
        match select(heard, timeout).await {
            Either::Left((Ok(result), _)) => Ok(result),
            Either::Left((Err(_), timeout)) => {
                timeout.await;
                Err(Lost)
            }
            Either::Right(_) => Err(Lost),
        }
    }

    /// Carries a wake-up to each other process: zero, one or two times, soon or late.
    fn spread(self: &Arc<Self>, from: Lane, wake: &Wake) {
        let state = self.state.lock();
        let from_is_dead = state.links.get(&from).is_none_or(|links| links.dead);
        let even = state.even;
        let others = state
            .links
            .iter()
            .filter(|(to, links)| **to != from && !links.dead);
        let others: Vec<_> = others.map(|(to, _)| *to).collect();
        drop(state);
        if from_is_dead {
            return;
        }
        for to in others {
            let copies = match even {
                true => 1,
                false => match self.world.entropy().below(100) {
                    lost if lost < self.profile.wake_loss => 0,
                    90.. => 2,
                    _ => 1,
                },
            };
            for _ in 0..copies {
                let late = if !even && self.world.chance(15) {
                    200
                } else {
                    1
                };
                self.traffic.message(Kind::Wake, traffic::of_wake(wake));
                let (net, wake) = (Arc::clone(self), wake.clone());
                self.outside(async move {
                    net.world.sleep(net.delay() * late).await;
                    net.deliver(to, wake);
                });
            }
        }
    }

    fn deliver(&self, to: Lane, wake: Wake) {
        if !self.passes(to, Wire::Pool) {
            return;
        }
        let woken = {
            let mut state = self.state.lock();
            let Some(links) = state.links.get_mut(&to) else {
                return;
            };
            links.wakes.push_back(wake);
            Arc::clone(&links.woken)
        };
        woken.notify_one();
    }
}

/// One process's links to the store, as its log and its members' table.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) net: Arc<Net>,
    pub(super) lane: Lane,
}

/// Returns the answer of a connection without delay.
fn there<T>(answer: LogFuture<'_, T>) -> T {
    answer
        .now_or_never()
        .expect("a connection to the model answers at once")
}

impl Link {
    /// Asks, and counts the sizes of the question and of the answer.
    fn asks<'a, T: Send + 'a>(
        &'a self,
        wire: Wire,
        question: usize,
        answer: impl FnOnce(&MemoryLog) -> Result<T, LogError> + Send + 'a,
        size: impl Fn(&T) -> usize + Send + 'a,
    ) -> LogFuture<'a, Result<T, LogError>> {
        let kind = match wire {
            Wire::Log => Kind::Read,
            Wire::Pool | Wire::All => Kind::Member,
        };
        async move {
            self.net.traffic.message(kind, question);
            let answer = self.net.ask(self.lane, wire, answer).await??;
            self.net.traffic.message(kind, size(&answer));
            Ok(answer)
        }
        .boxed()
    }

    /// Asks about one member, which has a short answer.
    fn asks_of<'a, T: Send + 'a>(
        &'a self,
        member: &'a MemberId,
        answer: impl FnOnce(&MemoryLog) -> Result<T, LogError> + Send + 'a,
    ) -> LogFuture<'a, Result<T, LogError>> {
        self.asks(Wire::Pool, traffic::of_member(Some(member)), answer, |_| 1)
    }
}

impl Log for Link {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        let answer = move |memory: &MemoryLog| there(memory.head(member));
        let size = |head: &Head| traffic::of_cursor(&head.cursor);
        self.asks(Wire::Log, traffic::of_member(member), answer, size)
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        let question = traffic::of_cursor(from) + traffic::of_member(member);
        let answer = move |memory: &MemoryLog| there(memory.read(from, limit, member));
        self.asks(Wire::Log, question, answer, traffic::of_read)
    }

    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        let answer = move |memory: &MemoryLog| there(memory.group(mark, entity, key));
        self.asks(Wire::Log, entity.len(), answer, |_| 0)
    }

    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.asks(Wire::Log, 1, |memory| there(memory.answers()), |()| 1)
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        let answer = move |memory: &MemoryLog| there(memory.append(entry));
        self.asks(Wire::Pool, 0, answer, |_| 0)
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        // A crash breaks all of them, and a promoted store leaves no old one that still answers.
        std::future::ready(Ok(())).boxed()
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        std::future::ready(Ok(Box::new(self.clone()) as _)).boxed()
    }

    fn wake(&self, wake: Wake) {
        self.net.spread(self.lane, &wake);
    }

    fn digest(&self, key: &CacheKey) -> Option<Digest> {
        self.net.memory.digest(key)
    }
}

impl WakeUps for Link {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        async move {
            loop {
                let woken = {
                    let mut state = self.net.state.lock();
                    let Some(links) = state.links.get_mut(&self.lane) else {
                        return Err(LogError::Closed);
                    };
                    if let Some(wake) = links.wakes.pop_front() {
                        return Ok(wake);
                    }
                    Arc::clone(&links.woken)
                };
                woken.notified().await;
            }
        }
        .boxed()
    }
}

impl Members for Link {
    fn join(&self, join: Join) -> LogFuture<'_, Result<MemberId, JoinError>> {
        async move {
            let joined = self.net.ask(self.lane, Wire::Pool, move |memory| {
                there(memory.join(join))
            });
            joined.await.map_err(LogError::from)?
        }
        .boxed()
    }

    fn leave<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<(), LogError>> {
        self.asks_of(member, move |memory| there(memory.leave(member)))
    }

    fn list(&self) -> LogFuture<'_, Result<Vec<MemberRow>, LogError>> {
        let size = |rows: &Vec<MemberRow>| rows.iter().map(traffic::of_row).sum();
        self.asks(Wire::Pool, 0, |memory| there(memory.list()), size)
    }

    fn look<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<MemberSight, LogError>> {
        self.asks_of(member, move |memory| there(memory.look(member)))
    }

    fn demand(&self) -> LogFuture<'_, Result<Vec<(MemberId, Demand)>, LogError>> {
        let size = |asked: &Vec<(MemberId, Demand)>| {
            let each = |(id, _): &(MemberId, Demand)| traffic::of_member(Some(id));
            asked.iter().map(each).sum()
        };
        self.asks(Wire::Pool, 0, |memory| there(memory.demand()), size)
    }

    fn report<'a>(
        &'a self,
        member: &'a MemberId,
        applied: &'a Cursor,
        answers: Demand,
    ) -> LogFuture<'a, Result<(), LogError>> {
        let question = traffic::of_member(Some(member)) + traffic::of_cursor(applied);
        let answer = move |memory: &MemoryLog| there(memory.report(member, applied, answers));
        self.asks(Wire::Pool, question, answer, |()| 0)
    }

    fn mark<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        self.asks_of(member, move |memory| there(memory.mark(member)))
    }

    fn expire<'a>(&'a self, member: &'a MemberId) -> LogFuture<'a, Result<bool, LogError>> {
        self.asks_of(member, move |memory| there(memory.expire(member)))
    }
}
