//! Posts to queues, drained.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tidings_events::{Channel, SubscribeOptions, Subscriber, WorkerEvents};

use super::Change;
use crate::harness::{Bench, BenchError, Contestant, Sample, Turn};

/// Events posted before the subscribers are drained.
const BATCH: u64 = 256;
const DELIVERIES: usize = 1 << 18;

pub(super) fn run(bench: &mut Bench) -> Result<(), BenchError> {
    for subscribers in [1, 8, 64] {
        let batches =
            (bench.settings().scaled(DELIVERIES) as u64 / BATCH / subscribers as u64).max(1);
        let alone = |_| One {
            subscribers,
            batches,
        };
        bench.subject(
            &format!("queue_{subscribers}"),
            1,
            vec![
                Contestant::new("tidings", move |n| {
                    alone(n).turns(Ours::new(subscribers, 1024))
                }),
                Contestant::new("tokio", move |n| {
                    alone(n).turns(Tokio::new(subscribers, 1024))
                }),
                Contestant::new("async-broadcast", move |n| {
                    alone(n).turns(AsyncBroadcast::new(subscribers, 1024))
                }),
                Contestant::new("crossbeam-channel", move |n| {
                    alone(n).turns(Crossbeam::new(subscribers, 1024))
                }),
            ],
        )?;
    }
    let posts = (bench.settings().scaled(1 << 15) as u64).max(64);
    bench.subject_with_own_threads(
        "queue_4_posters_8",
        6,
        vec![
            Contestant::new("tidings", move |_| crowd(posts, Ours::new(8, 1 << 18))),
            Contestant::new("tokio", move |_| crowd(posts, Tokio::new(8, 1 << 18))),
            Contestant::new("async-broadcast", move |_| {
                crowd(posts, AsyncBroadcast::new(8, 1 << 18))
            }),
            Contestant::new("crossbeam-channel", move |_| {
                crowd(posts, Crossbeam::new(8, 1 << 18))
            }),
        ],
    )
}

/// A way to give events to several queues.
trait Fan: Send {
    type Poster: Sync;
    type Queue: Send;

    fn poster(&self) -> &Self::Poster;
    fn queues(&mut self) -> &mut Vec<Self::Queue>;
    fn both(&mut self) -> (&Self::Poster, &mut Vec<Self::Queue>);
    fn post(poster: &Self::Poster, change: Change);
    /// The number of the next event, if there is one.
    fn take(queue: &mut Self::Queue) -> Option<u64>;
}

struct One {
    subscribers: usize,
    batches: u64,
}

impl One {
    fn turns<F: Fan>(self, mut fan: F) -> impl FnMut(Turn) -> Sample {
        let operations = self.batches * BATCH * self.subscribers as u64;
        move |_| {
            Sample::time(operations, || {
                let mut sum = 0_u64;
                for batch in 0..self.batches {
                    for number in 0..BATCH {
                        F::post(fan.poster(), Change::new(batch * BATCH + number));
                    }
                    for queue in fan.queues() {
                        while let Some(number) = F::take(queue) {
                            sum = sum.wrapping_add(number);
                        }
                    }
                }
                sum
            })
        }
    }
}

/// Four posters, and two threads that drain half of the queues each.
fn crowd<F: Fan>(posts: u64, mut fan: F) -> impl FnMut(Turn) -> Sample {
    let each = posts / 4;
    move |_| {
        let (poster, queues) = fan.both();
        let deliveries = 4 * each * queues.len() as u64;
        Sample::time(deliveries, || {
            let total = AtomicU64::new(0);
            let half = queues.len() / 2;
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for number in 0..each {
                            F::post(poster, Change::new(number));
                        }
                    });
                }
                for queues in queues.chunks_mut(half) {
                    let total = &total;
                    scope.spawn(move || {
                        let mut left = 4 * each * queues.len() as u64;
                        let mut sum = 0_u64;
                        while left > 0 {
                            let before = left;
                            for queue in queues.iter_mut() {
                                while let Some(number) = F::take(queue) {
                                    left -= 1;
                                    sum = sum.wrapping_add(number);
                                }
                            }
                            if left == before {
                                thread::yield_now();
                            }
                        }
                        total.fetch_add(sum, Ordering::Relaxed);
                    });
                }
            });
            total.load(Ordering::Relaxed)
        })
    }
}

struct Ours {
    _bus: WorkerEvents,
    channel: Channel<Change>,
    queues: Vec<Subscriber<Change>>,
}

impl Ours {
    fn new(subscribers: usize, capacity: usize) -> Self {
        let bus = WorkerEvents::builder()
            .build()
            .expect("the defaults are valid");
        let channel = bus.declare::<Change>("bench", "change").expect("free");
        let options = SubscribeOptions::new().capacity(capacity);
        let queues = (0..subscribers)
            .map(|_| {
                bus.subscribe("bench", "change", options.clone())
                    .expect("declared")
            })
            .collect();
        Self {
            _bus: bus,
            channel,
            queues,
        }
    }
}

