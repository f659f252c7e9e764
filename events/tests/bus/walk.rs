//! Operations on a bus and on its model, which have to agree after each. The fuzz target makes them
//! of bytes (`fuzz/fuzz_targets/bus_operations.rs`).

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_core::clock::ManualClock;
use tidings_events::{
    BlockingSubscriber, Channel, Heard, LocalRegistration, LocalWorkerEvents, Overflow, Received,
    Refusal, Registration, SubscribeOptions, Subscriber, TryRecvError, WorkerEvents,
};

use crate::model::{CHANNELS, Found, Kind, Listener, MAILBOX, Model, Note, Policy, WORKERS};

/// What may be done to a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Declare(usize),
    Register(usize),
    Relay(usize, usize),
    RegisterOn(usize, usize),
    Subscribe(usize, Policy, usize),
    SubscribeBlocking(usize, Policy, usize),
    Post(usize),
    PostBatch(usize, usize),
    Receive(usize),
    Drop(usize),
    Run(usize),
    Attach(usize),
    Leave(usize),
    Shutdown,
}

impl Operation {
    /// Makes operations of any bytes, two for each.
    pub(crate) fn decode(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let pairs = bytes.chunks_exact(2);
        pairs.map(|pair| Self::of(pair[0], usize::from(pair[1])))
    }

    fn of(kind: u8, value: usize) -> Self {
        let channel = value % CHANNELS;
        let rest = value / CHANNELS;
        let policy = match rest % 3 {
            0 => Policy::DropOldest,
            1 => Policy::DropNewest,
            _ => Policy::Refuse,
        };
        match kind % 64 {
            0..6 => Self::Declare(channel),
            6..9 => Self::Register(channel),
            9..11 => Self::Relay(channel, rest % CHANNELS),
            11..14 => Self::RegisterOn(channel, rest % WORKERS),
            14..18 => Self::Subscribe(channel, policy, 1 + rest / 3 % 5),
            18..20 => Self::SubscribeBlocking(channel, policy, 1 + rest / 3 % 5),
            20..38 => Self::Post(channel),
            38..41 => Self::PostBatch(channel, rest % 6),
            41..50 => Self::Receive(value),
            50..54 => Self::Drop(value),
            54..59 => Self::Run(value % WORKERS),
            59..61 => Self::Attach(value % WORKERS),
            61..63 => Self::Leave(value % WORKERS),
            _ if value < 64 => Self::Shutdown,
            _ => Self::Post(channel),
        }
    }
}

/// What holds a listener.
enum Guard {
    Inline { _held: Registration },
    Local { _held: LocalRegistration },
    Queue(Subscriber<Note>),
    Blocking(BlockingSubscriber<Note>),
}

/// A bus and its model.
pub(crate) struct Walk {
    bus: WorkerEvents,
    channels: [Option<Channel<Note>>; CHANNELS],
    workers: [Option<LocalWorkerEvents>; WORKERS],
    guards: Vec<Option<Guard>>,
    journal: Arc<Mutex<Vec<(usize, Found)>>>,
    model: Model,
    next: u64,
}

fn name(channel: usize) -> &'static str {
    ["one", "two", "three"][channel]
}

fn policy_of(policy: Policy) -> Overflow {
    match policy {
        Policy::DropOldest => Overflow::DropOldest,
        Policy::DropNewest => Overflow::DropNewest,
        Policy::Refuse => Overflow::Error,
    }
}

impl Walk {
    pub(crate) fn new() -> Self {
        let bus = WorkerEvents::builder()
            .workers(WORKERS)
            .mailbox_capacity(MAILBOX)
            .clock(Arc::new(ManualClock::new()))
            .build();
        Self {
            bus: bus.expect("in range"),
            channels: [const { None }; CHANNELS],
            workers: [const { None }; WORKERS],
            guards: Vec::new(),
            journal: Arc::default(),
            model: Model::default(),
            next: 0,
        }
    }

