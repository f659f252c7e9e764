//! The secret of keys, drawn when the first key of this process was made: alone in its binary,
//! because that is once.

use tidings_core::{CacheKey, SecretInUse, set_key_secret};

#[test]
fn a_secret_is_not_set_once_a_key_was_made() {
    let key = CacheKey::new("consumers", &["alice"]);
    let refused = set_key_secret(7).expect_err("a key was made");
    assert_eq!(refused, SecretInUse { set: None });
    assert!(refused.to_string().contains("before the first key"));
    assert_eq!(CacheKey::new("consumers", &["alice"]), key);
}
