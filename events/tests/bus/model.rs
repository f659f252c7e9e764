//! A bus as it should be: one thread, plain vectors.

use std::collections::VecDeque;

/// Channels that there may be.
pub(crate) const CHANNELS: usize = 3;
/// Workers of the bus.
pub(crate) const WORKERS: usize = 2;
/// Events that a worker's mailbox holds.
pub(crate) const MAILBOX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) number: u64,
    /// How often handlers may pass it on.
    pub(crate) hops: u8,
}

/// What a receiver of a queue, or a worker, finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Event(Note),
    Gap(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    DropOldest,
    DropNewest,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records what it receives.
    Inline,
    /// Passes what it receives on to another channel.
    Relay(usize),
    Worker(usize),
    Queue(Policy),
    /// A queue whose receiver takes the event behind a gap along with it.
    Blocking(Policy),
}

impl Kind {
    pub(crate) fn policy(self) -> Option<Policy> {
        match self {
            Self::Queue(policy) | Self::Blocking(policy) => Some(policy),
            Self::Inline | Self::Relay(_) | Self::Worker(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) channel: usize,
    pub(crate) kind: Kind,
    pub(crate) capacity: usize,
    pub(crate) queue: VecDeque<Found>,
    /// Taken out behind a gap, and not received yet.
    held: Option<Found>,
    reserved: usize,
    /// Missed since the last event that is in the queue.
    missing: u64,
    pub(crate) posted: u64,
    pub(crate) missed: u64,
}

impl Listener {
    pub(crate) fn new(channel: usize, kind: Kind, capacity: usize) -> Self {
        Self {
            channel,
            kind,
            capacity,
            queue: VecDeque::new(),
            held: None,
            reserved: 0,
            missing: 0,
            posted: 0,
            missed: 0,
        }
    }

    fn events(&self) -> usize {
        let events = self.queue.iter();
        events
            .filter(|found| matches!(found, Found::Event(_)))
            .count()
    }

    fn is_full(&self) -> bool {
        self.events() + self.reserved >= self.capacity
    }

    fn push(&mut self, policy: Policy, note: Note) {
        self.posted += 1;
        match policy {
            Policy::DropOldest => {
                if self.events() == self.capacity {
                    self.queue.retain({
                        let mut first = true;
                        move |_| !std::mem::take(&mut first)
                    });
                    self.missing += 1;
                    self.missed += 1;
                }
                self.queue.push_back(Found::Event(note));
            }
            Policy::DropNewest if self.is_full() => {
                self.missing += 1;
                self.missed += 1;
            }
            Policy::DropNewest | Policy::Refuse => {
                if self.missing > 0 {
                    let missing = std::mem::take(&mut self.missing);
                    self.queue.push_back(Found::Gap(missing));
                }
                self.queue.push_back(Found::Event(note));
            }
        }
    }

    /// Returns what a receiver finds next.
    pub(crate) fn receive(&mut self) -> Option<Found> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let found = self.take();
        if let (Some(Found::Gap(_)), Kind::Blocking(_)) = (found, self.kind) {
            self.held = self.queue.pop_front();
        }
        found
    }

    fn take(&mut self) -> Option<Found> {
        let missing = std::mem::take(&mut self.missing);
        // Where the oldest made room, the gap is at the front.
        if missing > 0 && self.kind.policy() == Some(Policy::DropOldest) {
            return Some(Found::Gap(missing));
        }
        self.missing = missing;
        if let Some(found) = self.queue.pop_front() {
            return Some(found);
        }
        let missing = std::mem::take(&mut self.missing);
        (missing > 0).then_some(Found::Gap(missing))
    }
}

/// A worker's mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) attached: bool,
    /// By channel.
    pub(crate) mail: VecDeque<(usize, Found)>,
    gaps: Vec<(usize, u64)>,
}

impl Mailbox {
    fn offer(&mut self, channel: usize, note: Note) {
        let events = self.mail.iter();
        if events
            .filter(|(_, found)| matches!(found, Found::Event(_)))
            .count()
            == MAILBOX
        {
            match self.gaps.iter_mut().find(|gap| gap.0 == channel) {
                Some(gap) => gap.1 += 1,
                None => self.gaps.push((channel, 1)),
            }
            return;
        }
        self.flush();
        self.mail.push_back((channel, Found::Event(note)));
    }

