//! Everything at once, for a bounded number of rounds; `TIDINGS_STRESS_SECONDS=60` makes it go on
//! for a minute.

use std::{
    hint::black_box,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Note, notes};
use crate::{Overflow, SubscribeOptions, TryRecvError, WorkerEvents};

const ROUNDS: u64 = 2_000;
const POSTERS: u64 = 3;

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

// WE9, WE15
#[test]
fn received_and_missed_make_posted_for_everybody_whatever_happens_meanwhile() {
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

fn stress(workers: usize, queues: &[(usize, Overflow)]) {
    let seconds = std::env::var("TIDINGS_STRESS_SECONDS").ok();
    let limit = seconds
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let begun = Instant::now();
    let go_on = |round: u64| match limit {
        Some(limit) => begun.elapsed() < limit,
        None => round < ROUNDS,
    };
    let bus = WorkerEvents::builder()
        .workers(workers)
        .mailbox_capacity(64)
        .build()
        .expect("in range");
    let channel = notes(&bus);
    let posted = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let guards = Mutex::new(Vec::new());
    let subscribe = |&(capacity, overflow)| {
        let options = SubscribeOptions::new()
            .capacity(capacity)
            .overflow(overflow);
        bus.subscribe::<Note>("jobs", "done", options)
            .expect("declared")
    };
    let subscribers: Vec<_> = queues.iter().map(subscribe).collect();
    let (ready, started) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..workers {
            let (bus, over, ready) = (&bus, &over, ready.clone());
            threads.push(scope.spawn(move || {
                let worker = bus.attach_worker(index).expect("free");
                let counts = std::rc::Rc::new(std::cell::Cell::new((0_u64, 0_u64)));
                let (received, missed) = (counts.clone(), counts.clone());
                worker
                    .register(
                        move |note: &Note| {
                            let (events, gaps) = received.get();
                            received.set((events + 1, gaps));
                            assert!(!note.0.is_multiple_of(97), "on purpose");
                        },
                        "jobs",
                        "done",
                    )
                    .expect("declared")
                    .keep();
                worker.on_gap(move |gap| {
                    let (events, gaps) = missed.get();
                    missed.set((events, gaps + gap.missed));
                });
                ready.send(()).expect("the test waits");
                loop {
                    // Read before the look: what was posted by then is handled by it.
                    let last = over.load(Ordering::SeqCst);
                    worker.run_pending();
                    if last {
                        break counts.get();
                    }
                    thread::yield_now();
                }
            }));
        }
        for _ in 0..workers {
            started.recv().expect("the workers start");
        }
        let mut queues = Vec::new();
        for mut queue in subscribers {
            let over = &over;
            queues.push(scope.spawn(move || {
                let (mut received, mut missed) = (0_u64, 0_u64);
                loop {
                    let last = over.load(Ordering::SeqCst);
                    match queue.try_recv() {
                        Ok(heard) => match heard.into_result() {
                            Ok(_) => received += 1,
                            Err(gap) => missed += gap.missed,
                        },
                        Err(TryRecvError::Empty | TryRecvError::Closed) if last => {
                            break (received, missed);
                        }
                        Err(_) => thread::yield_now(),
                    }
                }
            }));
        }
        let mut posters = Vec::new();
        for poster in 0..POSTERS {
            let (bus, channel, posted, guards) = (&bus, &channel, &posted, &guards);
            posters.push(scope.spawn(move || {
                let mut choice = Choice(0x9E37_79B9 + poster);
                let mut round = 0;
                while go_on(round) {
                    round += 1;
                    match choice.next(10) {
                        0 => {
                            let spins = choice.next(2_000);
                            let guard = bus.register(
                                move |note: &Note| {
                                    (0..spins).for_each(|spin| {
                                        black_box(spin);
                                    });
                                    assert!(!note.0.is_multiple_of(101), "on purpose");
                                },
                                "jobs",
                                "done",
                            );
                            guards
                                .lock()
                                .expect("no panic")
                                .push(guard.expect("declared"));
                        }
                        1 => {
                            let mut guards = guards.lock().expect("no panic");
                            let left = guards.len() as u64;
                            let guard =
                                (left > 0).then(|| guards.swap_remove(choice.next(left) as usize));
                            drop(guards);
                            drop(guard);
                        }
                        2 => {
                            let batch: Vec<_> = (0..choice.next(40)).map(Note).collect();
                            let size = batch.len() as u64;
                            channel.post_batch(batch).expect("open");
                            posted.fetch_add(size, Ordering::SeqCst);
                        }
                        _ => {
                            channel.post(Note(choice.next(1_000))).expect("open");
                            posted.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    if guards.lock().expect("no panic").len() > 20 {
                        let all = std::mem::take(&mut *guards.lock().expect("no panic"));
                        drop(all);
                    }
                }
            }));
        }
        for poster in posters {
            poster.join().expect("no panic reaches a poster");
        }
        over.store(true, Ordering::SeqCst);
        let posted = posted.load(Ordering::SeqCst);
        for thread in queues.into_iter().chain(threads) {
            let (received, missed) = thread.join().expect("no panic reaches a listener");
            assert_eq!(
                received + missed,
                posted,
                "{received} received, {missed} missed"
            );
        }
        assert_eq!(bus.stats().channels[0].posted, posted);
    });
    drop(guards);
}
