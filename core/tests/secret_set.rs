//! The secret of keys, set before the first key of this process: alone in its binary, because it is
//! set once.

use std::hash::{DefaultHasher, Hasher};

use tidings_core::{CacheKey, SecretInUse, set_key_secret};

#[test]
fn hashes_follow_from_a_seed_that_is_set_before_the_first_key() {
    set_key_secret(7).expect("no key was made yet");
    let key = CacheKey::new("consumers", &["alice"]);
    let mut hasher = DefaultHasher::new(); // the same in every process
    hasher.write_u64(7);
    hasher.write(b"consumers:alice");
    assert_eq!(key.hash_value(), hasher.finish());

    set_key_secret(7).expect("the same seed");
    assert_eq!(set_key_secret(8), Err(SecretInUse { set: Some(7) }));
    assert_eq!(CacheKey::new("consumers", &["alice"]), key);
}
