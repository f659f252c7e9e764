//! Everything at once, for a bounded number of rounds; `TIDINGS_STRESS_SECONDS=60` makes it go on
//! for a minute.

use std::{
    cell::Cell,
    hint::black_box,
    rc::Rc,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{Note, notes};
use crate::{
    Channel, Overflow, Registration, SubscribeOptions, Subscriber, TryRecvError, WorkerEvents,
};

const ROUNDS: u64 = 2_000;
const POSTERS: u64 = 3;
/// How many handlers that posters have registered may pile up.
const MOST_HANDLERS: usize = 20;

// WE9, WE15
#[test]
fn received_and_missed_make_posted_for_every_worker_and_queue_whatever_else_happens() {
    stress(
        2,
        &[
            (1, Overflow::DropOldest),
            (100, Overflow::DropOldest),
            (7, Overflow::DropNewest),
        ],
    );
}

// WE9, WE15, while the log is alone with its readers, then not, then again.
#[test]
fn received_and_missed_make_posted_where_posts_go_right_into_the_log() {
    stress(
        0,
        &[(5, Overflow::DropOldest), (1000, Overflow::DropOldest)],
    );
}

/// Posts from several threads, which also register handlers and drop them, to workers and queues;
/// then compares what each of them has counted with what was posted.
fn stress(workers: usize, queues: &[(usize, Overflow)]) {
    let bus = WorkerEvents::builder()
        .workers(workers)
        .mailbox_capacity(64)
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let subscribe = |&(capacity, overflow)| {
        let options = SubscribeOptions::new()
            .capacity(capacity)
            .overflow(overflow);
        bus.subscribe::<Note>("jobs", "done", options)
            .expect("declared")
    };
    let subscribers: Vec<_> = queues.iter().map(subscribe).collect();
    let all_posted = AtomicBool::new(false);
    let guards = Mutex::new(Vec::new());

    thread::scope(|scope| {
        let (ready, started) = mpsc::channel();
        let mut listeners = Vec::new();
        for index in 0..workers {
            let (bus, all_posted, ready) = (&bus, &all_posted, ready.clone());
            listeners.push(scope.spawn(move || work(bus, index, &ready, all_posted)));
        }
        for _ in 0..workers {
            started.recv().expect("the workers start");
        }
        for queue in subscribers {
            let all_posted = &all_posted;
            listeners.push(scope.spawn(move || read(queue, all_posted)));
        }

        let limit = Limit::new();
        let mut posters = Vec::new();
        for poster in 0..POSTERS {
            let (bus, channel, guards) = (&bus, &channel, &guards);
            let choice = Choice(0x9E37_79B9 + poster);
            posters.push(scope.spawn(move || post(bus, channel, guards, limit, choice)));
        }
        let joined = posters.into_iter().map(|poster| poster.join());
        let posted: u64 = joined
            .map(|it| it.expect("no panic reaches a poster"))
            .sum();
        all_posted.store(true, Ordering::SeqCst);

        for listener in listeners {
            let Counted { received, missed } =
                listener.join().expect("no panic reaches a listener");
            let counts = format!("{received} received, {missed} missed");
            assert_eq!(received + missed, posted, "{counts}");
        }
        assert_eq!(bus.stats().channels[0].posted, posted);
    });
}

/// What a listener has counted.
#[derive(Clone, Copy, Default)]
struct Counted {
    received: u64,
    missed: u64,
}

/// Handles events as a worker until all are posted and handled. Some handlers panic.
fn work(
    bus: &WorkerEvents,
    index: usize,
    ready: &mpsc::Sender<()>,
    all_posted: &AtomicBool,
) -> Counted {
    let worker = bus.attach_worker(index).expect("free");
    let counted = Rc::new(Cell::new(Counted::default()));

    let own = Rc::clone(&counted);
    let handler = move |note: &Note| {
        let mut now = own.get();
        now.received += 1;
        own.set(now);
        assert!(!note.0.is_multiple_of(97), "on purpose");
    };
    let registered = worker.register(handler, "jobs", "done");
    registered.expect("declared").keep();

    let own = Rc::clone(&counted);
    worker.on_gap(move |gap| {
        let mut now = own.get();
        now.missed += gap.missed;
        own.set(now);
    });

    ready.send(()).expect("the test waits");
    loop {
        // Asked first: what was posted before the answer is in the mailbox.
        let last = all_posted.load(Ordering::SeqCst);
        worker.run_pending();
        if last {
            return counted.get();
        }
        thread::yield_now();
    }
}

/// Reads a queue until all events are posted and it is empty.
fn read(mut queue: Subscriber<Note>, all_posted: &AtomicBool) -> Counted {
    let mut counted = Counted::default();
    loop {
        // Asked first: what was posted before the answer is in the queue.
        let last = all_posted.load(Ordering::SeqCst);
        match queue.try_recv() {
            Ok(heard) => match heard.into_result() {
                Ok(_) => counted.received += 1,
                Err(gap) => counted.missed += gap.missed,
            },
            Err(TryRecvError::Empty | TryRecvError::Closed) if last => return counted,
            Err(_) => thread::yield_now(),
        }
    }
}

/// Posts one by one and in batches, and now and then registers a handler or drops one, until the
/// limit. Returns how many events it posted.
fn post(
    bus: &WorkerEvents,
    channel: &Channel<Note>,
    guards: &Mutex<Vec<Registration>>,
    limit: Limit,
    mut choice: Choice,
) -> u64 {
    let (mut posted, mut round) = (0, 0);
    while limit.allows(round) {
        round += 1;
        match choice.next(10) {
            0 => {
                let guard = register_slow(bus, choice.next(2_000));
                guards.lock().expect("no panic").push(guard);
            }
            1 => {
                let mut guards = guards.lock().expect("no panic");
                let left = guards.len() as u64;
                let guard = (left > 0).then(|| guards.swap_remove(choice.next(left) as usize));
                drop(guards);
                drop(guard);
            }
            2 => {
                let batch: Vec<_> = (0..choice.next(40)).map(Note).collect();
                posted += batch.len() as u64;
                channel.post_batch(batch).expect("open");
            }
            _ => {
                channel.post(Note(choice.next(1_000))).expect("open");
                posted += 1;
            }
        }

        let all = {
            let mut guards = guards.lock().expect("no panic");
            let is_full = guards.len() > MOST_HANDLERS;
            is_full.then(|| std::mem::take(&mut *guards))
        };
        drop(all);
    }

    posted
}

/// Registers an inline handler that takes its time, and sometimes panics.
fn register_slow(bus: &WorkerEvents, spins: u64) -> Registration {
    let handler = move |note: &Note| {
        (0..spins).for_each(|spin| {
            black_box(spin);
        });
        assert!(!note.0.is_multiple_of(101), "on purpose");
    };
    bus.register(handler, "jobs", "done").expect("declared")
}

/// When posters stop.
#[derive(Clone, Copy)]
enum Limit {
    Rounds,
    Time { begun: Instant, most: Duration },
}

impl Limit {
    fn new() -> Self {
        let seconds = std::env::var("TIDINGS_STRESS_SECONDS").ok();
        match seconds.and_then(|seconds| seconds.parse().ok()) {
            None => Self::Rounds,
            Some(seconds) => Self::Time {
                begun: Instant::now(),
                most: Duration::from_secs(seconds),
            },
        }
    }

    fn allows(self, round: u64) -> bool {
        match self {
            Self::Rounds => round < ROUNDS,
            Self::Time { begun, most } => begun.elapsed() < most,
        }
    }
}

/// A small generator: the choices must differ, not be good.
struct Choice(u64);

impl Choice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}
