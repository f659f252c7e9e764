//! [`BusStats`]: the counts of a bus, its channels, handlers and mailboxes.

use crate::{
    delivery::{mailbox::MailboxStats, queue::stats::SubscriberStats, sequencer::SequencerStats},
    event::handler::HandlerStats,
};

/// The counts of a bus.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BusStats {
    /// The channels, in the order of their declaration.
    pub channels: Vec<ChannelStats>,
    /// The handlers, in the order of their registration.
    pub handlers: Vec<HandlerStats>,
    /// The workers' mailboxes.
    pub mailboxes: Vec<MailboxStats>,
    /// The order of changes.
    pub sequencer: SequencerStats,
    /// Posts that were refused.
    pub refused: u64,
    /// Accepted changes that no listener received: the bus was shut down first, or the change was
    /// too deep in a cycle.
    pub dropped: u64,
}

/// The counts of one channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelStats {
    /// The source.
    pub source: String,
    /// The event.
    pub event: String,
    /// The type that it carries.
    pub type_name: &'static str,
    /// Events dispatched so far.
    pub posted: u64,
    /// Its queues.
    pub subscribers: Vec<SubscriberStats>,
}
