//! Subscribing and unsubscribing: the queues of a channel.

use std::{any::type_name, sync::Arc};

use tidings_core::Operation;

use crate::{
    channel::core::{AnyChannel, ChannelCore},
    delivery::queue::{
        BlockingSubscriber, Outlet, Overflow, SubscribeOptions, Subscriber, blocking::Blocking,
        bounded::Bounded, log::Log, subscriber::Queue,
    },
    event::dynamic::Event,
    hub::Hub,
};

/// The queues of a channel, in the order in which they were made.
pub(crate) struct Outlets<T: Event> {
    pub(super) all: Vec<Arc<dyn Outlet<T>>>,
    /// Those for one operation of a change that all its subscribers share; the one for all is
    /// [`ChannelCore::log`]. They stay when their last reader leaves, and are then not in `all`.
    narrow: Vec<Arc<Log<T>>>,
}

impl<T: Event> Default for Outlets<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            narrow: Vec::new(),
        }
    }
}

impl<T: Event> ChannelCore<T> {
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        operation: Option<Operation>,
        options: SubscribeOptions,
    ) -> Subscriber<T> {
        let queue = if options.overflow == Overflow::DropOldest {
            self.join_log(operation, options)
        } else {
            let queue = self.bounded(operation, options);
            self.add_outlet(Arc::clone(&queue) as _);
            let serial = queue.serial();
            Queue::Bounded(queue, serial)
        };
        Subscriber::new(queue, Arc::downgrade(self))
    }

    pub(crate) fn subscribe_blocking(
        self: &Arc<Self>,
        operation: Option<Operation>,
        options: SubscribeOptions,
    ) -> BlockingSubscriber<T> {
        let (queue, receiver) = Blocking::new(
            Hub::next_serial(),
            name_of::<T>(&options),
            operation,
            options.capacity,
            options.overflow,
        );
        let queue = Arc::new(queue);
        self.add_outlet(Arc::clone(&queue) as _);
        BlockingSubscriber::new(receiver, queue, Arc::downgrade(self))
    }

    pub(crate) fn bounded(
        &self,
        operation: Option<Operation>,
        options: SubscribeOptions,
    ) -> Arc<Bounded<T>> {
        Arc::new(self.make_bounded(operation, options))
    }

    pub(crate) fn make_bounded(
        &self,
        operation: Option<Operation>,
        options: SubscribeOptions,
    ) -> Bounded<T> {
        Bounded::new(
            Hub::next_serial(),
            name_of::<T>(&options),
            operation,
            options.capacity,
            options.overflow,
        )
    }

    pub(crate) fn add_outlet(&self, outlet: Arc<dyn Outlet<T>>) {
        self.outlets.lock().all.push(outlet);
        self.outlets_changed();
    }

    fn outlets_changed(&self) {
        self.invalidate();
        // A shutdown that closed the queues just before has not seen this one.
        if self.hub.is_closed() {
            self.close_queues();
        }
    }

    fn join_log(&self, operation: Option<Operation>, options: SubscribeOptions) -> Queue<T> {
        let name = name_of::<T>(&options);
        let mut outlets = self.outlets.lock();
        let log = self.log_of(&mut outlets, operation);
        let reader = log.reader(name, options.capacity);
        // The last reader may have left just now, and not taken the log off the list yet.
        let serial = log.serial();
        if !outlets.all.iter().any(|outlet| outlet.serial() == serial) {
            outlets.all.push(log);
        }
        drop(outlets);
        self.outlets_changed();
        Queue::Log(reader)
    }

    fn log_of(&self, outlets: &mut Outlets<T>, operation: Option<Operation>) -> Arc<Log<T>> {
        let make = || {
            let info = Arc::clone(&self.info);
            Arc::new(Log::new(Hub::next_serial(), info, operation))
        };
        if operation.is_none() {
            return Arc::clone(self.log.get_or_init(make));
        }
        let narrow = &mut outlets.narrow;
        match narrow.iter().find(|log| log.operation() == operation) {
            Some(log) => Arc::clone(log),
            None => {
                let log = make();
                narrow.push(Arc::clone(&log));
                log
            }
        }
    }

    pub(crate) fn remove_outlet(&self, serial: u64) {
        let removed: Vec<_> = {
            let mut outlets = self.outlets.lock();
            outlets
                .all
                .extract_if(.., |outlet| outlet.serial() == serial)
                .collect()
        };
        self.invalidate();
        drop(removed);
    }

    /// Hands no more events to a log that its last reader left, unless another has come.
    pub(crate) fn remove_log(&self, log: &Arc<Log<T>>) {
        {
            let mut outlets = self.outlets.lock();
            if log.has_readers() {
                return;
            }
            outlets.all.retain(|outlet| outlet.serial() != log.serial());
        }
        self.invalidate();
    }
}

fn name_of<T>(options: &SubscribeOptions) -> Arc<str> {
    options.name.as_deref().unwrap_or(type_name::<T>()).into()
}

#[cfg(all(test, not(shuttle)))] // the models have helpers of their own
mod tests {
    use std::sync::Arc;

    use crate::{SubscribeOptions, tests::Note};

    /// A reader may come between the last one's leaving and this.
    #[test]
    fn a_log_is_not_taken_from_a_reader_that_has_just_come() {
        let bus = crate::tests::bus(0);
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let options = SubscribeOptions::new();
        let mut reader = bus
            .subscribe::<Note>("jobs", "done", options)
            .expect("declared");
        let log = Arc::clone(channel.core.log.get().expect("made by the subscription"));
        channel.core.remove_log(&log);
        channel.post(Note(1)).expect("open");
        assert!(reader.try_recv().is_ok());
        drop(reader);
        assert!(bus.stats().channels[0].subscribers.is_empty());
        assert!(channel.core.outlets().is_empty(), "nothing is fed any more");
    }
}
