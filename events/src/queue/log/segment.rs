//! [`Segment`]: a run of slots in a log, each written once.

use std::sync::{Arc, OnceLock};

use crate::{
    envelope::{ChannelInfo, Envelope, Stored},
    event::Event,
};

/// Events per segment; a power of two.
pub(super) const WIDTH: u64 = 32;

pub(crate) struct Segment<T: Event> {
    /// The position of the first slot; a multiple of [`WIDTH`].
    base: u64,
    info: Arc<ChannelInfo>,
    slots: Box<[OnceLock<Slot<T>>]>,
}

/// An event in its place.
pub(super) enum Slot<T: Event> {
    Here(Stored<T>),
    Shared(Arc<Envelope<T>>),
}

impl<T: Event> Segment<T> {
    pub(super) fn new(base: u64, info: Arc<ChannelInfo>) -> Self {
        Self {
            base,
            info,
            slots: (0..WIDTH).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(super) fn base_of(position: u64) -> u64 {
        position & !(WIDTH - 1)
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The position after the last slot.
    pub(super) fn end(&self) -> u64 {
        self.base + WIDTH
    }

    /// Writes the slot of a position in this segment. Whoever does so holds the log's lock and raises its head
    /// afterwards, so each slot is written once, and before anybody reads it.
    #[inline]
    pub(super) fn write(&self, position: u64, event: Slot<T>) {
        let _written_once: Result<(), Slot<T>> = self.slots[index_of(position)].set(event);
    }

    /// The event at a position of this segment, and the index of its slot; none before it was written.
    #[inline]
    pub(super) fn read(&self, position: u64) -> Option<(&Slot<T>, usize)> {
        let index = index_of(position);
        Some((self.slots[index].get()?, index))
    }

    pub(super) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.take();
        }
    }

    /// Starts anew; only once cleared.
    pub(super) fn begin(&mut self, base: u64) {
        self.base = base;
    }

    /// The channel of the events.
    pub(crate) fn info(&self) -> &ChannelInfo {
        &self.info
    }

    /// The event that lies in a slot itself.
    #[inline]
    pub(crate) fn stored(&self, index: usize) -> &Stored<T> {
        match self.slots[index].get() {
            Some(Slot::Here(stored)) => stored,
            // A reader hands out the index of a slot that holds the event, and keeps the segment from being cleared.
            _ => unreachable!("the slot was read, and is not cleared while it is referred to"),
        }
    }
}

#[inline]
fn index_of(position: u64) -> usize {
    (position & (WIDTH - 1)) as usize
}
