//! Posts to one worker: the current one, or one that a key chooses.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tidings_core::Chain;

use crate::{
    channel::core::ChannelCore,
    delivery::{envelope::Envelope, offer::Offer},
    error::{PostError, Refusal},
    event::{
        payload::Event,
        posted::{Extra, Posted},
    },
    hub::unique::Claim,
    isolate::quietly,
    route::shards::WorkerRoute,
    thread::{frame::Frame, places},
};

/// What became of a unique post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum UniquePost {
    /// This worker was given the event.
    Posted {
        /// The worker; if it dies before it handled the event, another takes over.
        worker: usize,
    },
    /// The same key was posted within its window: no worker is given anything.
    Duplicate,
}

impl<T: Event> ChannelCore<T> {
    pub(crate) fn post_to_current(self: &Arc<Self>, event: T) -> Result<(), PostError<T>> {
        let Some(worker) = places::current(self.hub.id()) else {
            return Err(self.refuse(event, Refusal::NotAWorker));
        };
        let extra = match self.admit_direct(&event) {
            Ok(extra) => extra,
            Err(refusal) => return Err(self.refuse(event, refusal)),
        };

        let event = self.envelope(event, extra);
        let erased: Arc<dyn Posted> = Arc::clone(&event) as _;
        let mailbox = &self.hub.mailboxes()[worker];
        let offer = {
            let _order = self.order.lock();
            mailbox.offer_directly(&erased)
        };

        drop(erased);
        mailbox.notify();

        match offer {
            Offer::Accepted => Ok(()),
            Offer::Missed => Err(self.take_back(event, mailbox_full())),
            Offer::Closed => Err(self.take_back(event, Refusal::Closed)),
        }
    }

    pub(crate) fn post_unique(
        self: &Arc<Self>,
        event: T,
        key: &str,
        window: Duration,
    ) -> Result<UniquePost, PostError<T>> {
        let extra = match self.admit_direct(&event) {
            Ok(extra) => extra,
            Err(refusal) => return Err(self.refuse(event, refusal)),
        };

        match self.hub.claim_key(&self.info, key, window) {
            Ok(Claim::Taken) => {}
            Ok(Claim::Duplicate) => return Ok(UniquePost::Duplicate),
            Err(refusal) => return Err(self.refuse(event, refusal)),
        }

        let mut extra = extra.unwrap_or_default();
        extra.unique = Some(hash(key));
        let event = self.envelope(event, Some(extra));

        match self.give_to_one(&event) {
            Ok(worker) => Ok(UniquePost::Posted { worker }),
            Err(refusal) => {
                // No worker has it, so the key may be tried again.
                self.hub.forget_key(&self.info, key);
                Err(self.take_back(event, refusal))
            }
        }
    }

    /// Hands the event of a worker that died to another, or counts it as dropped.
    pub(super) fn give_to_another(&self, event: &Arc<Envelope<T>>) {
        match self.give_to_one(event) {
            Ok(worker) => {
                quietly(|| tracing::info!(worker, "a worker took over a unique event"));
            }
            Err(refusal) => {
                self.hub.count_dropped();
                quietly(|| {
                    tracing::error!(
                        error = %Chain(&refusal),
                        source = &*self.info.source,
                        event = &*self.info.event,
                        "no worker takes over a unique event"
                    );
                });
            }
        }
    }

    /// Hands the event to the first worker that takes it, beginning with the key's own choice.
    fn give_to_one(&self, event: &Arc<Envelope<T>>) -> Result<usize, Refusal> {
        let Some(choice) = event.meta().unique() else {
            return Err(Refusal::NoWorker);
        };

        let route = Frame::with(|frame| self.enter(frame, |route, _| Arc::clone(route)));
        let workers: Vec<&WorkerRoute> = route
            .workers
            .iter()
            .filter(|worker| worker.wants(event.meta().operation))
            .collect();

        let erased: Arc<dyn Posted> = Arc::clone(event) as _;
        let mut refusal = Refusal::NoWorker;
        for step in 0..workers.len() as u64 {
            let index = (choice.wrapping_add(step) % workers.len() as u64) as usize;
            let mailbox = &workers[index].mailbox;
            let offer = {
                let _order = self.order.lock();
                mailbox.offer_directly(&erased)
            };
            mailbox.notify();

            match offer {
                Offer::Accepted => return Ok(mailbox.index()),
                Offer::Missed => refusal = mailbox_full(),
                Offer::Closed => {}
            }
        }

        Err(refusal)
    }

    fn admit_direct(&self, event: &T) -> Result<Option<Box<Extra>>, Refusal> {
        if self.info.crud {
            return Err(Refusal::CrudTarget);
        }

        self.admit(event)?;
        let trail = Frame::with(Frame::trail_of_posts);
        self.hub.check_depth(&trail, &self.info)?;

        let extra = Extra::of_poster_if_any();
        if trail.if_any().is_none() {
            return Ok(extra);
        }
        let mut extra = extra.unwrap_or_default();
        extra.trail = trail;
        Ok(Some(extra))
    }

    /// Takes the payload out of its envelope, which nothing else refers to when it was not
    /// accepted.
    pub(super) fn take_back(&self, event: Arc<Envelope<T>>, refusal: Refusal) -> PostError<T> {
        match Arc::into_inner(event).and_then(Envelope::into_payload) {
            Some(event) => self.refuse(event, refusal),
            None => unreachable!("a refused event was offered by reference and never kept"),
        }
    }
}

fn mailbox_full() -> Refusal {
    Refusal::Full {
        subscriber: "worker mailbox".to_owned(),
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
