//! Worker mailboxes, and the hop from worker to worker.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tidings_events::WorkerEvents;
use tokio::runtime;

use super::Change;
use crate::harness::{Bench, BenchError, Contestant, Sample, Turn, percentile};

const WORKERS: usize = 4;

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    let posts = bench.settings().scaled(1 << 16) as u64;
    bench.subject_with_own_threads(
        "mailbox_4_workers",
        WORKERS + 1,
        vec![
            Contestant::new("tidings", move |_| ours(posts)),
            Contestant::new("tokio", move |_| tokio_mpsc(posts)),
            Contestant::new("crossbeam-channel", move |_| crossbeam(posts)),
        ],
    )?;
    let hops = bench.settings().scaled(50_000);
    let mut ours = hop_ours(hops);
    let mut tokio = hop_tokio(hops);
    for (subject, share) in [("hop_p50", 50.0), ("hop_p99", 99.0)] {
        let figures = [
            ("tidings", percentile(&mut ours, share)),
            ("tokio", percentile(&mut tokio, share)),
        ];
        bench.times(subject, 2, &figures);
    }
    Ok(())
}

fn local() -> runtime::Runtime {
    runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs nothing but memory")
}

/// A worker reports the sum of a turn's numbers once it has seen as many as were posted.
struct Tally {
    left: Cell<u64>,
    sum: Cell<u64>,
    posts: u64,
    done: mpsc::Sender<u64>,
}

impl Tally {
    fn new(posts: u64, done: mpsc::Sender<u64>) -> Self {
        Self {
            left: Cell::new(posts),
            sum: Cell::new(0),
            posts,
            done,
        }
    }

    fn see(&self, number: u64) {
        self.sum.set(self.sum.get().wrapping_add(number));
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.left.set(self.posts);
            // The bench may be over.
            let _gone = self.done.send(self.sum.replace(0));
        }
    }
}

fn turns(
    posts: u64,
    done: mpsc::Receiver<u64>,
    mut post: impl FnMut(Change),
) -> impl FnMut(Turn) -> Sample {
    move |_| {
        Sample::time(posts, || {
            for number in 0..posts {
                post(Change::new(number));
            }
            (0..WORKERS)
                .map(|_| done.recv().expect("the workers live"))
                .fold(0, u64::wrapping_add)
        })
    }
}

fn ours(posts: u64) -> impl FnMut(Turn) -> Sample {
    let bus = WorkerEvents::builder()
        .workers(WORKERS)
        .mailbox_capacity(1 << 20)
        .build()
        .expect("in range");
    let channel = bus.declare::<Change>("bench", "change").expect("free");
    let (done, finished) = mpsc::channel();
    let (ready, started) = mpsc::channel();
    for index in 0..WORKERS {
        let (bus, done, ready) = (bus.clone(), done.clone(), ready.clone());
        thread::spawn(move || {
            let worker = bus.attach_worker(index).expect("free");
            let tally = Tally::new(posts, done);
            worker
                .register(
                    move |change: &Change| tally.see(change.number),
                    "bench",
                    "change",
                )
                .expect("declared")
                .keep();
            ready.send(()).expect("the bench waits");
            drop((bus, ready));
            local().block_on(worker.run());
        });
    }
    for _ in 0..WORKERS {
        started.recv().expect("the workers start");
    }
    turns(posts, finished, move |change| {
        let _ = &bus;
        channel.post(change).expect("the bus is open");
    })
}

fn tokio_mpsc(posts: u64) -> impl FnMut(Turn) -> Sample {
    let (done, finished) = mpsc::channel();
    let senders: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (sender, mut receiver) = tokio::sync::mpsc::channel::<Arc<Change>>(1 << 20);
            let done = done.clone();
            thread::spawn(move || {
                let tally = Tally::new(posts, done);
                local().block_on(async {
                    while let Some(change) = receiver.recv().await {
                        tally.see(change.number);
                    }
                });
            });
            sender
        })
        .collect();
    turns(posts, finished, move |change| {
        let change = Arc::new(change);
        for sender in &senders {
            sender.try_send(Arc::clone(&change)).expect("there is room");
        }
    })
}

