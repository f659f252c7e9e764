//! Finds channels by their names, with errors that suggest what may have been meant.

use std::{any::type_name, sync::Arc};

use crate::{
    api::bus::{Bus, Channels, WorkerEvents},
    channel::core::{AnyChannel, ChannelCore},
    error::{Refusal, RegisterError},
    event::{
        name::{ANY, Pattern, near, split_operation},
        payload::Event,
    },
};

impl WorkerEvents {
    /// Finds the channel and pattern of a typed registration.
    pub(crate) fn resolve_typed<T: Event>(
        &self,
        source: &str,
        event: &str,
    ) -> Result<(Pattern, Arc<ChannelCore<T>>), RegisterError> {
        if self.inner.hub.is_closed() {
            return Err(closed(source, event));
        }
        if source == ANY || event == ANY {
            return Err(RegisterError::TypedWildcard {
                source_name: source.to_owned(),
                event: event.to_owned(),
                asked: type_name::<T>(),
            });
        }

        let (pattern, channel) = self.inner.named(source, event)?;
        let declared = channel.info().type_name;
        match channel.as_any().downcast() {
            Ok(core) => Ok((pattern, core)),
            Err(_) => Err(RegisterError::OtherType {
                source_name: source.to_owned(),
                event: event.to_owned(),
                declared,
                asked: type_name::<T>(),
            }),
        }
    }

    /// Finds the pattern of a registration that takes any type.
    pub(crate) fn resolve_dynamic(
        &self,
        source: &str,
        event: &str,
    ) -> Result<Pattern, RegisterError> {
        if self.inner.hub.is_closed() {
            return Err(closed(source, event));
        }
        if let Some(reason) = hears_nothing(source, event) {
            return Err(RegisterError::HearsNothing {
                source_name: source.to_owned(),
                event: event.to_owned(),
                reason,
            });
        }

        match (source == ANY, event == ANY) {
            (true, true) => Ok(Pattern::Everything),
            (false, true) => Ok(Pattern::Source(source.into())),
            (true, false) => Err(RegisterError::HearsNothing {
                source_name: source.to_owned(),
                event: event.to_owned(),
                reason: "name the source, or use (\"*\", \"*\") for everything",
            }),
            (false, false) => Ok(self.inner.named(source, event)?.0),
        }
    }

    /// Finds the channel to post to.
    pub(crate) fn channel_of<T: Event>(
        &self,
        source: &str,
        event: &str,
    ) -> Result<Arc<ChannelCore<T>>, Refusal> {
        let found = {
            let channels = self.inner.channels.lock();
            match channels.find(source, event) {
                Some(declared) => Arc::clone(&declared.channel),
                None => {
                    return Err(Refusal::UnknownChannel {
                        source_name: source.to_owned(),
                        event: event.to_owned(),
                        near: channels.near(source, event),
                    });
                }
            }
        };
        let declared = found.info().type_name;
        found.as_any().downcast().map_err(|_| Refusal::OtherType {
            source_name: source.to_owned(),
            event: event.to_owned(),
            declared,
            asked: type_name::<T>(),
        })
    }
}

impl Bus {
    /// Finds a channel by its name, or by its name and an operation.
    fn named(
        &self,
        source: &str,
        event: &str,
    ) -> Result<(Pattern, Arc<dyn AnyChannel>), RegisterError> {
        let channels = self.channels.lock();
        if let Some(declared) = channels.find(source, event) {
            let channel = &declared.channel;
            let info = channel.info();
            let pattern = Pattern::Event(Arc::clone(&info.source), Arc::clone(&info.event));
            return Ok((pattern, Arc::clone(channel)));
        }

        if let Some((name, operation)) = split_operation(event)
            && let Some(declared) = channels.find(source, name)
            && declared.channel.info().crud
        {
            let channel = &declared.channel;
            let info = channel.info();
            let (source, event) = (Arc::clone(&info.source), Arc::clone(&info.event));
            let pattern = Pattern::Operation(source, event, operation);
            return Ok((pattern, Arc::clone(channel)));
        }

        Err(RegisterError::UnknownChannel {
            source_name: source.to_owned(),
            event: event.to_owned(),
            near: channels.near(source, event),
        })
    }
}

impl Channels {
    /// Returns declared names like the one asked for, written `source/event`: first in the same
    /// source, else anywhere.
    fn near(&self, source: &str, event: &str) -> Vec<String> {
        let wanted = split_operation(event).map_or(event, |(name, _)| name);
        if let Some(events) = self.by_name.get(source) {
            return near(wanted, events.keys().map(|event| &**event));
        }

        let all: Vec<_> = self
            .list
            .iter()
            .map(|declared| {
                let info = declared.channel.info();
                format!("{}/{}", info.source, info.event)
            })
            .collect();
        near(
            &format!("{source}/{wanted}"),
            all.iter().map(String::as_str),
        )
    }
}

/// Returns why a pattern can match no channel, if that is so: the name of a channel is not empty
/// and holds no `*`.
fn hears_nothing(source: &str, event: &str) -> Option<&'static str> {
    let partly_wild = |name: &str| name != ANY && name.contains(ANY);
    if source.is_empty() || event.is_empty() {
        Some("a name must not be empty")
    } else if partly_wild(source) || partly_wild(event) {
        Some("\"*\" is a wildcard only where it is the whole name")
    } else {
        None
    }
}

fn closed(source: &str, event: &str) -> RegisterError {
    RegisterError::Closed {
        source_name: source.to_owned(),
        event: event.to_owned(),
    }
}
