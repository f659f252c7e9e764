//! Typed worker events: named channels, three ways to listen, explicit overflow.

mod builder;
mod bus;
mod channel;
mod completion;
mod crud;
mod delivery;
mod dispatch;
mod envelope;
mod error;
mod event;
mod feed;
mod frame;
mod gap;
mod handler;
mod hub;
mod limit;
mod listen;
mod mailbox;
mod metered;
mod name;
mod park;
mod queue;
mod registration;
mod route;
mod sequencer;
mod stats;
mod sync;
mod trail;
mod unique;
mod watchdog;
mod worker;

#[cfg(test)]
mod tests;

pub use self::{
    builder::WorkerEventsBuilder,
    bus::{ShutdownReport, WorkerEvents},
    channel::{Channel, UniquePost},
    completion::MAX_WORKERS,
    crud::{CrudChannel, Ticket},
    delivery::{Delivery, Handled, Late},
    error::{AttachError, BoxError, BuildError, DeclareError, PostError, Refusal, RegisterError},
    event::{DynamicEvent, Event},
    feed::{FeedEvent, FeedItem, Lifecycle, LifecycleFeed, LifecycleItem, LiveFeed},
    frame::in_handler,
    gap::Gap,
    handler::{HandlerStats, Outcome},
    listen::{AsyncOptions, Listen},
    mailbox::MailboxStats,
    name::CRUD,
    queue::{
        BlockingSubscriber, Heard, Overflow, Received, SubscribeOptions, Subscriber,
        SubscriberStats, TryRecvError,
    },
    registration::{LocalRegistration, Registration},
    sequencer::SequencerStats,
    stats::{BusStats, ChannelStats},
    watchdog::{SlowHandler, Watchdog},
    worker::{LocalListen, LocalWorkerEvents},
};
