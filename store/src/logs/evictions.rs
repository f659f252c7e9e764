//! How what is not a row's change is stored, and read again: evictions, and an application's
//! events.

use std::sync::Arc;

use tidings_core::{
    CacheKey,
    log::{Appended, Body, Eviction, EvictionTarget, Posted},
};

/// Returns how an entry is stored: its id, its cache or its source, its form, and what the form
/// needs.
pub(crate) fn stored_entry(entry: &Appended) -> Vec<String> {
    let eviction = match entry {
        Appended::Evict(eviction) => eviction,
        Appended::Event(posted) => {
            let (source, event) = (posted.source.to_string(), posted.event.to_string());
            let payload = posted.payload.to_string();
            return vec![
                posted.id.to_string(),
                source,
                "event".to_owned(),
                event,
                payload,
            ];
        }
    };
    let mut stored = vec![eviction.id.to_string(), eviction.cache.to_string()];
    match &eviction.target {
        EvictionTarget::Keys(keys) => {
            stored.push("keys".to_owned());
            stored.extend(keys.iter().map(|key| key.as_str().to_owned()));
        }
        EvictionTarget::Tag(tag) => stored.extend(["tag".to_owned(), tag.to_string()]),
        EvictionTarget::All => stored.push("all".to_owned()),
    }
    stored
}

/// Reads what [`stored_entry`] has made; none if it is something else.
pub(crate) fn read_entry(stored: &[&str], origin: Option<Arc<str>>) -> Option<Body> {
    let [id, cache, form, rest @ ..] = stored else {
        return None;
    };
    let id = id.parse().ok()?;
    let target = match (*form, rest) {
        ("keys", keys) => {
            EvictionTarget::Keys(keys.iter().map(|key| CacheKey::from_text(key)).collect())
        }
        ("tag", [tag]) => EvictionTarget::Tag((*tag).into()),
        ("all", []) => EvictionTarget::All,
        ("event", [event, payload]) => {
            return Some(Body::Event(Posted {
                id,
                origin,
                source: (*cache).into(),
                event: (*event).into(),
                payload: (*payload).into(),
            }));
        }
        _ => return None,
    };
    Some(Body::Evict(Eviction {
        id,
        origin,
        cache: (*cache).into(),
        target,
    }))
}