impl Fan for Ours {
    type Poster = Channel<Change>;
    type Queue = Subscriber<Change>;

    fn poster(&self) -> &Self::Poster {
        &self.channel
    }
    fn queues(&mut self) -> &mut Vec<Self::Queue> {
        &mut self.queues
    }
    fn both(&mut self) -> (&Self::Poster, &mut Vec<Self::Queue>) {
        (&self.channel, &mut self.queues)
    }
    fn post(poster: &Self::Poster, change: Change) {
        poster.post(change).expect("the bus is open");
    }
    fn take(queue: &mut Self::Queue) -> Option<u64> {
        match queue.try_recv() {
            Ok(heard) => match heard.into_result() {
                Ok(change) => Some(change.number),
                Err(gap) => panic!("{gap}"),
            },
            Err(_) => None,
        }
    }
}

struct Tokio {
    sender: tokio::sync::broadcast::Sender<Arc<Change>>,
    queues: Vec<tokio::sync::broadcast::Receiver<Arc<Change>>>,
}

impl Tokio {
    fn new(subscribers: usize, capacity: usize) -> Self {
        let (sender, _) = tokio::sync::broadcast::channel(capacity);
        let queues = (0..subscribers).map(|_| sender.subscribe()).collect();
        Self { sender, queues }
    }
}

impl Fan for Tokio {
    type Poster = tokio::sync::broadcast::Sender<Arc<Change>>;
    type Queue = tokio::sync::broadcast::Receiver<Arc<Change>>;

    fn poster(&self) -> &Self::Poster {
        &self.sender
    }
    fn queues(&mut self) -> &mut Vec<Self::Queue> {
        &mut self.queues
    }
    fn both(&mut self) -> (&Self::Poster, &mut Vec<Self::Queue>) {
        (&self.sender, &mut self.queues)
    }
    fn post(poster: &Self::Poster, change: Change) {
        poster.send(Arc::new(change)).expect("there are receivers");
    }
    fn take(queue: &mut Self::Queue) -> Option<u64> {
        match queue.try_recv() {
            Ok(change) => Some(change.number),
            Err(tokio::sync::broadcast::error::TryRecvError::Empty) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

struct AsyncBroadcast {
    sender: async_broadcast::Sender<Arc<Change>>,
    queues: Vec<async_broadcast::Receiver<Arc<Change>>>,
}

impl AsyncBroadcast {
    fn new(subscribers: usize, capacity: usize) -> Self {
        let (sender, receiver) = async_broadcast::broadcast(capacity);
        let mut queues: Vec<_> = (1..subscribers).map(|_| receiver.clone()).collect();
        queues.push(receiver);
        Self { sender, queues }
    }
}

impl Fan for AsyncBroadcast {
    type Poster = async_broadcast::Sender<Arc<Change>>;
    type Queue = async_broadcast::Receiver<Arc<Change>>;

    fn poster(&self) -> &Self::Poster {
        &self.sender
    }
    fn queues(&mut self) -> &mut Vec<Self::Queue> {
        &mut self.queues
    }
    fn both(&mut self) -> (&Self::Poster, &mut Vec<Self::Queue>) {
        (&self.sender, &mut self.queues)
    }
    fn post(poster: &Self::Poster, change: Change) {
        poster
            .try_broadcast(Arc::new(change))
            .expect("there is room");
    }
    fn take(queue: &mut Self::Queue) -> Option<u64> {
        match queue.try_recv() {
            Ok(change) => Some(change.number),
            Err(async_broadcast::TryRecvError::Empty) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

struct Crossbeam {
    senders: Vec<crossbeam_channel::Sender<Arc<Change>>>,
    queues: Vec<crossbeam_channel::Receiver<Arc<Change>>>,
}

impl Crossbeam {
    fn new(subscribers: usize, capacity: usize) -> Self {
        let (senders, queues) = (0..subscribers)
            .map(|_| crossbeam_channel::bounded(capacity))
            .unzip();
        Self { senders, queues }
    }
}

impl Fan for Crossbeam {
    type Poster = Vec<crossbeam_channel::Sender<Arc<Change>>>;
    type Queue = crossbeam_channel::Receiver<Arc<Change>>;

    fn poster(&self) -> &Self::Poster {
        &self.senders
    }
    fn queues(&mut self) -> &mut Vec<Self::Queue> {
        &mut self.queues
    }
    fn both(&mut self) -> (&Self::Poster, &mut Vec<Self::Queue>) {
        (&self.senders, &mut self.queues)
    }
    fn post(poster: &Self::Poster, change: Change) {
        let change = Arc::new(change);
        for sender in poster {
            sender.try_send(Arc::clone(&change)).expect("there is room");
        }
    }
    fn take(queue: &mut Self::Queue) -> Option<u64> {
        queue.try_recv().ok().map(|change| change.number)
    }
}