fn crossbeam(posts: u64) -> impl FnMut(Turn) -> Sample {
    let (done, finished) = mpsc::channel();
    let senders: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (sender, receiver) = crossbeam_channel::bounded::<Arc<Change>>(1 << 20);
            let done = done.clone();
            thread::spawn(move || {
                let tally = Tally::new(posts, done);
                for change in receiver {
                    tally.see(change.number);
                }
            });
            sender
        })
        .collect();
    turns(posts, finished, move |change| {
        let change = Arc::new(change);
        for sender in &senders {
            sender.try_send(Arc::clone(&change)).expect("there is room");
        }
    })
}

/// Two workers that answer each other; half of each round trip is a hop.
fn hop_ours(hops: usize) -> Vec<f64> {
    let bus = WorkerEvents::builder()
        .workers(2)
        .build()
        .expect("in range");
    let ping = bus.declare::<Change>("bench", "ping").expect("free");
    let pong = bus.declare::<Change>("bench", "pong").expect("free");
    let (ready, started) = mpsc::channel();
    let echo = {
        let bus = bus.clone();
        thread::spawn(move || {
            let worker = bus.attach_worker(1).expect("free");
            // Posted outside the handler: a cycle of handlers would be cut off.
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            worker
                .register(
                    move |change: &Change| {
                        let _open = sender.send(change.number);
                    },
                    "bench",
                    "ping",
                )
                .expect("declared")
                .keep();
            ready.send(()).expect("the bench waits");
            drop(bus);
            let answers = async {
                while let Some(number) = receiver.recv().await {
                    if pong.post(Change::new(number)).is_err() {
                        break;
                    }
                }
            };
            local().block_on(async {
                tokio::select! {
                    () = worker.run() => {}
                    () = answers => {}
                }
            });
        })
    };
    started.recv().expect("the echo starts");
    let worker = bus.attach_worker(0).expect("free");
    let seen = Rc::new(Cell::new(false));
    let told = Rc::new(tokio::sync::Notify::new());
    let (saw, tell) = (Rc::clone(&seen), Rc::clone(&told));
    worker
        .register(
            move |_: &Change| {
                saw.set(true);
                tell.notify_one();
            },
            "bench",
            "pong",
        )
        .expect("declared")
        .keep();
    let measured = local().block_on(async {
        let measure = async {
            let mut times = Vec::with_capacity(hops);
            for number in 0..hops as u64 {
                let start = Instant::now();
                ping.post(Change::new(number)).expect("the bus is open");
                told.notified().await;
                times.push(start.elapsed().as_nanos() as f64 / 2.0);
            }
            times
        };
        tokio::select! {
            () = worker.run() => Vec::new(),
            times = measure => times,
        }
    });
    local().block_on(async {
        let end = bus.shutdown(Duration::from_secs(5));
        let (_report, ()) = tokio::join!(end, worker.run());
    });
    echo.join().expect("the echo does not panic");
    measured
}

fn hop_tokio(hops: usize) -> Vec<f64> {
    let (ping, mut pinged) = tokio::sync::mpsc::channel::<Arc<Change>>(1);
    let (pong, mut ponged) = tokio::sync::mpsc::channel::<Arc<Change>>(1);
    let echo = thread::spawn(move || {
        local().block_on(async {
            while let Some(change) = pinged.recv().await {
                if pong.send(change).await.is_err() {
                    break;
                }
            }
        });
    });
    let times = local().block_on(async {
        let mut times = Vec::with_capacity(hops);
        for number in 0..hops as u64 {
            let start = Instant::now();
            let sent = ping.send(Arc::new(Change::new(number))).await;
            sent.expect("the echo lives");
            ponged.recv().await.expect("the echo answers");
            times.push(start.elapsed().as_nanos() as f64 / 2.0);
        }
        times
    });
    drop(ping);
    echo.join().expect("the echo does not panic");
    times
}
