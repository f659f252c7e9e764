//! The golden files, and records that no version of this program has written.

use proptest::prelude::*;
use tidings_core::{
    Field, Schema,
    log::{Appended, Eviction},
};

use super::*;
use crate::secret::{ClusterKey, remembered};

fn epoch() -> Epoch {
    Epoch::new(1_785_000_000_000_000, Uuid::from_u128(0xe))
}

fn secrets() -> Secrets {
    let credential = Schema::builder("credentials")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<String>("key").secret())
        .build();
    let key = ClusterKey::new("the key of the golden files").expect("long enough");
    let schema = &*Box::leak(Box::new(credential));
    Secrets::new(Some(&key), &[schema], remembered(9)).expect("a key")
}

fn evict(target: EvictionTarget) -> Appended {
    Appended::Evict(Eviction {
        id: Uuid::from_u128(0x0f),
        origin: Some("node-1".into()),
        cache: "default".into(),
        target,
    })
}

fn written(appended: &Appended) -> Vec<u8> {
    entry(appended, Uuid::from_u128(0x1d), epoch(), &secrets())
}

/// Every record of the golden files, encoded again.
fn golden() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let id = Uuid::from_u128(0x1d);
    let key = CacheKey::new("products", &["a:b", "\u{e4}"]);
    let secret = CacheKey::new("credentials", &["s3cr3t"]);
    let event = Appended::Event(Posted {
        id: Uuid::from_u128(0x0f),
        origin: None,
        source: "search".into(),
        event: "reindex".into(),
        payload: "{\"shop\":7}".into(),
    });
    macro_rules! file {
        ($name:literal, $bytes:expr) => {
            ($name, include_str!(concat!("../../golden/", $name)), $bytes)
        };
    }
    vec![
        file!("begin.json", note(Note::Begin, id, epoch(), Some("node-1"))),
        file!("beat.json", note(Note::Beat, id, epoch(), Some("node-1"))),
        file!(
            "evict-keys.json",
            written(&evict(EvictionTarget::Keys(vec![key.clone()])))
        ),
        file!(
            "evict-digests.json",
            written(&evict(EvictionTarget::Keys(vec![key, secret])))
        ),
        file!(
            "evict-tag.json",
            written(&evict(EvictionTarget::Tag("spring".into())))
        ),
        file!("evict-all.json", written(&evict(EvictionTarget::All))),
        file!("event.json", written(&event)),
    ]
}

#[test]
fn what_is_written_is_what_the_golden_files_hold() {
    for (name, golden, made) in golden() {
        let made = String::from_utf8(made).expect("JSON");
        assert_eq!(made, golden.trim_end(), "{name}");
    }
}

#[test]
fn the_golden_files_are_read_as_they_were_meant() {
    for (name, golden, _) in golden() {
        let record = read(golden.trim_end().as_bytes()).expect(name);
        assert_eq!(record.epoch, epoch(), "{name}");
        let target = match (name, record.what) {
            ("begin.json", What::Begin) | ("beat.json", What::Beat) => continue,
            ("event.json", What::Event(posted)) => {
                assert_eq!((&*posted.source, &*posted.event), ("search", "reindex"));
                assert_eq!((&*posted.payload, posted.origin), ("{\"shop\":7}", None));
                continue;
            }
            (_, What::Evict { of, cache, target }) => {
                assert_eq!((of, &*cache), (Uuid::from_u128(0x0f), "default"));
                target
            }
            (_, other) => panic!("{name} is read as {other:?}"),
        };
        assert_eq!(record.node.as_deref(), Some("node-1"));

        let keys = vec![CacheKey::new("products", &["a:b", "\u{e4}"])];
        let expected = match name {
            "evict-keys.json" => Target::Named(Named {
                keys,
                ..Named::default()
            }),
            "evict-digests.json" => {
                assert!(!golden.contains("s3cr3t"), "{golden}");
                Target::Named(secrets().name(&[
                    CacheKey::new("products", &["a:b", "\u{e4}"]),
                    CacheKey::new("credentials", &["s3cr3t"]),
                ]))
            }
            "evict-tag.json" => Target::Tag("spring".into()),
            _ => Target::All,
        };
        assert_eq!(target, expected, "{name}");
    }
}

#[test]
fn another_version_or_kind_and_what_is_cut_are_refused_by_what_they_are() {
    let (_, golden, _) = golden().remove(4);
    let golden = golden.trim_end();
    let refused = |text: &str| read(text.as_bytes()).expect_err(text).to_string();
    let version = refused(&golden.replace("\"v\":1", "\"v\":2"));
    assert_eq!(version, "it is of version 2, and this program reads 1");

    for wrong in [
        golden.replace("evict", "levitate"),
        golden.replace("\"tag\"", "\"tags\""),
        golden.replace("\"tag\":", "\"all\":true,\"tag\":"),
        golden.replace("1785000000000000.", "x."),
        golden[..golden.len() - 1].to_owned(),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
    ] {
        assert!(!refused(&wrong).is_empty(), "{wrong}");
    }
    let more = golden.replace("\"tag\":", "\"colour\":\"red\",\"tag\":");
    assert!(read(more.as_bytes()).is_ok(), "members are passed over");
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_golden_file_with_a_byte_changed_is_read_or_refused(at in 0_usize..600, byte: u8) {
        for (_, golden, _) in golden() {
            let mut bytes = golden.trim_end().as_bytes().to_vec();
            if let Some(it) = bytes.get_mut(at) {
                *it = byte;
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn what_is_written_is_read_back(source: String, event: String, payload: String) {
        let posted = Posted {
            id: Uuid::from_u128(1),
            origin: Some("a".into()),
            source: source.into(),
            event: event.into(),
            payload: payload.into(),
        };
        let record = read(&written(&Appended::Event(posted.clone()))).expect("a record");
        prop_assert_eq!(record.what, What::Event(posted));
    }
}
