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
mod frame;
mod gap;
mod handler;
mod hub;
mod limit;
mod listen;
mod mailbox;
mod name;
mod registration;
mod route;
mod sequencer;
mod stats;
mod sync;
mod trail;
mod watchdog;
mod worker;

#[cfg(test)]
mod tests;

pub use self::{
    builder::WorkerEventsBuilder,
    bus::{ShutdownReport, WorkerEvents},
    channel::Channel,
    completion::MAX_WORKERS,
    crud::{CrudChannel, Ticket},
    delivery::{Delivery, Handled, Late},
    error::{AttachError, BoxError, BuildError, DeclareError, PostError, Refusal, RegisterError},
    event::{DynamicEvent, Event},
    frame::in_handler,
    gap::Gap,
    handler::{HandlerStats, Outcome},
    listen::Listen,
    mailbox::MailboxStats,
    name::CRUD,
    registration::{LocalRegistration, Registration},
    sequencer::SequencerStats,
    stats::{BusStats, ChannelStats},
    worker::{LocalListen, LocalWorkerEvents},
};
