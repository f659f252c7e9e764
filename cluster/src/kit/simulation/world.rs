//! [`World`]: time, and which task is polled next.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Weak},
    task::{Context, Wake, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::{
    entropy::{Entropy, SeededEntropy},
    spawn::{Abort, AbortHandle, Spawn, Task},
};

/// Nanoseconds since the simulation began, in the world's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    pub(super) fn plus(self, after: Duration) -> Self {
        Self(self.0 + after.as_nanos() as u64)
    }

    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Names a queue of tasks: that of one process, or that of everything outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane(pub(super) usize);

/// What belongs to no process: links, other programs, the plan.
pub(super) const OUTSIDE: Lane = Lane(0);

/// A step of a task takes up to this long.
const LONGEST_STEP: u64 = 20_000;

pub(super) struct World {
    entropy: SeededEntropy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Moment,
    lanes: Vec<Queue>,
    tasks: Vec<Option<Slot>>,
    timers: BTreeMap<(Moment, u64), Waker>,
    next_timer: u64,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<usize>,
    paused_until: Moment,
    dead: bool,
}

struct Slot {
    lane: Lane,
    /// `None` while it is polled.
    task: Option<Task>,
    ready: bool,
    waker: Waker,
}

struct TaskWaker {
    world: Weak<World>,
    id: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if let Some(world) = self.world.upgrade() {
            world.state.lock().make_ready(self.id);
        }
    }
}

impl State {
    fn make_ready(&mut self, id: usize) {
        let Some(Some(slot)) = self.tasks.get_mut(id) else {
            return;
        };
        let lane = slot.lane;
        if !std::mem::replace(&mut slot.ready, true) {
            self.lanes[lane.0].ready.push_back(id);
        }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            lanes: vec![Queue::default()],
            ..State::default()
        };
        Arc::new(Self {
            entropy: SeededEntropy::new(seed),
            state: Mutex::new(state),
        })
    }

    pub(super) fn now(&self) -> Moment {
        self.state.lock().now
    }

    pub(super) fn entropy(&self) -> &SeededEntropy {
        &self.entropy
    }

    /// Draws whether an event happens that has a chance of `percent` in a hundred.
    pub(super) fn chance(&self, percent: u64) -> bool {
        self.entropy.below(100) < percent
    }

    pub(super) fn new_lane(&self) -> Lane {
        let mut state = self.state.lock();
        state.lanes.push(Queue::default());
        Lane(state.lanes.len() - 1)
    }

    pub(super) fn pause(&self, lane: Lane, until: Moment) {
        let mut state = self.state.lock();
        let queue = &mut state.lanes[lane.0];
        queue.paused_until = queue.paused_until.max(until);
    }

    pub(super) fn resume_all(&self) {
        let mut state = self.state.lock();
        for queue in &mut state.lanes {
            queue.paused_until = Moment(0);
        }
    }

    /// Drops every task of a lane, and lets none start there again.
    pub(super) fn kill(&self, lane: Lane) {
        let mut state = self.state.lock();
        let queue = &mut state.lanes[lane.0];
        queue.dead = true;
        queue.ready.clear();
        let of_lane = |slot: &mut Option<Slot>| slot.take_if(|slot| slot.lane == lane);
        let dropped: Vec<_> = state.tasks.iter_mut().filter_map(of_lane).collect();
        drop(state); // tasks own handles that wake others when they are dropped
        drop(dropped);
    }

    /// Drops everything, so that nothing keeps the world alive.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        let tasks = std::mem::take(&mut state.tasks);
        let timers = std::mem::take(&mut state.timers);
        state.lanes.iter_mut().for_each(|queue| queue.dead = true);
        drop(state);
        drop((tasks, timers));
    }

    pub(super) fn spawner(self: &Arc<Self>, lane: Lane) -> LaneSpawn {
        LaneSpawn {
            world: Arc::clone(self),
            lane,
        }
    }

    /// Polls one task, or moves time on if none is ready. False once nothing is left to do before
    /// `end`.
    pub(super) fn step(self: &Arc<Self>, end: Moment) -> bool {
        let mut state = self.state.lock();
        let now = state.now;
        if now >= end {
            return false;
        }

        let lanes = state.lanes.iter().enumerate();
        let ready: Vec<_> = lanes
            .filter(|(_, queue)| !queue.ready.is_empty() && queue.paused_until <= now)
            .map(|(lane, _)| lane)
            .collect();
        if ready.is_empty() {
            return self.move_on(state, end);
        }

        let lane = ready[self.entropy.below(ready.len() as u64) as usize];
        let Some(id) = state.lanes[lane].ready.pop_front() else {
            return true;
        };
        state.now.0 += self.entropy.below(LONGEST_STEP);
        let Some(Some(slot)) = state.tasks.get_mut(id) else {
            return true;
        };

        slot.ready = false;
        let (task, waker) = (slot.task.take(), slot.waker.clone());
        let due = state.take_due();
        drop(state);
        due.into_iter().for_each(Waker::wake);

        if let Some(mut task) = task {
            let pending = task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending();
            let mut state = self.state.lock();
            let slot = state.tasks.get_mut(id);

            // It may have been aborted, or its lane killed, while it was polled.
            let left = match slot {
                Some(Some(slot)) if pending => {
                    slot.task = Some(task);
                    None
                }
                Some(slot) => Some((Some(task), slot.take())),
                None => Some((Some(task), None)),
            };
            drop(state);
            drop(left);
        }

        true
    }

    /// Goes to the next moment at which anything happens.
    fn move_on(&self, mut state: parking_lot::MutexGuard<'_, State>, end: Moment) -> bool {
        let timer = state.timers.keys().next().map(|(at, _)| *at);
        let queues = state.lanes.iter().filter(|queue| !queue.ready.is_empty());
        let resumed = queues.map(|queue| queue.paused_until).min();
        let next = timer.into_iter().chain(resumed).min();
        state.now = next.unwrap_or(end).clamp(state.now, end);
        let due = state.take_due();
        drop(state);
        due.into_iter().for_each(Waker::wake);
        next.is_some()
    }

    fn forget_timer(&self, key: (Moment, u64)) {
        let waker = self.state.lock().timers.remove(&key);
        drop(waker);
    }

    fn set_timer(&self, at: Moment, waker: Waker) -> (Moment, u64) {
        let mut state = self.state.lock();
        let key = (at, state.next_timer);
        state.next_timer += 1;
        state.timers.insert(key, waker);
        key
    }

    /// Waits until a moment.
    pub(super) fn sleep_until(self: &Arc<Self>, at: Moment) -> Sleep {
        Sleep {
            world: Arc::clone(self),
            at,
            timer: None,
        }
    }

    /// Waits for some time.
    pub(super) fn sleep(self: &Arc<Self>, time: Duration) -> Sleep {
        self.sleep_until(self.now().plus(time))
    }
}

