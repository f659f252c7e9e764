//! How keys are shown where anyone may read them: in errors and in the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

type Mask = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The masks of this process, by the name with which keys begin.
static MASKS: RwLock<BTreeMap<String, Mask>> = RwLock::new(BTreeMap::new());

/// Masks the secrets in keys of this name, wherever they are [shown](super::CacheKey::to_shown) in
/// this process. `mask` gets the text of a key. A later mask of the same name replaces it.
///
/// A node does this for its entities with secret fields. Costs nothing until a key is shown, which
/// errors and log lines do.
///
/// # Examples
///
/// ```
/// use tidings_core::{CacheKey, mask_keys};
///
/// mask_keys("sessions", |_| "sessions:***".to_owned());
/// assert_eq!(CacheKey::new("sessions", &["abcd"]).to_shown(), "sessions:***");
/// assert_eq!(CacheKey::new("rates", &["eur"]).to_shown(), "rates:eur");
/// ```
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
