//! Adds queues to a channel when subscribers come, and removes them when they go.

use std::sync::{Arc, Weak};

use tidings_core::Operation;

use crate::{
    channel::core::{AnyChannel, ChannelCore},
    delivery::queue::{
        blocking::{Blocking, BlockingSubscriber},
        bounded::{Bounded, QueueSpec},
        log::Log,
        options::SubscribeOptions,
        outlet::{Outlet, OutletOwner},
        subscriber::{Queue, Subscriber},
    },
    event::{label, payload::Event},
    hub::Hub,
};

impl<T: Event> ChannelCore<T> {
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        operation: Option<Operation>,
        options: &SubscribeOptions,
    ) -> Subscriber<T> {
        let spec = self.queue_spec(operation, options);
        let queue = if options.overflow.shares_log() {
            self.join_log(spec)
        } else {
            let queue = Arc::new(Bounded::new(spec));
            self.add_outlet(Arc::clone(&queue) as _);
            Queue::Bounded(queue)
        };
        Subscriber::new(queue, Arc::clone(self.info()), self.as_owner())
    }

    pub(crate) fn subscribe_blocking(
        self: &Arc<Self>,
        operation: Option<Operation>,
        options: &SubscribeOptions,
    ) -> BlockingSubscriber<T> {
        let (queue, receiver) = Blocking::new(self.queue_spec(operation, options));
        let queue = Arc::new(queue);
        self.add_outlet(Arc::clone(&queue) as _);
        BlockingSubscriber::new(receiver, queue, Arc::clone(self.info()), self.as_owner())
    }

    /// Describes a new queue of this channel.
    pub(crate) fn queue_spec(
        &self,
        operation: Option<Operation>,
        options: &SubscribeOptions,
    ) -> QueueSpec {
        QueueSpec {
            serial: Hub::next_serial(),
            name: match &options.name {
                Some(name) => name.as_str().into(),
                None => label::of_type::<T>().into(),
            },
            operation,
            capacity: options.capacity,
            overflow: options.overflow,
        }
    }

    pub(crate) fn as_owner(self: &Arc<Self>) -> Weak<dyn OutletOwner> {
        let owner: Weak<Self> = Arc::downgrade(self);
        owner
    }

    pub(crate) fn add_outlet(&self, outlet: Arc<dyn Outlet<T>>) {
        self.outlets.lock().add(outlet);
        self.outlets_changed();
    }

    fn outlets_changed(&self) {
        self.invalidate();
        // A shutdown that closed the queues just before this has not seen the new one.
        if self.hub.is_closed() {
            self.close_queues();
        }
    }

    fn join_log(&self, spec: QueueSpec) -> Queue<T> {
        let make = || {
            let info = Arc::clone(&self.info);
            Arc::new(Log::new(Hub::next_serial(), info, spec.operation))
        };

        // One lock from finding the log to listing it. A last reader that leaves takes the log off
        // the list before this, or finds the new reader in it and leaves it listed.
        let mut outlets = self.outlets.lock();
        let log = match spec.operation {
            None => Arc::clone(self.log.get_or_init(make)),
            Some(operation) => outlets.narrow_log(operation, make),
        };
        let reader = log.reader(spec.name, spec.capacity);

        outlets.add_once(log);
        drop(outlets);

        self.outlets_changed();
        Queue::Log(reader)
    }
}

impl<T: Event> OutletOwner for ChannelCore<T> {
    fn remove_outlet(&self, serial: u64) {
        let removed = self.outlets.lock().remove(serial);
        self.invalidate();
        drop(removed);
    }

    fn remove_idle_log(&self, serial: u64) {
        // One lock from the check to the removal: a reader that joined in between would never
        // receive an event.
        let removed = {
            let mut outlets = self.outlets.lock();
            let whole = self.log.get().filter(|log| log.serial() == serial);
            let log = whole.or_else(|| outlets.find_narrow(serial));
            if log.is_some_and(|log| log.has_readers()) {
                return;
            }
            outlets.remove(serial)
        };

        self.invalidate();
        drop(removed);
    }
}

#[cfg(all(test, not(shuttle)))] // the models have helpers of their own
mod tests {
    use tidings_core::CrudEvent;

    use super::*;
    use crate::tests::{Consumer, Note, consumer};

    /// Another reader may join after the last one has left, and before the log is removed.
    #[test]
    fn a_log_is_not_taken_from_a_reader_that_has_just_come() {
        let bus = crate::tests::bus(0);
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let options = SubscribeOptions::new();
        let mut reader = bus
            .subscribe::<Note>("jobs", "done", options)
            .expect("declared");
        let log = channel.core.log.get().expect("made by the subscription");

        channel.core.remove_idle_log(log.serial());
        channel.post(Note(1)).expect("open");
        assert!(reader.try_recv().is_ok());

        drop(reader);
        assert!(bus.stats().channels[0].subscribers.is_empty());
        assert!(channel.core.outlets().is_empty(), "nothing is fed any more");
    }

    #[test]
    fn a_log_for_one_operation_stays_with_its_reader_and_goes_with_it() {
        let bus = crate::tests::bus(0);
        let consumers = bus.declare_crud::<Consumer>().expect("free");
        let subscribe = |event| {
            let queue =
                bus.subscribe::<CrudEvent<Consumer>>("crud", event, SubscribeOptions::new());
            queue.expect("declared")
        };
        let mut updates = subscribe("consumers:update");
        let mut deletes = subscribe("consumers:delete");
        let core = &consumers.channel().core;
        assert_eq!(core.outlets().len(), 2);

        for outlet in core.outlets() {
            core.remove_idle_log(outlet.serial());
        }
        let updated = CrudEvent::updated(consumer("1"), consumer("1"));
        consumers.channel().post(updated).expect("open");
        let deleted = CrudEvent::deleted(consumer("1"));
        consumers.channel().post(deleted).expect("open");
        assert!(updates.try_recv().is_ok() && deletes.try_recv().is_ok());

        drop(updates);
        assert_eq!(core.outlets().len(), 1);
        drop(deletes);
        assert!(core.outlets().is_empty(), "nothing is fed any more");
    }

    #[test]
    fn a_payload_is_not_dropped_under_the_lock_of_a_log_whose_last_reader_left() {
        /// Reads the bus's counts when it is dropped, which takes the log's lock.
        struct Curious(crate::WorkerEvents);
        impl Drop for Curious {
            fn drop(&mut self) {
                drop(self.0.stats());
            }
        }
        #[derive(serde::Serialize)]
        struct Payload {
            #[serde(skip)]
            _dropped: Box<dyn std::any::Any + Send + Sync>,
        }

        let plain = || Payload {
            _dropped: Box::new(()),
        };

        crate::tests::within(move || {
            let bus = crate::tests::bus(0);
            let channel = bus.declare::<Payload>("jobs", "curious").expect("free");
            let reader = bus
                .subscribe::<Payload>("jobs", "curious", SubscribeOptions::new())
                .expect("declared");
            channel.post(plain()).expect("open");
            let log = channel.core.log.get().expect("made by the subscription");
            let _kept = Arc::clone(log);

            // The reader leaves between the post's check that the log is alone and its write.
            assert!(log.is_alone());
            drop(reader);

            let late = log.write(
                None,
                Payload {
                    _dropped: Box::new(Curious(bus.clone())),
                },
            );
            assert!(late.is_err(), "no reader is left, so the event comes back");
        });
    }
}
