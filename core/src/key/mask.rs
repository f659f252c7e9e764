//! How keys are shown where anyone may read them: in errors and in the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

type Mask = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The masks of this process, by the name with which keys begin.
static MASKS: RwLock<BTreeMap<String, Mask>> = RwLock::new(BTreeMap::new());

/// Masks the secrets in keys of this name, wherever they are [shown](super::CacheKey::to_shown) in
/// this process. `mask` gets the text of a key.
///
/// A node does this for its entities with secret fields.
pub fn mask_keys(name: &str, mask: impl Fn(&str) -> String + Send + Sync + 'static) {
    let mut masks = MASKS.write().unwrap_or_else(PoisonError::into_inner);
    masks.insert(name.to_owned(), Arc::new(mask));
}

/// Returns the text of a key as it may be shown.
pub(super) fn shown(text: &str) -> String {
    let name = text.split([':', '@']).next().unwrap_or(text);
    let masks = MASKS.read().unwrap_or_else(PoisonError::into_inner);
    let mask = masks.get(name).cloned();
    drop(masks); // the mask is not ours

    match mask {
        Some(mask) => mask(text),
        None => text.to_owned(),
    }
}