    pub(crate) fn flush(&mut self) {
        for (channel, missed) in self.gaps.drain(..) {
            self.mail.push_back((channel, Found::Gap(missed)));
        }
    }

    /// Ends it with the bus, except for its gaps. Returns how many events it held.
    pub(crate) fn close(&mut self) -> u64 {
        let before = self.mail.len();
        self.mail
            .retain(|(_, found)| matches!(found, Found::Gap(_)));
        (before - self.mail.len()) as u64
    }

    /// Ends it. Returns how many events it held.
    pub(crate) fn vacate(&mut self) -> u64 {
        let events = self.mail.iter();
        let events = events.filter(|(_, found)| matches!(found, Found::Event(_)));
        let dropped = events.count() as u64;
        *self = Self::default();
        dropped
    }
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) declared: [bool; CHANNELS],
    pub(crate) closed: bool,
    /// In the order of their registration; none once dropped.
    pub(crate) listeners: Vec<Option<Listener>>,
    pub(crate) mailboxes: [Mailbox; WORKERS],
    /// What inline handlers and workers recorded: the listener, and what it received.
    pub(crate) journal: Vec<(usize, Found)>,
    pub(crate) posted: [u64; CHANNELS],
    pub(crate) refused: u64,
}

impl Model {
    fn on(&mut self, channel: usize) -> impl Iterator<Item = &mut Listener> {
        let all = self.listeners.iter_mut().flatten();
        all.filter(move |listener| listener.channel == channel)
    }

    /// Returns whether a post is accepted; if so, every strict queue has reserved a slot for it.
    fn reserve(&mut self, channel: usize) -> bool {
        let strict = |listener: &&mut Listener| listener.kind.policy() == Some(Policy::Refuse);
        if self
            .on(channel)
            .filter(strict)
            .any(|listener| listener.is_full())
        {
            self.refused += 1;
            return false;
        }
        for listener in self.on(channel).filter(strict) {
            listener.reserved += 1;
        }
        true
    }

    /// Posts a note. Returns whether the post was accepted.
    pub(crate) fn post(&mut self, channel: usize, note: Note) -> bool {
        if self.closed || !self.declared[channel] {
            self.refused += 1;
            return false;
        }
        if !self.reserve(channel) {
            return false;
        }
        let mut pending = VecDeque::from([(channel, note)]);
        while let Some((channel, note)) = pending.pop_front() {
            self.dispatch(channel, note, &mut pending);
        }
        true
    }

    fn dispatch(&mut self, channel: usize, note: Note, pending: &mut VecDeque<(usize, Note)>) {
        self.posted[channel] += 1;
        for index in 0..self.listeners.len() {
            let kind = match &self.listeners[index] {
                Some(listener) if listener.channel == channel => listener.kind,
                _ => continue,
            };
            match kind {
                Kind::Inline => self.journal.push((index, Found::Event(note))),
                Kind::Relay(other) if note.hops > 0 && self.reserve(other) => {
                    let hops = note.hops - 1;
                    pending.push_back((other, Note { hops, ..note }));
                }
                Kind::Relay(_) | Kind::Worker(_) | Kind::Queue(_) | Kind::Blocking(_) => {}
            }
        }

        for worker in 0..WORKERS {
            if self
                .on(channel)
                .any(|listener| listener.kind == Kind::Worker(worker))
            {
                self.mailboxes[worker].offer(channel, note);
            }
        }
        for listener in self.on(channel) {
            if let Some(policy) = listener.kind.policy() {
                if policy == Policy::Refuse {
                    listener.reserved -= 1;
                }
                listener.push(policy, note);
            }
        }
    }

    /// Handles what is in a worker's mailbox. Returns how many events that were.
    pub(crate) fn run(&mut self, worker: usize) -> usize {
        let mut handled = 0;
        self.mailboxes[worker].flush();
        while let Some((channel, found)) = self.mailboxes[worker].mail.pop_front() {
            handled += usize::from(matches!(found, Found::Event(_)));
            for index in 0..self.listeners.len() {
                let listens = self.listeners[index].as_ref().is_some_and(|listener| {
                    listener.channel == channel && listener.kind == Kind::Worker(worker)
                });
                if listens && matches!(found, Found::Event(_)) {
                    self.journal.push((index, found));
                }
            }
            if let Found::Gap(_) = found {
                self.journal.push((usize::MAX - worker, found));
            }
        }
        handled
    }
}
