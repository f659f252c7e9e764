//! How one listener gets an event: envelopes, mailboxes, queues, feeds, and the question who has handled it.

pub(crate) mod completion;
pub(crate) mod envelope;
pub(crate) mod feed;
pub(crate) mod handled;
pub(crate) mod mailbox;
pub(crate) mod queue;
pub(crate) mod sequencer;
