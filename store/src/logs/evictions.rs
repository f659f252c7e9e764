//! Stores and reads the entries of the log that are not changes of rows: evictions, and the
//! application's events.

use std::sync::Arc;

use tidings_core::{
    CacheKey,
    log::{Appended, Body, Eviction, EvictionTarget, Posted},
};

/// Returns the stored form of an entry: its id, its cache or its source, its kind, and the values
/// of that kind.
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

/// Reads the output of [`stored_entry`]; `None` if it is something else.
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn entries() -> Vec<Appended> {
        let targets = [
            EvictionTarget::Keys(vec![
                CacheKey::new("k", &["a:b"]),
                CacheKey::new("k", &["@"]),
            ]),
            EvictionTarget::Keys(Vec::new()),
            EvictionTarget::Tag("event".into()),
            EvictionTarget::All,
        ];
        let evictions = targets.map(|target| {
            Appended::Evict(Eviction {
                id: Uuid::from_u128(7),
                origin: Some("node-1".into()),
                cache: "default".into(),
                target,
            })
        });
        let event = Appended::Event(Posted {
            id: Uuid::from_u128(8),
            origin: None,
            source: "search".into(),
            event: "all".into(),
            payload: "{\"shop\":7}".into(),
        });
        evictions.into_iter().chain([event]).collect()
    }

    #[test]
    fn what_is_stored_is_read_again_and_anything_else_is_nothing() {
        for entry in entries() {
            let stored = stored_entry(&entry);
            let texts: Vec<&str> = stored.iter().map(String::as_str).collect();
            let origin = entry.origin().map(Into::into);
            assert_eq!(read_entry(&texts, origin), Some(Body::from(entry)));
        }
        let id = Uuid::from_u128(7).to_string();
        for wrong in [
            &["", "default", "all"][..],
            &[&id, "default"],
            &[&id, "default", "all", "more"],
            &[&id, "search", "event", "reindex"],
            &[&id, "default", "other"],
        ] {
            assert_eq!(read_entry(wrong, None), None, "{wrong:?}");
        }
    }
}
