//! How an eviction that no row names is stored, and read again.

use std::sync::Arc;

use tidings_core::{
    CacheKey,
    log::{Eviction, EvictionTarget},
};

/// How an eviction is stored: its id, its cache, the form of its target, and what the form needs.
pub(crate) fn stored_eviction(eviction: &Eviction) -> Vec<String> {
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

/// Reads what [`stored_eviction`] has made; none if it is something else.
pub(crate) fn read_eviction(stored: &[&str], origin: Option<Arc<str>>) -> Option<Eviction> {
    let [id, cache, form, rest @ ..] = stored else {
        return None;
    };
    let target = match (*form, rest) {
        ("keys", keys) => {
            EvictionTarget::Keys(keys.iter().map(|key| CacheKey::from_text(key)).collect())
        }
        ("tag", [tag]) => EvictionTarget::Tag((*tag).into()),
        ("all", []) => EvictionTarget::All,
        _ => return None,
    };
    Some(Eviction {
        id: id.parse().ok()?,
        origin,
        cache: (*cache).into(),
        target,
    })
}
