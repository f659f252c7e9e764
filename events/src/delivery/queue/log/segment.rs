//! [`Segment`]: a run of slots in a log, each written once.

use std::sync::{Arc, OnceLock};

use crate::{
    delivery::envelope::Envelope,
    event::{info::ChannelInfo, payload::Event, posted::Extra},
};

/// Events per segment; a power of two.
pub(super) const WIDTH: u64 = 32;

pub(crate) struct Segment<T: Event> {
    /// The position of the first slot; a multiple of [`WIDTH`].
    base: u64,
    info: Arc<ChannelInfo>,
    slots: Box<[Slot<T>]>,
}

/// Room for one event: in the slot's own place, or as a reference to an event that other listeners
/// received too; none if it was lost.
struct Slot<T: Event> {
    place: Arc<Envelope<T>>,
    shared: OnceLock<Option<Arc<Envelope<T>>>>,
}

impl<T: Event> Segment<T> {
    pub(super) fn new(base: u64, info: &Arc<ChannelInfo>) -> Self {
        let slot = |_| Slot {
            place: Arc::new(Envelope::slot(Arc::clone(info))),
            shared: OnceLock::new(),
        };
        Self {
            base,
            info: Arc::clone(info),
            slots: (0..WIDTH).map(slot).collect(),
        }
    }

    pub(super) fn base_of(position: u64) -> u64 {
        position & !(WIDTH - 1)
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Returns the position after the last slot.
    pub(super) fn end(&self) -> u64 {
        self.base + WIDTH
    }

    /// Writes a slot in its own place. The writer holds the log's lock and raises its head
    /// afterwards, so each slot is written once, and before it is read.
    #[inline]
    pub(super) fn write(&self, position: u64, extra: Option<Box<Extra>>, payload: T) {
        self.slots[index_of(position)].place.fill(extra, payload);
    }

    /// Sets the slot of an event that other listeners received too, or of one that was lost.
    pub(super) fn share(&self, position: u64, event: Option<Arc<Envelope<T>>>) {
        let _written_once: Result<(), _> = self.slots[index_of(position)].shared.set(event);
    }

    /// Returns the event at a position of this segment; none before it was written, or if it was
    /// lost.
    #[inline]
    pub(super) fn read(&self, position: u64) -> Option<&Arc<Envelope<T>>> {
        let slot = &self.slots[index_of(position)];
        if slot.place.is_filled() {
            return Some(&slot.place);
        }
        slot.shared.get()?.as_ref()
    }

    /// Returns whether the event at this position was lost.
    pub(super) fn is_lost(&self, position: u64) -> bool {
        matches!(self.slots[index_of(position)].shared.get(), Some(None))
    }

    /// Drops the events; a place that a receiver still refers to is left to it.
    pub(super) fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.shared.take();
            match Arc::get_mut(&mut slot.place) {
                Some(place) => place.empty(),
                None => slot.place = Arc::new(Envelope::slot(Arc::clone(&self.info))),
            }
        }
    }

    /// Starts again at `base`; only once cleared.
    pub(super) fn begin(&mut self, base: u64) {
        self.base = base;
    }
}

#[inline]
fn index_of(position: u64) -> usize {
    (position & (WIDTH - 1)) as usize
}