impl State {
    fn take_due(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            due.push(entry.remove());
        }
        due
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

/// Waits for a moment of the world.
pub(super) struct Sleep {
    world: Arc<World>,
    at: Moment,
    timer: Option<(Moment, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> std::task::Poll<()> {
        if let Some(timer) = self.timer.take() {
            self.world.forget_timer(timer);
        }
        if self.world.now() >= self.at {
            return std::task::Poll::Ready(());
        }
        let timer = self.world.set_timer(self.at, context.waker().clone());
        self.timer = Some(timer);
        std::task::Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.world.forget_timer(timer);
        }
    }
}

/// Starts tasks on one lane.
#[derive(Clone, Debug)]
pub(super) struct LaneSpawn {
    world: Arc<World>,
    lane: Lane,
}

impl Spawn for LaneSpawn {
    fn spawn(&self, task: Task) -> AbortHandle {
        let mut state = self.world.state.lock();
        if state.lanes[self.lane.0].dead {
            drop(state);
            drop(task);
            return AbortHandle::ended();
        }

        let id = state.tasks.len();
        let world = Arc::downgrade(&self.world);
        let waker = Waker::from(Arc::new(TaskWaker { world, id }));
        state.tasks.push(Some(Slot {
            lane: self.lane,
            task: Some(task),
            ready: false,
            waker,
        }));
        state.make_ready(id);
        drop(state);

        let world = Arc::downgrade(&self.world);
        AbortHandle::new(Arc::new(Aborts { world, id }))
    }
}

#[derive(Debug)]
struct Aborts {
    world: Weak<World>,
    id: usize,
}

impl Abort for Aborts {
    fn abort(&self) {
        if let Some(world) = self.world.upgrade() {
            let slot = world
                .state
                .lock()
                .tasks
                .get_mut(self.id)
                .and_then(Option::take);
            drop(slot);
        }
    }
}