    pub(crate) fn walk(mut self, operations: impl IntoIterator<Item = Operation>) {
        for operation in operations {
            self.apply(operation);
            self.compare(operation);
        }
        self.end();
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Declare(channel) => {
                let declared = self.bus.declare_opaque::<Note>("walk", name(channel));
                self.channels[channel] = Some(declared.expect("always of one type"));
                self.model.declared[channel] = true;
            }
            Operation::Register(channel) => {
                let write = self.writer();
                let held = self.bus.register(
                    move |note: &Note| write(Found::Event(*note)),
                    "walk",
                    name(channel),
                );
                let guard = held.ok().map(|_held| Guard::Inline { _held });
                self.listens(channel, Kind::Inline, 0, guard);
            }
            Operation::Relay(channel, other) => self.relay(channel, other),
            Operation::RegisterOn(channel, worker) => self.register_on(channel, worker),
            Operation::Subscribe(channel, policy, capacity) => {
                let options = options(policy, capacity);
                let queue = self.bus.subscribe::<Note>("walk", name(channel), options);
                let guard = queue.ok().map(Guard::Queue);
                self.listens(channel, Kind::Queue(policy), capacity, guard);
            }
            Operation::SubscribeBlocking(channel, policy, capacity) => {
                let options = options(policy, capacity);
                let queue = self
                    .bus
                    .subscribe_blocking::<Note>("walk", name(channel), options);
                let guard = queue.ok().map(Guard::Blocking);
                self.listens(channel, Kind::Blocking(policy), capacity, guard);
            }
            Operation::Post(channel) => self.post(channel),
            Operation::PostBatch(channel, count) => self.post_batch(channel, count),
            Operation::Receive(index) => self.receive(index),
            Operation::Drop(index) => self.drop_listener(index),
            Operation::Run(worker) => self.run(worker),
            Operation::Attach(worker) => self.attach(worker),
            Operation::Leave(worker) => self.leave(worker),
            Operation::Shutdown => self.shutdown(),
        }
    }

    /// Returns the function with which the next listener records what it receives.
    fn writer(&self) -> impl Fn(Found) + Send + Sync + use<> {
        let (journal, index) = (Arc::clone(&self.journal), self.guards.len());
        move |found| write(&journal, index, found)
    }

    /// Adds a listener to the model if the bus took it, which it does as long as it is open.
    fn listens(&mut self, channel: usize, kind: Kind, capacity: usize, guard: Option<Guard>) {
        let expected = self.model.declared[channel] && !self.model.closed;
        assert_eq!(guard.is_some(), expected, "{kind:?} on {channel}");
        if guard.is_some() {
            self.guards.push(guard);
            let listener = Listener::new(channel, kind, capacity);
            self.model.listeners.push(Some(listener));
        }
    }

    fn relay(&mut self, channel: usize, other: usize) {
        let Some(to) = self.channels[other].clone() else {
            return;
        };
        let held = self.bus.register(
            move |note: &Note| {
                if let Some(hops) = note.hops.checked_sub(1) {
                    let _refused = to.post(Note { hops, ..*note });
                }
            },
            "walk",
            name(channel),
        );
        let guard = held.ok().map(|_held| Guard::Inline { _held });
        self.listens(channel, Kind::Relay(other), 0, guard);
    }

    fn register_on(&mut self, channel: usize, worker: usize) {
        let write = self.writer();
        let Some(local) = &self.workers[worker] else {
            return;
        };
        let write = Rc::new(RefCell::new(write)); // a worker's handler need not be `Send`
        let held = local.register(
            move |note: &Note| (write.borrow())(Found::Event(*note)),
            "walk",
            name(channel),
        );
        let guard = held.ok().map(|_held| Guard::Local { _held });
        self.listens(channel, Kind::Worker(worker), 0, guard);
    }

    fn note(&mut self) -> Note {
        self.next += 1;
        Note {
            number: self.next,
            hops: 2,
        }
    }

    fn post(&mut self, channel: usize) {
        let note = self.note();
        let posted = match &self.channels[channel] {
            Some(handle) => handle.post(note),
            None => self.bus.post("walk", name(channel), note),
        };
        if let Err(error) = &posted {
            assert_eq!(error.payload, note);
            match &error.refusal {
                Refusal::Closed => assert!(self.model.closed),
                Refusal::Full { .. } | Refusal::UnknownChannel { .. } => {}
                other => panic!("{other}"),
            }
        }
        assert_eq!(posted.is_ok(), self.model.post(channel, note));
    }

    fn post_batch(&mut self, channel: usize, count: usize) {
        let notes: Vec<_> = (0..count)
            .map(|_| Note {
                hops: 0,
                ..self.note()
            })
            .collect();
        let Some(handle) = &self.channels[channel] else {
            return;
        };
        let result = handle.post_batch(notes.clone());
        let rest = result.map_or_else(|error| error.payload, |()| Vec::new());

        if self.model.closed && count > 0 {
            self.model.refused += 1;
            assert_eq!(rest, notes);
            return;
        }
        let accepted = notes
            .iter()
            .take_while(|note| self.model.post(channel, **note))
            .count();
        assert_eq!(rest, notes[accepted..]);
    }

    fn receive(&mut self, index: usize) {
        let count = self.guards.len().max(1);
        let index = index % count;
        let received = match self.guards.get_mut(index) {
            Some(Some(Guard::Queue(queue))) => queue.try_recv(),
            Some(Some(Guard::Blocking(queue))) => queue.try_recv(),
            _ => return,
        };
        let listener = self.model.listeners[index].as_mut();
        let expected = listener.expect("as long as its guard").receive();
        match (received, expected) {
            (Ok(heard), Some(expected)) => assert_eq!(found(heard), expected),
            (Err(TryRecvError::Empty), None) => assert!(!self.model.closed),
            (Err(TryRecvError::Closed), None) => assert!(self.model.closed),
            (received, expected) => panic!("{received:?}, and not {expected:?}"),
        }
    }

    fn drop_listener(&mut self, index: usize) {
        let count = self.guards.len().max(1);
        if let Some(guard) = self.guards.get_mut(index % count) {
            *guard = None;
            self.model.listeners[index % count] = None;
        }
    }

    fn run(&mut self, worker: usize) {
        if let Some(local) = &self.workers[worker] {
            assert_eq!(local.run_pending(), self.model.run(worker));
        }
    }

    fn attach(&mut self, worker: usize) {
        let attached = self.bus.attach_worker(worker);
        let free = !self.model.mailboxes[worker].attached && !self.model.closed;
        assert_eq!(attached.is_ok(), free);
        if let Ok(local) = attached {
            let journal = Arc::clone(&self.journal);
            local.on_gap(move |gap| {
                write(&journal, usize::MAX - worker, Found::Gap(gap.missed));
            });
            self.workers[worker] = Some(local);
            self.model.mailboxes[worker].attached = true;
        }
    }

    fn leave(&mut self, worker: usize) {
        let before = self.bus.stats().mailboxes[worker].dropped;
        if self.workers[worker].take().is_none() {
            return;
        }
        let dropped = self.bus.stats().mailboxes[worker].dropped - before;
        assert_eq!(dropped, self.model.mailboxes[worker].vacate());
        for (guard, listener) in self.guards.iter_mut().zip(&mut self.model.listeners) {
            if listener
                .as_ref()
                .is_some_and(|known| known.kind == Kind::Worker(worker))
            {
                *guard = None;
                *listener = None;
            }
        }
    }

    fn shutdown(&mut self) {
        let before = self.bus.stats();
        let report = self.bus.shutdown_blocking(Duration::ZERO);
        let dropped: u64 = self
            .model
            .mailboxes
            .iter_mut()
            .map(|mailbox| mailbox.close())
            .sum();
        let earlier: u64 = before.mailboxes.iter().map(|mailbox| mailbox.dropped).sum();
        assert_eq!(report.dropped, earlier + dropped, "{report:?}");
        self.model.closed = true;
    }

    fn compare(&self, operation: Operation) {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*journal, self.model.journal, "after {operation:?}");
        drop(journal);

        let stats = self.bus.stats();
        assert_eq!(stats.refused, self.model.refused, "after {operation:?}");
        for channel in &stats.channels {
            let index = (0..CHANNELS).find(|&index| name(index) == channel.event);
            let index = index.expect("one of ours");
            assert_eq!(
                channel.posted, self.model.posted[index],
                "after {operation:?}"
            );

            let missed: u64 = channel.subscribers.iter().map(|counts| counts.missed).sum();
            let listeners = self.model.listeners.iter().flatten();
            let queues = listeners
                .filter(|listener| listener.channel == index && listener.kind.policy().is_some());
            let expected: u64 = queues.map(|listener| listener.missed).sum();
            assert_eq!(missed, expected, "after {operation:?}");
        }
    }

    /// Drops every handle: receivers get what they have, and then the end.
    fn end(self) {
        let Self {
            bus,
            channels,
            workers,
            guards,
            mut model,
            ..
        } = self;
        let mut queues = Vec::new();
        for (guard, listener) in guards.into_iter().zip(&mut model.listeners) {
            if let (Some(guard), Some(listener)) = (guard, listener.take())
                && let Guard::Queue(_) | Guard::Blocking(_) = guard
            {
                queues.push((guard, listener));
            }
        }
        drop((bus, channels, workers));

        for (guard, mut listener) in queues {
            let mut receive: Box<dyn FnMut() -> _> = match guard {
                Guard::Queue(mut queue) => Box::new(move || queue.try_recv()),
                Guard::Blocking(mut queue) => Box::new(move || queue.try_recv()),
                Guard::Inline { .. } | Guard::Local { .. } => continue,
            };
            while let Some(expected) = listener.receive() {
                let heard = receive().expect("what is in it can still be received");
                assert_eq!(found(heard), expected);
            }
            assert_eq!(receive().err(), Some(TryRecvError::Closed));
        }
    }
}

fn options(policy: Policy, capacity: usize) -> SubscribeOptions {
    SubscribeOptions::new()
        .capacity(capacity)
        .overflow(policy_of(policy))
}

fn found(heard: Heard<Received<Note>>) -> Found {
    match heard.into_result() {
        Ok(note) => Found::Event(*note),
        Err(gap) => Found::Gap(gap.missed),
    }
}

fn write(journal: &Mutex<Vec<(usize, Found)>>, index: usize, found: Found) {
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.push((index, found));
}
