//! What keys promise.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

proptest! {
    // G13
    #[test]
    fn different_tuples_make_different_keys(
        a in prop::collection::vec(prop::option::of("[:%~@a\u{0}é]{0,4}"), 0..4),
        b in prop::collection::vec(prop::option::of("[:%~@a\u{0}é]{0,4}"), 0..4),
    ) {
        prop_assert_eq!(a == b, CacheKey::new("k", &a) == CacheKey::new("k", &b));
    }

    // G13
    #[test]
    fn different_bytes_make_different_keys(
        a in prop::collection::vec(any::<u8>(), 0..120),
        b in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let key = |bytes: &[u8]| CacheKey::builder("k").part(bytes).finish();
        prop_assert_eq!(a == b, key(&a) == key(&b));
    }

    #[test]
    fn text_round_trips(parts in prop::collection::vec(".{0,60}", 0..4)) {
        let key = CacheKey::new("name", &parts);
        let again = CacheKey::from_text(key.as_str());
        prop_assert_eq!(key.hash_value(), again.hash_value());
        prop_assert_eq!(key, again);
    }
}

#[test]
fn primary_key_form_differs_from_every_tuple() {
    assert_eq!(CacheKey::primary("k", "a").as_str(), "k@a");
    assert_ne!(CacheKey::primary("k", "a"), CacheKey::new("k", &["a"]));
    assert_ne!(
        CacheKey::primary("k", "a"),
        CacheKey::new::<&str>("k@a", &[])
    );
}

#[test]
fn keys_by_fields_differ_from_each_other_and_from_every_other_form() {
    let by = |fields: &[&str], parts: &[&str]| {
        let mut key = CacheKey::by_fields("k", fields);
        parts.iter().for_each(|part| key.push(part));
        key.finish()
    };
    let keys = [
        by(&["a"], &["b"]),
        by(&["a@b"], &["b"]),
        by(&["a", "b"], &["b"]),
        by(&["a", "b"], &["b", "c"]),
        by(&["a"], &["b:c"]),
        by(&["a"], &["b", "c"]),
        CacheKey::primary("k", "a:b"),
        CacheKey::primary("k", "a"),
        CacheKey::new("k", &["a", "b"]),
        CacheKey::new("k@a", &["b"]),
    ];
    let distinct: HashMap<_, ()> = keys.iter().map(|key| (key.as_str(), ())).collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:?}");
}

#[test]
fn absent_empty_and_literal_parts_differ() {
    let keys = [None, Some(""), Some("~"), Some("%7E")].map(|part| CacheKey::new("k", &[part]));
    let distinct: HashMap<_, ()> = keys.iter().map(|key| (key.as_str(), ())).collect();
    assert_eq!(distinct.len(), 4, "{keys:?}");
}

// G13, of every tuple of up to three parts that are made of what carries structure.
#[test]
fn no_two_of_the_likeliest_tuples_collide() {
    let pool = ["", "~", ":", "%", "@", "%7E", "~:", "k", "\0", "\u{ff}"];
    let parts: Vec<_> = pool.into_iter().map(Some).chain([None]).collect();
    let mut tuples = vec![Vec::new()];
    let mut last = 0;
    for _ in 0..3 {
        let longer: Vec<_> = tuples[last..]
            .iter()
            .flat_map(|tuple| {
                parts
                    .iter()
                    .map(move |part| [&tuple[..], &[*part]].concat())
            })
            .collect();
        last = tuples.len();
        tuples.extend(longer);
    }
    let mut texts = HashMap::new();
    for tuple in &tuples {
        let key = CacheKey::new("k", tuple);
        if let Some(other) = texts.insert(key.as_str().to_owned(), tuple) {
            panic!("{tuple:?} and {other:?} make the same key {key}");
        }
    }
    assert_eq!(texts.len(), 1 + 11 + 121 + 1_331);
}

#[test]
fn a_key_longer_than_the_inline_buffer_is_whole() {
    for len in INLINE - 4..INLINE + 4 {
        let text = "x".repeat(len);
        assert_eq!(CacheKey::from_text(&text).as_str(), text);
    }
}
